//go:build !purego

package sha256x

import "golang.org/x/sys/cpu"

// available lists the kernels this processor can run.
func available() (kernels []*kernel) {
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL {
		kernels = append(kernels, &kernel{name: "avx512", lanes: 16, word: 16, lane: 1, blocks: blocksAVX512})
	}
	if x.HasAVX2 {
		kernels = append(kernels, &kernel{name: "avx2", lanes: 8, word: 8, lane: 1, blocks: blocksAVX2})
	}
	if shani() {
		kernels = append(kernels, &kernel{name: "shani", lanes: 2, word: 1, lane: 8, blocks: blocksSHANI})
	}
	return kernels
}

// shani reports whether the processor has SHA-NI, and what its kernel moves
// words about with.
func shani() bool {
	if !cpu.X86.HasSSE41 || !cpu.X86.HasSSSE3 {
		return false
	}
	var has uint32
	lookSHANI(&has)
	return has == 1
}
