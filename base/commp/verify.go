package commp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Verify returns nil when content, read to its end, is the proof's Length bytes
// and stands at its Offset in the piece. The piece must come from a source that
// is trusted: a piece CID v2, or v1 with the sizes of a deal on chain (the
// height is part of what is proved). ErrMismatch says that it is not so,
// ErrInput that the proof is malformed; an error of content is returned as it
// is. Memory is one slot and 32 bytes for each 127 KiB of content.
func (p Proof) Verify(piece Piece, content io.Reader) error {
	if err := p.check(piece); err != nil {
		return err
	}
	e := newEngine(chosen())
	left := p.Siblings
	take := func(int, int64) (Node, error) {
		if len(left) == 0 {
			return Node{}, inputError("proof with %d siblings, which are too few", len(p.Siblings))
		}
		n := left[0]
		left = left[1:]
		return n, nil
	}
	s := p.span()
	roots, err := p.slotRoots(e, s, content, take)
	if err != nil {
		return err
	}
	root, err := e.climb(roots, s.firstSlot(), s.top(), s.height, take)
	switch {
	case err != nil:
		return err
	case len(left) > 0:
		return inputError("proof with %d siblings, %d too many", len(p.Siblings), len(left))
	case root != piece.Root():
		return fmt.Errorf("%w: the %d bytes at %d lead to root %s, the piece has %s", ErrMismatch, p.Length, p.Offset, root, piece.Root())
	}
	return nil
}

// check holds the proof's numbers to the piece and to each other.
func (p Proof) check(piece Piece) error {
	switch {
	case p.Height < quadHeight || p.Height > maxHeight || piece.PaddedSize != nodeSize<<p.Height:
		return inputError("proof of height %d for a piece of %d padded bytes", p.Height, piece.PaddedSize)
	case p.Offset < 0 || p.Length < 1 || piece.RawSize > MaxRawSize(piece.PaddedSize) ||
		p.Length > int64(piece.RawSize) || p.Offset > int64(piece.RawSize)-p.Length:
		return inputError("proof of %d bytes at %d in a piece of %d", p.Length, p.Offset, piece.RawSize)
	}
	s := p.span()
	head, tail := p.Offset-s.first*quadRaw, s.end*quadRaw-p.Offset-p.Length
	if int64(len(p.Head)) != head || int64(len(p.Tail)) != tail {
		return inputError("proof with %d and %d bytes around the content, want %d and %d", len(p.Head), len(p.Tail), head, tail)
	}
	return nil
}

// slotRoots reads the content and returns the roots of the slots it touches.
func (p Proof) slotRoots(e *engine, s span, content io.Reader, take sibling) ([]Node, error) {
	exact := &exactReader{r: content, left: p.Length}
	r := io.MultiReader(bytes.NewReader(p.Head), exact, bytes.NewReader(p.Tail))
	var roots []Node
	buf := make([]byte, SlotRaw)
	for slot := s.firstSlot(); slot <= s.lastSlot(); slot++ {
		first, end := s.inside(slot)
		raw := buf[:(end-first)*quadRaw]
		if _, err := io.ReadFull(r, raw); err != nil {
			return nil, err
		}
		if len(raw) == SlotRaw {
			roots = append(roots, e.root(raw, slotHeight))
			continue
		}
		root, err := e.climb(e.quadNodes(raw), first, quadHeight, s.top(), take)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	return roots, exact.ended()
}

// exactReader gives the bytes of r and fails when r has fewer or more of them
// than expected.
type exactReader struct {
	r    io.Reader
	left int64
}

func (x *exactReader) Read(b []byte) (int, error) {
	if x.left == 0 {
		return 0, io.EOF
	}
	n, err := x.r.Read(b[:min(int64(len(b)), x.left)])
	x.left -= int64(n)
	if errors.Is(err, io.EOF) {
		if x.left > 0 {
			return n, fmt.Errorf("%w: content ends %d bytes early", ErrMismatch, x.left)
		}
		return n, nil
	}
	return n, err
}

func (x *exactReader) ended() error {
	var one [1]byte
	_, err := io.ReadFull(x.r, one[:])
	if err == nil {
		return fmt.Errorf("%w: content is longer than the proof", ErrMismatch)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
