// Package commp computes Filecoin piece commitments: the root of the binary
// Merkle tree of SHA-256 (truncated to 254 bits) over a byte stream after Fr32
// expansion, and the piece CIDs v1 and v2 that name it (FRC-0069).
//
// A Writer takes a stream of any length; a Tree takes the same bytes in any
// order from any number of goroutines, says what is missing, survives a restart
// and proves that a range of bytes is in the piece. Both give the same Piece.
//
// It promises bounded memory: about 200 KiB a Writer whatever the length, and
// 32 bytes per 127 KiB of data a Tree. Runs of zeros cost next to nothing. It is
// pure: the standard library and the CID packages, nothing of Firth, so its
// errors are the plain ErrInput, ErrMissing and ErrMismatch. It refuses I/O,
// CAR knowledge and pieces above MaxPaddedSize.
package commp
