// Command gen writes the assembly of base/sha256x and base/commp, and the Go
// declarations of what it defines. Run it from the module's root:
//
//	go run ./base/sha256x/gen
//
// It promises the same output everywhere and always; a test holds what is
// checked in to it. asm.go emits text, rounds.go the rounds of SHA-256 over the
// lanes of a vector, lanes.go turns rows of bytes into such lanes and back. On
// them stand the kernels: those of piece trees (commp.go, columns.go, fr32.go),
// of whole messages (message.go), for SHA-NI (shani.go) and for arm64
// (arm64.go). It refuses arguments.
package main
