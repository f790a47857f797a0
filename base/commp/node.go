package commp

import (
	"bytes"
	"encoding/hex"
)

// Node is one node of a piece tree; the topmost is the commitment. As text it
// is 64 hexadecimal digits.
type Node [nodeSize]byte

// String returns the node in hexadecimal.
func (n Node) String() string { return hex.EncodeToString(n[:]) }

// MarshalText returns the node in hexadecimal.
func (n Node) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText reads what MarshalText wrote. The error is ErrInput.
func (n *Node) UnmarshalText(text []byte) error {
	var got Node
	if len(text) != 2*nodeSize {
		return inputError("node of %d digits, want %d", len(text), 2*nodeSize)
	}
	if _, err := hex.Decode(got[:], text); err != nil {
		return inputError("node: %v", err)
	}
	if got[31]&0xc0 != 0 {
		return inputError("node %s exceeds 254 bits", got)
	}
	*n = got
	return nil
}

// engine hashes one slot at a time in its own scratch space of 64 KiB. It is
// for one goroutine.
type engine struct {
	kernel  kernel
	zero    *[maxHeight + 1]Node // zero[h] is the root of a tree of height h over zeros
	scratch []byte
	pair    [2 * nodeSize]byte
}

func newEngine(k kernel) *engine {
	e := &engine{kernel: k, zero: new([maxHeight + 1]Node), scratch: make([]byte, slotQuads*2*nodeSize)}
	for h := 1; h <= maxHeight; h++ {
		e.zero[h] = e.join(e.zero[h-1], e.zero[h-1])
	}
	return e
}

func (e *engine) join(left, right Node) Node {
	copy(e.pair[:], left[:])
	copy(e.pair[nodeSize:], right[:])
	e.kernel.nodes(e.pair[:], e.pair[:])
	return Node(e.pair[:nodeSize])
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
	nodes := e.quads(raw)
	for h := 1; h < height; h++ {
		nodes = e.halve(nodes, h)
	}
	return Node(nodes[:nodeSize])
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

// peaks is the right edge of a tree that grows slot by slot: of each height at
// most one complete subtree waits for its right neighbour. As in a binary
// counter, the subtree of height slotHeight+i waits when bit i of slots is set.
type peaks struct {
	slots uint64
	node  [maxHeight + 1]Node
}

// push appends a complete subtree. The slots before it must be a multiple of
// those it holds.
func (p *peaks) push(e *engine, n Node, height int) {
	added := uint64(1) << (height - slotHeight)
	for bit := added; p.slots&bit != 0; bit <<= 1 {
		n = e.join(p.node[height], n)
		height++
	}
	p.node[height] = n
	p.slots += added
}

// root returns the node of a height over everything pushed, extended with
// zeros to the right.
func (p *peaks) root(e *engine, height int) Node {
	if p.slots>>(height-slotHeight) == 1 {
		return p.node[height]
	}
	var n Node
	some := false
	for h := slotHeight; h < height; h++ {
		switch waits := p.slots>>(h-slotHeight)&1 == 1; {
		case waits && some:
			n = e.join(p.node[h], n)
		case waits:
			n, some = e.join(p.node[h], e.zero[h]), true
		case some:
			n = e.join(n, e.zero[h])
		}
	}
	if !some {
		return e.zero[height]
	}
	return n
}
