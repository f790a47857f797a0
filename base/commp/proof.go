package commp

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Proof shows that Length raw bytes stand at Offset of a piece. It carries the
// few raw bytes between the content and the borders of its first and last quad,
// and the nodes beside the way from there to the commitment, so that whoever
// has the content and the piece CID needs nothing else. JSON is its wire form;
// it is a few KiB at most.
type Proof struct {
	Offset int64 `json:"offset"` // in raw bytes of the piece
	Length int64 `json:"length"` // of the content, at least 1
	Height int   `json:"height"` // of the tree: its padded size is 32 << height
	// Head and Tail are the raw bytes before and after the content in its first
	// and last quad, at most 126 each; past the end of the data they are zeros.
	Head []byte `json:"head,omitempty"`
	Tail []byte `json:"tail,omitempty"`
	// Siblings are the nodes beside the way up, in the order it meets them:
	// inside the first slot, inside the last slot when it is another, above the
	// slots; at each height the left one before the right one.
	Siblings []Node `json:"siblings"`
}

// Proof makes the proof for n raw bytes at off. Of data, which stands for the
// raw bytes of the whole piece, it reads only the first and the last slot of
// the range. The errors are ErrInput for a range outside the data, ErrMissing
// while slots are not set, ErrMismatch where data is not what the slot was set
// from, and what data returns.
func (t *Tree) Proof(off, n int64, data io.ReaderAt) (Proof, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if off < 0 || n < 1 || off > t.raw-n {
		return Proof{}, inputError("proof of %d bytes at %d in data of %d", n, off, t.raw)
	}
	if err := t.complete(); err != nil {
		return Proof{}, err
	}
	e := t.engine()
	defer t.engines.Put(e)

	p := Proof{Offset: off, Length: n, Height: heightOf(uint64(t.raw))}
	s := p.span()
	raw, err := t.edge(e, s, s.firstSlot(), data)
	if err != nil {
		return Proof{}, err
	}
	p.Head = append(p.Head, raw[s.first*quadRaw%SlotRaw:off%SlotRaw]...)
	p.climbSlot(e, s, s.firstSlot(), raw)
	if s.lastSlot() != s.firstSlot() {
		if raw, err = t.edge(e, s, s.lastSlot(), data); err != nil {
			return Proof{}, err
		}
		p.climbSlot(e, s, s.lastSlot(), raw)
	}
	base := s.lastSlot() * SlotRaw
	p.Tail = append(p.Tail, raw[off+n-base:s.end*quadRaw-base]...)
	p.climbSlots(e, s, t)
	return p, nil
}

// edge reads a slot's bytes, extended with zeros, and checks them.
func (t *Tree) edge(e *engine, s span, slot int64, data io.ReaderAt) ([]byte, error) {
	raw := make([]byte, SlotRaw)
	off := slot * SlotRaw
	want := min(SlotRaw, t.raw-off)
	n, err := data.ReadAt(raw[:want], off)
	if int64(n) < want && err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if int64(n) < want || e.root(raw, s.top()) != t.root.at(int(slot)) {
		return nil, fmt.Errorf("%w: bytes from %d are not those slot %d was set from", ErrMismatch, off, slot)
	}
	return raw, nil
}

// climbSlot adds the siblings inside a slot.
func (p *Proof) climbSlot(e *engine, s span, slot int64, raw []byte) {
	var levels [slotHeight + 1][]Node
	levels[quadHeight] = e.quadNodes(raw)
	for h := quadHeight; h < s.top(); h++ {
		for i := 0; i+1 < len(levels[h]); i += 2 {
			levels[h+1] = append(levels[h+1], e.join(levels[h][i], levels[h][i+1]))
		}
	}
	first, end := s.inside(slot)
	p.record(e, slices.Clone(levels[quadHeight][first:end]), first, quadHeight, s.top(), func(h int, i int64) Node { return levels[h][i] })
}

// climbSlots adds the siblings above the slots.
func (p *Proof) climbSlots(e *engine, s span, t *Tree) {
	p.record(e, t.root.list(int(s.firstSlot()), int(s.lastSlot())+1), s.firstSlot(), s.top(), s.height, func(h int, i int64) Node {
		var under peaks
		width := int64(1) << (h - slotHeight)
		for slot := i * width; slot < min((i+1)*width, int64(t.root.n)); slot++ {
			under.push(e, t.root.at(int(slot)), slotHeight)
		}
		return under.root(e, h)
	})
}

// record climbs over nodes, which it changes, and keeps what the climb lacked.
func (p *Proof) record(e *engine, nodes []Node, first int64, from, to int, at func(height int, index int64) Node) {
	_, _ = e.climb(nodes, first, from, to, func(h int, i int64) (Node, error) {
		n := at(h, i)
		p.Siblings = append(p.Siblings, n)
		return n, nil
	})
}

// Padded returns the proof for the same bytes in a piece of a larger size, as
// Tree.PiecePadded makes it. The error is ErrInput when padded is no piece size
// or smaller than the proof's.
func (p Proof) Padded(padded uint64) (Proof, error) {
	if p.Height < quadHeight || p.Height > maxHeight {
		return Proof{}, inputError("proof of height %d", p.Height)
	}
	height, err := heightOfPadded(padded, MaxRawSize(nodeSize<<p.Height))
	if err != nil {
		return Proof{}, err
	}
	zero := zeroTrees()
	p.Siblings = append([]Node(nil), p.Siblings...)
	for ; p.Height < height; p.Height++ {
		p.Siblings = append(p.Siblings, zero[p.Height])
	}
	return p, nil
}
