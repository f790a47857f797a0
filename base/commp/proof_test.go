package commp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func treeOf(t testing.TB, data []byte) *Tree {
	t.Helper()
	tree := NewTree(int64(len(data)))
	if err := tree.SetAt(0, data); err != nil {
		t.Fatal(err)
	}
	return tree
}

// prove makes a proof, sends it through JSON and verifies it.
func prove(t testing.TB, tree *Tree, data []byte, off, n int64) Proof {
	t.Helper()
	p, err := tree.Proof(off, n, bytes.NewReader(data))
	if err != nil {
		t.Fatalf("proof of %d at %d of %d: %v", n, off, len(data), err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Proof
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	piece, err := tree.Piece()
	if err != nil {
		t.Fatal(err)
	}
	content := iotest.DataErrReader(bytes.NewReader(data[off : off+n]))
	if err := back.Verify(piece, content); err != nil {
		t.Fatalf("verify %d at %d of %d: %v", n, off, len(data), err)
	}
	return back
}

func TestProofOfAnyRange(t *testing.T) {
	sizes := []int64{1, 126, 127, 128, 254, 509, 5000, SlotRaw - 1, SlotRaw, SlotRaw + 1, 5*SlotRaw + 3, 8 * SlotRaw, 11*SlotRaw - 200}
	all := counter("proof", 12*SlotRaw)
	for _, size := range sizes {
		data := all[:size]
		tree := treeOf(t, data)
		prove(t, tree, data, 0, size)
		prove(t, tree, data, size-1, 1)
		r := random(uint64(size))
		for range 12 {
			off := r.Int64N(size)
			n := 1 + r.Int64N(size-off)
			if r.IntN(2) == 0 {
				n = min(n, 1+r.Int64N(300))
			}
			prove(t, tree, data, off, n)
		}
	}
}

func TestProofOfPaddedPiece(t *testing.T) {
	for _, size := range []int64{100, 9000, SlotRaw, 3*SlotRaw + 5} {
		data := counter("padded", uint64(size))
		tree := treeOf(t, data)
		p := prove(t, tree, data, size/3, size/2)
		for _, padded := range []uint64{1 << 20, 32 << 30} {
			q, err := p.Padded(padded)
			if err != nil {
				t.Fatal(err)
			}
			piece, err := tree.PiecePadded(padded)
			if err != nil {
				t.Fatal(err)
			}
			content := data[size/3 : size/3+size/2]
			if err := q.Verify(piece, bytes.NewReader(content)); err != nil {
				t.Errorf("%d bytes in %d: %v", size, padded, err)
			}
			if err := p.Verify(piece, bytes.NewReader(content)); !errors.Is(err, ErrInput) {
				t.Errorf("a proof of another height: %v", err)
			}
		}
		if _, err := p.Padded(127); !errors.Is(err, ErrInput) {
			t.Errorf("Padded(127): %v", err)
		}
	}
}

func TestProofRefusesEverythingElse(t *testing.T) {
	data := counter("refuse", 5*SlotRaw+777)
	tree := treeOf(t, data)
	const off, n = SlotRaw - 1000, 2*SlotRaw + 500
	p := prove(t, tree, data, off, n)
	piece, _ := tree.Piece()
	content := data[off : off+n]
	verify := func(p Proof, piece Piece, content []byte) error { return p.Verify(piece, bytes.NewReader(content)) }

	flipped := bytes.Clone(content)
	for _, at := range []int{0, SlotRaw, n - 1} {
		flipped[at] ^= 0x80
		if err := verify(p, piece, flipped); !errors.Is(err, ErrMismatch) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		flipped[at] ^= 0x80
	}
	if err := verify(p, piece, content[:n-1]); !errors.Is(err, ErrMismatch) {
		t.Errorf("content cut: %v", err)
	}
	if err := verify(p, piece, append(bytes.Clone(content), 0)); !errors.Is(err, ErrMismatch) {
		t.Errorf("content longer: %v", err)
	}
	if err := verify(p, pieceOfBytes(t, data[1:]), content); err == nil {
		t.Error("another piece was accepted")
	}
	for i := range p.Siblings {
		q := p
		q.Siblings = append([]Node(nil), p.Siblings...)
		q.Siblings[i][3] ^= 4
		if err := verify(q, piece, content); !errors.Is(err, ErrMismatch) {
			t.Errorf("sibling %d changed: %v", i, err)
		}
	}
	for name, change := range map[string]func(q *Proof){
		"one sibling less": func(q *Proof) { q.Siblings = q.Siblings[:len(q.Siblings)-1] },
		"one sibling more": func(q *Proof) { q.Siblings = append(q.Siblings[:len(q.Siblings):len(q.Siblings)], Node{}) },
		"moved by a quad":  func(q *Proof) { q.Offset += quadRaw },
		"moved by a byte":  func(q *Proof) { q.Offset++ },
		"past the data":    func(q *Proof) { q.Offset = int64(len(data)) - 5 },
		"negative":         func(q *Proof) { q.Offset = -1 },
		"empty":            func(q *Proof) { q.Length = 0 },
		"huge":             func(q *Proof) { q.Length = 1<<63 - 1 },
		"taller":           func(q *Proof) { q.Height++ },
		"height 200":       func(q *Proof) { q.Height = 200 },
		"head too long":    func(q *Proof) { q.Head = make([]byte, 127) },
		"tail missing":     func(q *Proof) { q.Tail = nil },
	} {
		q := p
		change(&q)
		if err := verify(q, piece, content); !errors.Is(err, ErrInput) && !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.Verify(piece, iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken reader: %v", err)
	}
}

func TestProofNeedsTheData(t *testing.T) {
	data := counter("needs", 3*SlotRaw+5)
	tree := treeOf(t, data)
	for _, c := range []Range{{-1, 5}, {0, 0}, {0, int64(len(data)) + 1}, {int64(len(data)), 1}, {1 << 62, 1 << 62}} {
		if _, err := tree.Proof(c.Offset, c.Length, bytes.NewReader(data)); !errors.Is(err, ErrInput) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := tree.Proof(0, 9, bytes.NewReader(data[:100])); !errors.Is(err, ErrMismatch) {
		t.Errorf("short data: %v", err)
	}
	other := bytes.Clone(data)
	other[7] ^= 1
	if _, err := tree.Proof(100, 9, bytes.NewReader(other)); !errors.Is(err, ErrMismatch) {
		t.Errorf("other data: %v", err)
	}
	if _, err := NewTree(500).Proof(0, 9, bytes.NewReader(data)); !errors.Is(err, ErrMissing) {
		t.Errorf("incomplete tree: %v", err)
	}
}
