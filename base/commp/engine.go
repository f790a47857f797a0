package commp

import (
	"bytes"
	"sync"
)

// batchSlots is how many slots are hashed before the few nodes left of each are
// hashed further, together: alone they would leave most lanes idle.
const batchSlots = 16

// mostTops bounds the nodes a kernel may leave of a slot.
const mostTops = 16

// engine hashes slots in its own scratch space of 64 KiB, and 8 KiB for what is
// left of a batch. It is for one goroutine.
type engine struct {
	kernel  kernel
	zero    *[maxHeight + 1]Node // zero[h] is the root of a tree of height h over zeros
	scratch []byte
	tops    []byte // what is left of the slots held, in order
	held    int    // slots of the batch
	pair    [2 * nodeSize]byte
}

func newEngine(k kernel) *engine {
	return &engine{
		kernel:  k,
		zero:    zeroTrees(),
		scratch: make([]byte, slotQuads*2*nodeSize),
		tops:    make([]byte, batchSlots*mostTops*nodeSize),
	}
}

// zeroTrees returns the roots of the trees of zeros, by height.
var zeroTrees = sync.OnceValue(func() *[maxHeight + 1]Node {
	var zero [maxHeight + 1]Node
	var pair [2 * nodeSize]byte
	for h := 1; h <= maxHeight; h++ {
		copy(pair[:], zero[h-1][:])
		copy(pair[nodeSize:], zero[h-1][:])
		nodesPortable(zero[h][:], pair[:])
	}
	return &zero
})

// join hashes a single pair, for which no vector is worth filling.
func (e *engine) join(left, right Node) (n Node) {
	copy(e.pair[:], left[:])
	copy(e.pair[nodeSize:], right[:])
	nodesPortable(n[:], e.pair[:])
	return n
}

// quads fills scratch with the nodes of height 1 over raw, which is extended
// with zeros to whole quads, and returns them.
func (e *engine) quads(raw []byte) []byte {
	whole := len(raw) / quadRaw
	e.kernel.quads(e.scratch, raw[:whole*quadRaw])
	if rest := raw[whole*quadRaw:]; len(rest) > 0 {
		var last [quadRaw]byte
		copy(last[:], rest)
		e.kernel.quads(e.scratch[whole*2*nodeSize:], last[:])
		whole++
	}
	return e.scratch[:whole*2*nodeSize]
}

// halve replaces the nodes of a height by those of the next, completing an odd
// last pair with the tree of zeros.
func (e *engine) halve(nodes []byte, height int) []byte {
	if len(nodes)/nodeSize%2 == 1 {
		nodes = append(nodes, e.zero[height][:]...) // within scratch: its size is a power of two
	}
	e.kernel.nodes(nodes, nodes)
	return nodes[:len(nodes)/2]
}

// root returns the node of a height at most slotHeight over raw, extended with
// zeros.
func (e *engine) root(raw []byte, height int) Node {
	if allZero(raw) {
		return e.zero[height]
	}
	var nodes []byte
	h := 1
	if e.kernel.slot != nil && len(raw) == SlotRaw && height == slotHeight {
		nodes, h = e.kernel.slot(e.scratch, raw), e.kernel.topsHeight()
	} else {
		nodes = e.quads(raw)
	}
	for ; h < height; h++ {
		nodes = e.halve(nodes, h)
	}
	return Node(nodes[:nodeSize])
}

// hold adds a whole slot to the batch, which takes batchSlots.
func (e *engine) hold(raw []byte) {
	tops := e.slotTops(raw)
	copy(e.tops[e.held*len(tops):], tops)
	e.held++
}

// roots returns the roots of the slots held, in scratch. They are held still.
func (e *engine) roots() []byte {
	nodes := e.scratch[:e.held*max(e.kernel.tops, 1)*nodeSize]
	copy(nodes, e.tops)
	for len(nodes) > e.held*nodeSize {
		e.kernel.nodes(nodes, nodes)
		nodes = nodes[:len(nodes)/2]
	}
	return nodes
}

// slotTops returns what the kernel leaves of a slot: one node at least.
func (e *engine) slotTops(raw []byte) []byte {
	if e.kernel.slot == nil {
		root := e.root(raw, slotHeight)
		return append(e.scratch[:0], root[:]...)
	}
	if !allZero(raw) {
		return e.kernel.slot(e.scratch, raw)
	}
	nodes := e.scratch[:0]
	for range e.kernel.tops {
		nodes = append(nodes, e.zero[e.kernel.topsHeight()][:]...)
	}
	return nodes
}

// allZero leaves at the first block that is not, so real data pays one compare.
func allZero(raw []byte) bool {
	var zeros [4096]byte
	if len(raw) > 0 && raw[0] != 0 {
		return false
	}
	for len(raw) > len(zeros) {
		if !bytes.Equal(raw[:len(zeros)], zeros[:]) {
			return false
		}
		raw = raw[len(zeros):]
	}
	return bytes.Equal(raw, zeros[:len(raw)])
}
