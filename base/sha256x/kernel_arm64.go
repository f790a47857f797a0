//go:build !purego

package sha256x

import "golang.org/x/sys/cpu"

// available lists the kernels this processor can run. Where crypto/sha256 keeps
// the processor as busy with one message, the measurement prefers it.
func available() []*kernel {
	if !cpu.ARM64.HasSHA2 {
		return nil
	}
	return []*kernel{{name: "arm64", lanes: 2, word: 1, lane: 8, blocks: blocksSHA2}}
}
