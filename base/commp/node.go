package commp

import "encoding/hex"

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
