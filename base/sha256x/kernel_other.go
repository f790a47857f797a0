//go:build purego || (!amd64 && !arm64)

package sha256x

// available lists no kernel: this build has crypto/sha256 alone.
func available() []*kernel { return nil }
