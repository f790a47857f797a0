package commp

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// Aggregate is a piece made of pieces (FRC-0058, "PoDSI"): each is a subtree of
// it, and an index at its end lists them, so that whoever holds the piece CID
// of one can be shown that a deal for the whole is a deal for it. It is made
// from the pieces' commitments alone, and does not change.
type Aggregate struct {
	segments []Segment
	levels   [][]placed // by height; what is not there is the tree of zeros
}

// placed is a node at its place in a level.
type placed struct {
	index uint64
	node  Node
}

// NewAggregate places pieces in the given order, each at the next offset that
// is a multiple of its size, in a piece of a padded size; 0 takes the smallest
// that holds them and the index. Equal pieces may stand in it more than once.
// The error is ErrInput.
func NewAggregate(pieces []Piece, padded uint64) (*Aggregate, error) {
	segments, end, err := place(pieces)
	if err != nil {
		return nil, err
	}
	if padded == 0 {
		padded = smallest(end, len(pieces))
	}
	height, err := heightOfPadded(padded, 0)
	switch {
	case err != nil:
		return nil, err
	case uint64(len(pieces)) > indexSize(padded)/segmentSize:
		return nil, inputError("%d pieces in an aggregate of %d padded bytes, whose index holds %d",
			len(pieces), padded, indexSize(padded)/segmentSize)
	case end+indexSize(padded) > padded:
		return nil, inputError("pieces up to %d in an aggregate of %d padded bytes, of which %d are the index",
			end, padded, indexSize(padded))
	}
	a := &Aggregate{segments: segments, levels: make([][]placed, height+1)}
	a.build(padded)
	return a, nil
}

// place returns the pieces as segments, and where the last one ends.
func place(pieces []Piece) (segments []Segment, end uint64, err error) {
	for i, p := range pieces {
		if _, err := rootOfV1(p.CIDv1); err != nil {
			return nil, 0, fmt.Errorf("piece %d: %w", i, err)
		}
		if _, err := heightOfPadded(p.PaddedSize, p.RawSize); err != nil {
			return nil, 0, fmt.Errorf("piece %d: %w", i, err)
		}
		offset := (end + p.PaddedSize - 1) &^ (p.PaddedSize - 1)
		if end = offset + p.PaddedSize; end > MaxPaddedSize {
			return nil, 0, inputError("%d pieces take more than %d bytes", len(pieces), uint64(MaxPaddedSize))
		}
		segments = append(segments, Segment{p.Root(), offset, p.PaddedSize})
	}
	return segments, end, nil
}

// smallest returns the size of the smallest aggregate, which may be too large
// to be a piece.
func smallest(end uint64, pieces int) uint64 {
	padded := uint64(2 * 4 * segmentSize)
	for padded <= MaxPaddedSize && (end+indexSize(padded) > padded || uint64(pieces) > indexSize(padded)/segmentSize) {
		padded *= 2
	}
	return padded
}

// build fills the levels: the roots of the segments and the nodes over their
// entries at their places, and all that can be made of them above.
func (a *Aggregate) build(padded uint64) {
	first := (padded - indexSize(padded)) / segmentSize
	for i, s := range a.segments {
		height := bits.TrailingZeros64(s.Size / nodeSize)
		a.levels[height] = append(a.levels[height], placed{s.Offset / s.Size, s.Root})
		entry := s.encode()
		for half := range uint64(2) {
			leaf := placed{2*(first+uint64(i)) + half, Node(entry[half*nodeSize:])}
			a.levels[0] = append(a.levels[0], leaf)
		}
	}
	e := newEngine(portable)
	for h, level := range a.levels[:len(a.levels)-1] {
		slices.SortFunc(level, func(x, y placed) int { return cmp.Compare(x.index, y.index) })
		for i, n := range level {
			switch {
			case n.index%2 == 1 && (i == 0 || level[i-1].index != n.index-1):
				a.put(h+1, n.index/2, e.join(e.zero[h], n.node))
			case n.index%2 == 0:
				a.put(h+1, n.index/2, e.join(n.node, a.node(h, n.index+1)))
			}
		}
	}
}

func (a *Aggregate) put(height int, index uint64, n Node) {
	a.levels[height] = append(a.levels[height], placed{index, n})
}

// node returns a node of a level that is sorted.
func (a *Aggregate) node(height int, index uint64) Node {
	level := a.levels[height]
	at, found := slices.BinarySearchFunc(level, index, func(p placed, index uint64) int {
		return cmp.Compare(p.index, index)
	})
	if !found {
		return zeroTrees()[height]
	}
	return level[at].node
}

// Segments returns the pieces as they stand in the aggregate, in order.
func (a *Aggregate) Segments() []Segment { return slices.Clone(a.segments) }

// Piece returns the aggregate as a piece. Its data, which goes to the end of
// the piece, is that of the segments, the index, and zeros everywhere else.
func (a *Aggregate) Piece() Piece {
	height := len(a.levels) - 1
	return pieceOf(a.node(height, 0), MaxRawSize(nodeSize<<height), height)
}

// Index returns the raw bytes of the index, which stand at IndexOffset of the
// piece; after them zeros follow to its end.
func (a *Aggregate) Index() []byte {
	out := make([]byte, 0, (len(a.segments)+1)/2*quadRaw)
	for pair := range slices.Chunk(a.segments, 2) {
		var quad [quadPadded]byte
		var raw [quadRaw]byte
		for i, s := range pair {
			entry := s.encode()
			copy(quad[i*segmentSize:], entry[:])
		}
		contract(&raw, &quad)
		out = append(out, raw[:]...)
	}
	return out
}

// Inclusion makes the proof for a segment, counted from 0. The error is
// ErrInput for one that is not there.
func (a *Aggregate) Inclusion(segment int) (Inclusion, error) {
	if segment < 0 || segment >= len(a.segments) {
		return Inclusion{}, inputError("segment %d of %d", segment, len(a.segments))
	}
	s := a.segments[segment]
	padded := uint64(nodeSize) << (len(a.levels) - 1)
	entry := (padded-indexSize(padded))/segmentSize + uint64(segment)
	return Inclusion{
		Subtree: a.path(bits.TrailingZeros64(s.Size/nodeSize), s.Offset/s.Size),
		Entry:   a.path(1, entry),
	}, nil
}

// path collects the siblings of a node up to the root.
func (a *Aggregate) path(height int, index uint64) Path {
	p := Path{Index: index}
	for ; height < len(a.levels)-1; height++ {
		p.Siblings = append(p.Siblings, a.node(height, index^1))
		index /= 2
	}
	return p
}
