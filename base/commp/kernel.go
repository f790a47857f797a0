package commp

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// kernel is the one place where hashing happens: two functions over many nodes
// at once, so that a vector implementation can keep all its lanes busy. Every
// hash is SHA-256 with the two top bits of its last byte cleared.
type kernel struct {
	name string
	// quads expands each 127 bytes of raw by Fr32 and hashes the four nodes of
	// it to two: len(raw) is a multiple of 127, dst takes 64 bytes for each.
	quads func(dst, raw []byte)
	// nodes hashes each 64 bytes of src to 32 of dst. dst may be src itself.
	nodes func(dst, src []byte)
	// slot hashes SlotRaw bytes to its tops, nodes of one height, and returns
	// them in scratch, which takes 64 KiB: for kernels that know a better way
	// there than quads and nodes. It is nil where tops is 0.
	slot func(scratch, raw []byte) []byte
	tops int // a power of two, at most mostTops
}

// topsHeight is the height of what slot leaves.
func (k kernel) topsHeight() int { return slotHeight - bits.TrailingZeros(uint(k.tops)) }

// portable runs on crypto/sha256 and is what other kernels are held to.
var portable = kernel{name: "portable", quads: quadsPortable, nodes: nodesPortable}

func quadsPortable(dst, raw []byte) {
	var quad [quadPadded]byte
	for len(raw) >= quadRaw {
		expand(&quad, (*[quadRaw]byte)(raw))
		left := sha256.Sum256(quad[:64])
		right := sha256.Sum256(quad[64:])
		left[31] &= 0x3f
		right[31] &= 0x3f
		out := (*[64]byte)(dst)
		*(*[32]byte)(out[:32]) = left
		*(*[32]byte)(out[32:]) = right
		raw, dst = raw[quadRaw:], dst[64:]
	}
}

func nodesPortable(dst, src []byte) {
	for len(src) >= 2*nodeSize {
		sum := sha256.Sum256(src[:2*nodeSize])
		sum[31] &= 0x3f
		*(*[nodeSize]byte)(dst) = sum
		src, dst = src[2*nodeSize:], dst[nodeSize:]
	}
}

// expand is Fr32: it reads the 1,016 bits of in as four numbers of 254 bits,
// little-endian, and writes each of them as 256 bits with two zeros on top.
func expand(out *[quadPadded]byte, in *[quadRaw]byte) {
	const top = 1<<62 - 1
	le := binary.LittleEndian
	for i := 0; i < 24; i += 8 {
		le.PutUint64(out[i:], le.Uint64(in[i:]))
		le.PutUint64(out[i+32:], le.Uint64(in[i+31:])>>6|uint64(in[i+39])<<58)
		le.PutUint64(out[i+64:], le.Uint64(in[i+63:])>>4|uint64(in[i+71])<<60)
		le.PutUint64(out[i+96:], le.Uint64(in[i+95:])>>2|uint64(in[i+103])<<62)
	}
	le.PutUint64(out[24:], le.Uint64(in[24:])&top)
	le.PutUint64(out[56:], (le.Uint64(in[55:])>>6|uint64(in[63])<<58)&top)
	le.PutUint64(out[88:], (le.Uint64(in[87:])>>4|uint64(in[95])<<60)&top)
	le.PutUint64(out[120:], le.Uint64(in[119:])>>2)
}
