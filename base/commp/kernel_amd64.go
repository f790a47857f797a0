//go:build amd64 && !purego

package commp

import (
	"encoding/binary"

	"golang.org/x/sys/cpu"
)

// vectors is an instruction set that hashes a node in each lane of a vector.
type vectors struct {
	lanes int
	set   vectorSet
}

type vectorSet uint8

const (
	setAVX2 vectorSet = iota
	setAVX512
	setAVX512x2
)

// wide is what the kernels of AVX-512 need: rotates and logic of three operands
// are in F, the shuffles of bytes in BW.
func wide() bool { return cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL }

// available lists the kernels this processor can run.
func available() (k []kernel) {
	if wide() {
		k = append(k, vectors{16, setAVX512}.kernel("avx512"), vectors{16, setAVX512x2}.kernel("avx512"))
	}
	if cpu.X86.HasAVX2 {
		k = append(k, vectors{8, setAVX2}.kernel("avx2"))
	}
	return append(k, shani()...)
}

func (v vectors) kernel(name string) kernel {
	return kernel{name: name, quads: v.quads, nodes: v.nodes, slot: v.slot, tops: v.lanes}
}

// The choice of the instruction set is a switch and no function value, so that
// what callers point to stays on their stacks.

func (v vectors) nodeRows(dst, src []byte, groups int) {
	if v.set == setAVX512x2 && groups > 1 {
		pairs := groups / 2
		nodesAVX512x2(&dst[0], &src[0], pairs)
		dst, src, groups = dst[pairs*1024:], src[pairs*2048:], groups%2
	}
	switch {
	case groups == 0:
	case v.set == setAVX2:
		nodesAVX2(&dst[0], &src[0], groups)
	default:
		nodesAVX512(&dst[0], &src[0], groups)
	}
}

func (v vectors) quadRows(dst, raw []byte, groups int) {
	switch {
	case groups == 0:
	case v.set == setAVX2:
		quadsAVX2(&dst[0], &raw[0], groups)
	case v.set == setAVX512x2:
		quadsAVX512x2(&dst[0], &raw[0], groups)
	default:
		quadsAVX512(&dst[0], &raw[0], groups)
	}
}

// columns makes n columns of 2n, in place.
func (v vectors) columns(cols []byte, n int) {
	switch {
	case v.set == setAVX2:
		columnsAVX2(&cols[0], &cols[0], n)
	case v.set == setAVX512x2 && n > 1:
		columnsAVX512x2(&cols[0], &cols[0], n/2)
	default:
		columnsAVX512(&cols[0], &cols[0], n)
	}
}

// raw makes two columns of each of n quads that stand one after the other in
// every lane.
func (v vectors) raw(cols, raw []byte, stride, n int) {
	switch v.set {
	case setAVX2:
		rawAVX2(&cols[0], &raw[0], stride, n)
	case setAVX512x2:
		rawAVX512x2(&cols[0], &raw[0], stride, n)
	default:
		rawAVX512(&cols[0], &raw[0], stride, n)
	}
}

// worth is how many lanes must be busy for a vector to beat one node after the
// other.
func (v vectors) worth() int { return v.lanes / 4 }

func (v vectors) nodes(dst, src []byte) {
	n := len(src) / (2 * nodeSize)
	whole := n / v.lanes * v.lanes
	v.nodeRows(dst, src, n/v.lanes)
	dst, src = dst[whole*nodeSize:], src[whole*2*nodeSize:n*2*nodeSize]
	if n-whole < v.worth() {
		nodesPortable(dst, src)
		return
	}
	var rest [16 * 2 * nodeSize]byte
	copy(rest[:], src)
	v.nodeRows(rest[:], rest[:], 1)
	copy(dst[:len(src)/2], rest[:])
}

func (v vectors) quads(dst, raw []byte) {
	n := len(raw) / quadRaw
	whole := n / v.lanes * v.lanes
	v.quadRows(dst, raw, n/v.lanes)
	dst, raw = dst[whole*2*nodeSize:], raw[whole*quadRaw:n*quadRaw]
	if 2*(n-whole) < v.worth() {
		quadsPortable(dst, raw)
		return
	}
	var rest [16 * quadRaw]byte
	var out [16 * 2 * nodeSize]byte
	copy(rest[:], raw)
	v.quadRows(out[:], rest[:], 1)
	copy(dst[:(n-whole)*2*nodeSize], out[:])
}

// slot gives each lane an equal share of the raw bytes: where neighbours in the
// tree are neighbours in a lane, no level but the first moves a byte. What is
// left is a node of each lane.
func (v vectors) slot(scratch, raw []byte) []byte {
	quads := slotQuads / v.lanes
	v.raw(scratch, raw, quads*quadRaw, quads)
	for n := quads; n > 0; n /= 2 {
		v.columns(scratch, n)
	}
	var column [16 * 8]uint32
	for i := range 8 * v.lanes {
		column[i] = binary.NativeEndian.Uint32(scratch[4*i:])
	}
	for lane := range v.lanes {
		for word := range 8 {
			binary.BigEndian.PutUint32(scratch[lane*nodeSize+4*word:], column[word*v.lanes+lane])
		}
	}
	return scratch[:v.lanes*nodeSize]
}
