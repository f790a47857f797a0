package commp

import (
	"fmt"
	"math/bits"
)

// Path leads from a node to the root of a tree: Index is the node's place at
// its height, Siblings are the nodes beside the way, from the bottom up.
type Path struct {
	Index    uint64 `json:"index"`
	Siblings []Node `json:"siblings"`
}

// Inclusion shows that a piece stands in an aggregate and that the index of the
// aggregate lists it (FRC-0058).
type Inclusion struct {
	Subtree Path `json:"subtree"` // from the piece's root
	Entry   Path `json:"entry"`   // from the node over its two leaves of the index
}

// Verify returns nil when piece stands in aggregate and in its index. Both must
// come from sources that are trusted: the piece from whoever wants it stored,
// the aggregate from a deal on chain. ErrMismatch says that it is not so,
// ErrInput that the proof or a piece is malformed.
func (in Inclusion) Verify(piece, aggregate Piece) error {
	_, err := in.Segment(piece, aggregate)
	return err
}

// Segment is Verify, and tells where in the aggregate the piece stands.
func (in Inclusion) Segment(piece, aggregate Piece) (Segment, error) {
	if err := in.check(piece, aggregate); err != nil {
		return Segment{}, err
	}
	root := piece.Root()
	s := Segment{root, in.Subtree.Index * piece.PaddedSize, piece.PaddedSize}
	switch want := aggregate.Root(); {
	case in.Subtree.root(root) != want:
		return Segment{}, fmt.Errorf("%w: piece %s is no subtree %d of %s", ErrMismatch, root, in.Subtree.Index, want)
	case in.Entry.root(s.node()) != want:
		return Segment{}, fmt.Errorf("%w: the index of %s has no entry %d for piece %s at %d", ErrMismatch, want, in.Entry.Index, root, s.Offset)
	}
	return s, nil
}

// check holds the lengths and places of the paths to the sizes of the pieces.
func (in Inclusion) check(piece, aggregate Piece) error {
	for _, p := range []Piece{piece, aggregate} {
		if _, err := rootOfV1(p.CIDv1); err != nil {
			return err
		}
		if _, err := heightOfPadded(p.PaddedSize, p.RawSize); err != nil {
			return err
		}
	}
	if piece.PaddedSize >= aggregate.PaddedSize {
		return inputError("piece of %d padded bytes in an aggregate of %d", piece.PaddedSize, aggregate.PaddedSize)
	}
	if err := in.Subtree.check(aggregate.PaddedSize / piece.PaddedSize); err != nil {
		return err
	}
	entries := aggregate.PaddedSize / segmentSize
	if err := in.Entry.check(entries); err != nil {
		return err
	}
	if first := entries - indexSize(aggregate.PaddedSize)/segmentSize; in.Entry.Index < first {
		return inputError("entry %d of the aggregate is none of its index, which begins at %d", in.Entry.Index, first)
	}
	return nil
}

// check holds a path to the number of nodes at its height, a power of two.
func (p Path) check(width uint64) error {
	if height := bits.TrailingZeros64(width); len(p.Siblings) != height || p.Index >= width {
		return inputError("path of %d siblings from node %d, want %d from one below %d", len(p.Siblings), p.Index, height, width)
	}
	return nil
}

// root returns the root the path leads to from a node.
func (p Path) root(n Node) Node {
	index := p.Index
	var pair [2 * nodeSize]byte
	for _, sibling := range p.Siblings {
		left, right := n, sibling
		if index%2 == 1 {
			left, right = sibling, n
		}
		copy(pair[:], left[:])
		copy(pair[nodeSize:], right[:])
		nodesPortable(n[:], pair[:])
		index /= 2
	}
	return n
}
