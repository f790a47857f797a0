// Gen writes the assembly of base/sha256x and base/commp, and the Go
// declarations of what it defines: run it as go run ./base/sha256x/gen from the
// module's root. Its output depends on nothing but itself, and a test holds the
// checked-in files to it.
//
// asm.go emits text, rounds.go the rounds of SHA-256 over the lanes of a
// vector, lanes.go turns rows of bytes into such lanes and back. On them stand
// the kernels: one file each for the nodes of piece trees (commp.go), for whole
// messages (message.go), for SHA-NI and for arm64.
package main
