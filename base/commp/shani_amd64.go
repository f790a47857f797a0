//go:build !purego

package commp

import "golang.org/x/sys/cpu"

// shani returns the kernel of SHA-NI, where the processor has that and what the
// kernel moves words about with.
func shani() (k []kernel) {
	if !cpu.X86.HasSSE41 || !cpu.X86.HasSSSE3 {
		return nil
	}
	var has uint32
	if lookSHANI(&has); has == 0 {
		return nil
	}
	return []kernel{{name: "shani", quads: quadsPaired, nodes: nodesPaired}}
}

func quadsPaired(dst, raw []byte) {
	if n := len(raw) / quadRaw; n > 0 {
		quadsSHANI(&dst[0], &raw[0], n)
	}
}

// nodesPaired leaves an odd last node to crypto/sha256, which has SHA-NI too.
func nodesPaired(dst, src []byte) {
	pairs := len(src) / (4 * nodeSize)
	if pairs > 0 {
		nodesSHANI(&dst[0], &src[0], pairs)
	}
	if rest := src[pairs*4*nodeSize:]; len(rest) > 0 {
		nodesPortable(dst[pairs*2*nodeSize:], rest)
	}
}
