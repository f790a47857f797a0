//go:build !purego

package commp

import "golang.org/x/sys/cpu"

// available lists the kernels this processor can run.
func available() []kernel {
	if !cpu.ARM64.HasSHA2 {
		return nil
	}
	return []kernel{{name: "arm64", quads: quadsPaired, nodes: nodesPaired}}
}

func quadsPaired(dst, raw []byte) {
	if n := len(raw) / quadRaw; n > 0 {
		quadsSHA2(&dst[0], &raw[0], n)
	}
}

// nodesPaired leaves an odd last node to crypto/sha256, which has the same
// instructions.
func nodesPaired(dst, src []byte) {
	pairs := len(src) / (4 * nodeSize)
	if pairs > 0 {
		nodesSHA2(&dst[0], &src[0], pairs)
	}
	if rest := src[pairs*4*nodeSize:]; len(rest) > 0 {
		nodesPortable(dst[pairs*2*nodeSize:], rest)
	}
}
