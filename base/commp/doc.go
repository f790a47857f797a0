// Package commp computes Filecoin piece commitments: the root of the binary
// Merkle tree of SHA-256 (truncated to 254 bits) over a byte stream after Fr32
// expansion, and the piece CIDs v1 and v2 that name it (FRC-0069).
//
// A Writer takes a stream of any length; a Tree takes the same bytes in any
// order from any number of goroutines, says what is missing, survives a restart
// and proves that a range of bytes is in the piece. Both give the same Piece.
//
// An Aggregate makes a piece of pieces (FRC-0058) and proves that each is in it.
//
// Hashing is done by the quickest kernel of the machine: vector units that hash
// 8 to 32 nodes at once, the SHA instructions of amd64 and arm64, or
// crypto/sha256, which alone is left by the build tag purego (Kernel).
//
// It promises bounded memory: about 200 KiB a Writer whatever the length, and
// 32 bytes per 127 KiB of data a Tree. Runs of zeros cost next to nothing. It is
// pure: the standard library, the CID packages and x/sys/cpu, nothing of Firth,
// so its errors are the plain ErrInput, ErrMissing and ErrMismatch. It refuses
// I/O, CAR knowledge and pieces above MaxPaddedSize.
package commp
