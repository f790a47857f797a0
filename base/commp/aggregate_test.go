package commp

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/filecoin-project/go-data-segment/datasegment"
	"github.com/filecoin-project/go-data-segment/merkletree"
	"github.com/filecoin-project/go-state-types/abi"
)

// somePieces makes commitments, of which only root and sizes matter here.
func somePieces(seed uint64, padded ...uint64) (pieces []Piece) {
	r := random(seed)
	for _, size := range padded {
		var root Node
		for i := range root {
			root[i] = byte(r.Uint32())
		}
		root[31] &= 0x3f
		height, _ := heightOfPadded(size, 0)
		pieces = append(pieces, pieceOf(root, 1+r.Uint64N(MaxRawSize(size)), height))
	}
	return pieces
}

func infos(pieces []Piece) (out []abi.PieceInfo) {
	for _, p := range pieces {
		out = append(out, abi.PieceInfo{PieceCID: p.CIDv1, Size: abi.PaddedPieceSize(p.PaddedSize)})
	}
	return out
}

func paths(in Inclusion) (out datasegment.InclusionProof) {
	one := func(p Path) (d merkletree.ProofData) {
		d.Index = p.Index
		for _, n := range p.Siblings {
			d.Path = append(d.Path, merkletree.Node(n))
		}
		return d
	}
	return datasegment.InclusionProof{ProofSubtree: one(in.Subtree), ProofIndex: one(in.Entry)}
}

// The aggregate of the library, in everything it tells, and its verdict on our
// proofs.
func TestAggregateAgainstDataSegment(t *testing.T) {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	for name, c := range map[string]struct {
		padded uint64
		sizes  []uint64
	}{
		"one":       {1 << 20, []uint64{128}},
		"tiny":      {512, []uint64{128, 128}},
		"gaps":      {gib, []uint64{128, mib, 256, 256, 512 * kib, 128, 64 * mib}},
		"large":     {32 * gib, []uint64{4 * gib, 8 * gib, 128, 16 * mib, gib, 2048, 4 * gib}},
		"falling":   {64 * mib, []uint64{32 * mib, 16 * mib, 8 * mib, 4 * mib, 2 * mib, mib, 512 * kib, 128 * kib}},
		"many":      {mib, []uint64{128, 128, 128, 128, 128, 128, 128, 4096}},
		"odd count": {4 * mib, []uint64{2 * mib, 128, 256 * kib}},
	} {
		t.Run(name, func(t *testing.T) {
			pieces := somePieces(uint64(len(name)), c.sizes...)
			judge, err := datasegment.NewAggregate(abi.PaddedPieceSize(c.padded), infos(pieces))
			if err != nil {
				t.Fatal(err)
			}
			a, err := NewAggregate(pieces, c.padded)
			if err != nil {
				t.Fatal(err)
			}
			compareAggregates(t, a, judge, pieces)
		})
	}
}

func compareAggregates(t *testing.T, a *Aggregate, judge *datasegment.Aggregate, pieces []Piece) {
	t.Helper()
	whole := a.Piece()
	if cid, err := judge.PieceCID(); err != nil || !cid.Equals(whole.CIDv1) || whole.PaddedSize != uint64(judge.DealSize) {
		t.Fatalf("%+v, want %s of %d, %v", whole, cid, judge.DealSize, err)
	}
	reader, err := judge.IndexReader()
	if err != nil {
		t.Fatal(err)
	}
	var index bytes.Buffer
	_, _ = index.ReadFrom(reader)
	ours := a.Index()
	if !bytes.HasPrefix(index.Bytes(), ours) || len(bytes.TrimRight(index.Bytes()[len(ours):], "\x00")) > 0 {
		t.Error("the index differs")
	}
	if at, _ := judge.IndexStartPosition(); IndexOffset(whole.PaddedSize) != int64(at) {
		t.Errorf("the index is at %d, want %d", IndexOffset(whole.PaddedSize), at)
	}
	if got, err := ParseIndex(index.Bytes()); err != nil || !slices.Equal(got, a.Segments()) {
		t.Errorf("the index was read as %v, %v", got, err)
	}
	for i, s := range a.Segments() {
		want := judge.Index.Entries[i]
		if s.Root != Node(want.CommDs) || s.Offset != want.Offset || s.Size != want.Size ||
			s.RawOffset() != int64(want.UnpaddedOffest()) || s.RawSize() != int64(want.UnpaddedLength()) {
			t.Errorf("segment %d: %+v, want %+v", i, s, want)
		}
		in, err := a.Inclusion(i)
		if err != nil {
			t.Fatal(err)
		}
		proof, _ := judge.ProofForIndexEntry(i)
		if got := paths(in); !samePaths(got.ProofSubtree, proof.ProofSubtree) || !samePaths(got.ProofIndex, proof.ProofIndex) {
			t.Errorf("segment %d: another proof", i)
		}
		var ours, theirs bytes.Buffer
		if err := errors.Join(in.MarshalCBOR(&ours), proof.MarshalCBOR(&theirs)); err != nil || !bytes.Equal(ours.Bytes(), theirs.Bytes()) {
			t.Errorf("segment %d: the proof is written as %x, %v, want %x", i, ours.Bytes(), err, theirs.Bytes())
		}
		theirs.WriteByte(0xff) // what follows is somebody else's
		var back Inclusion
		if err := back.UnmarshalCBOR(&theirs); err != nil || !reflect.DeepEqual(back, in) || theirs.Len() != 1 {
			t.Errorf("segment %d: the proof comes back as %+v, %v", i, back, err)
		}
		aux, err := paths(in).ComputeExpectedAuxData(datasegment.VerifierDataForPieceInfo(infos(pieces)[i]))
		if err != nil || !aux.CommPa.Equals(whole.CIDv1) || uint64(aux.SizePa) != whole.PaddedSize {
			t.Errorf("segment %d: the library verifies %+v, %v", i, aux, err)
		}
		if got, err := in.Segment(pieces[i], whole); err != nil || got != s {
			t.Errorf("segment %d: we verify %+v, %v", i, got, err)
		}
	}
}

func samePaths(a, b merkletree.ProofData) bool {
	return a.Index == b.Index && slices.Equal(a.Path, b.Path)
}

// The tree of the aggregate is that of its data.
func TestAggregateIsItsData(t *testing.T) {
	sizes := []int{100, 70_000, 5000, 130_048, 1}
	var pieces []Piece
	var data [][]byte
	for i, n := range sizes {
		data = append(data, counter("aggregate", uint64(n+i))[i:])
		pieces = append(pieces, pieceOfBytes(t, data[i]))
	}
	a, err := NewAggregate(pieces, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := a.Piece()
	whole := make([]byte, want.RawSize)
	for i, s := range a.Segments() {
		copy(whole[s.RawOffset():], data[i])
	}
	copy(whole[IndexOffset(want.PaddedSize):], a.Index())
	if got := pieceOfBytes(t, whole); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := NewAggregate(pieces, want.PaddedSize/2); !errors.Is(err, ErrInput) {
		t.Errorf("half the smallest size: %v", err)
	}
}

func TestAggregateRefuses(t *testing.T) {
	five := somePieces(1, 128, 128, 128, 128, 128)
	for name, c := range map[string]struct {
		pieces []Piece
		padded uint64
	}{
		"no size":         {five, 1000},
		"no room":         {five[:1], 256},
		"no room at all":  {nil, 128},
		"too many":        {five, 4096},
		"no piece":        {[]Piece{{}}, 0},
		"size of a piece": {[]Piece{{CIDv1: five[0].CIDv1, RawSize: 5, PaddedSize: 100}}, 0},
		"data of a piece": {[]Piece{{CIDv1: five[0].CIDv1, RawSize: 500, PaddedSize: 128}}, 0},
		"beyond measure":  {somePieces(2, MaxPaddedSize, 128), 0},
		"the very most":   {somePieces(3, MaxPaddedSize), 0},
	} {
		if _, err := NewAggregate(c.pieces, c.padded); !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, err := NewAggregate(nil, 256); err != nil || a.Piece().Root() != zeroTrees()[3] {
		t.Errorf("nothing at all: %v", err)
	}
	if _, err := ParseIndex(make([]byte, 128)); !errors.Is(err, ErrInput) {
		t.Errorf("an index of 128 bytes: %v", err)
	}
}

func TestInclusionRefusesEverythingElse(t *testing.T) {
	pieces := somePieces(4, 1<<20, 256, 1<<18, 256)
	a, err := NewAggregate(pieces, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	whole := a.Piece()
	in, err := a.Inclusion(1)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(in)
	for name, change := range map[string]func(in *Inclusion, piece, whole *Piece){
		"another piece":      func(_ *Inclusion, p, _ *Piece) { *p = pieces[3] },
		"a larger piece":     func(_ *Inclusion, p, _ *Piece) { *p = pieces[2] },
		"no piece":           func(_ *Inclusion, p, _ *Piece) { *p = Piece{} },
		"the whole":          func(_ *Inclusion, p, w *Piece) { *p = *w },
		"another aggregate":  func(_ *Inclusion, _, w *Piece) { *w = somePieces(5, 1<<24)[0] },
		"a larger aggregate": func(_ *Inclusion, _, w *Piece) { w.PaddedSize *= 2 },
		"a small aggregate":  func(_ *Inclusion, p, w *Piece) { p.PaddedSize, p.RawSize, w.PaddedSize = 128, 1, 256 },
		"another place":      func(in *Inclusion, _, _ *Piece) { in.Subtree.Index ^= 2 },
		"past the end":       func(in *Inclusion, _, _ *Piece) { in.Subtree.Index += 1 << 16 },
		"another entry":      func(in *Inclusion, _, _ *Piece) { in.Entry.Index++ },
		"outside the index":  func(in *Inclusion, _, _ *Piece) { in.Entry.Index = 0 },
		"a short path":       func(in *Inclusion, _, _ *Piece) { in.Subtree.Siblings = in.Subtree.Siblings[1:] },
		"a long path":        func(in *Inclusion, _, _ *Piece) { in.Entry.Siblings = append(in.Entry.Siblings, Node{}) },
		"another sibling":    func(in *Inclusion, _, _ *Piece) { in.Entry.Siblings[3][0]++ },
	} {
		var changed Inclusion
		_ = json.Unmarshal(text, &changed)
		piece, aggregate := pieces[1], whole
		if err := changed.Verify(piece, aggregate); err != nil {
			t.Fatalf("before: %v", err)
		}
		change(&changed, &piece, &aggregate)
		if err := changed.Verify(piece, aggregate); !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Inclusion(4); !errors.Is(err, ErrInput) {
		t.Errorf("segment 4 of 4: %v", err)
	}
}

// Whatever is read as a proof, the library reads alike, and it is written as it
// was if it was written the shortest way.
func FuzzInclusionCBOR(f *testing.F) {
	a, _ := NewAggregate(somePieces(6, 128, 1<<20, 2048), 1<<22)
	in, _ := a.Inclusion(1)
	var b bytes.Buffer
	_ = in.MarshalCBOR(&b)
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:100])
	f.Add([]byte("\x82\x82\x05\x80\x82\x00\x80"))
	f.Add([]byte("\x82\x82\x00\x9b\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var in Inclusion
		if err := in.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
			if !errors.Is(err, ErrInput) {
				t.Fatal(err)
			}
			return
		}
		var judge datasegment.InclusionProof
		if err := judge.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
			t.Fatalf("the library refuses it: %v", err)
		}
		if got := paths(in); !samePaths(got.ProofSubtree, judge.ProofSubtree) || !samePaths(got.ProofIndex, judge.ProofIndex) {
			t.Fatal("the library reads another proof")
		}
		var b, c bytes.Buffer
		if err := errors.Join(in.MarshalCBOR(&b), judge.MarshalCBOR(&c)); err != nil || !bytes.Equal(b.Bytes(), c.Bytes()) {
			t.Fatalf("%x, %v, want %x", b.Bytes(), err, c.Bytes())
		}
	})
}

// Whatever an index holds, we and the library read the same of it.
func FuzzParseIndex(f *testing.F) {
	a, _ := NewAggregate(somePieces(6, 128, 1<<20, 2048), 1<<22)
	f.Add(a.Index())
	f.Add(make([]byte, 2*quadRaw))
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = raw[:len(raw)/quadRaw*quadRaw]
		got, err := ParseIndex(raw)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := datasegment.ParseDataSegmentIndex(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		want, err := parsed.ValidEntries()
		if err != nil || len(want) != len(got) {
			t.Fatalf("%d segments, want %d, %v", len(got), len(want), err)
		}
		for i, w := range want {
			if got[i] != (Segment{Node(w.CommDs), w.Offset, w.Size}) {
				t.Fatalf("segment %d: %+v, want %+v", i, got[i], w)
			}
		}
		for len(raw) > 0 {
			var quad [quadPadded]byte
			var back [quadRaw]byte
			expand(&quad, (*[quadRaw]byte)(raw))
			if contract(&back, &quad); !bytes.Equal(back[:], raw[:quadRaw]) {
				t.Fatal("contract does not undo expand")
			}
			raw = raw[quadRaw:]
		}
	})
}
