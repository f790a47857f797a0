//go:build purego || (!amd64 && !arm64)

package commp

// available lists no kernel: this build has the portable one alone.
func available() []kernel { return nil }
