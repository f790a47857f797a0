package dag_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// narrow has three levels of nodes over few bytes.
func narrow(t testing.TB) dag.Profile {
	prof := profile(t, "")
	prof.Name, prof.ChunkSize, prof.MaxLinks = "narrow", 4, 3
	return prof
}

// leaves cuts content into the links that a profile's leaves have.
func leaves(t testing.TB, data []byte, prof dag.Profile) (out []dag.Link) {
	t.Helper()
	for i := range dag.Leaves(prof, int64(len(data))) {
		from := int(i) * prof.ChunkSize
		leaf := data[from:min(len(data), from+prof.ChunkSize)]
		sum, err := mh.Sum(leaf, mh.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, dag.Link{Cid: cid.NewCidV1(cid.Raw, sum), Size: int64(len(leaf)), TreeSize: uint64(len(leaf))})
	}
	return out
}

// gather keeps blocks and refuses one that comes twice.
func gather(t testing.TB, into *store) func(blocks.Block) error {
	return func(b blocks.Block) error {
		if _, twice := into.blocks[b.Cid()]; twice {
			t.Errorf("node %s twice", b.Cid())
		}
		return into.PutMany(t.Context(), []blocks.Block{b})
	}
}

// build makes one part, stopping and going on before the leaves of pauses.
func build(t testing.TB, prof dag.Profile, size int64, ls []dag.Link, from, to int, s *store, pauses ...int) []dag.Top {
	t.Helper()
	b, err := dag.NewFileBuilder(prof, size, int64(from), int64(to))
	for i := from; i < to && err == nil; i++ {
		if slices.Contains(pauses, i) {
			b, err = dag.ResumeFileBuilder(prof, size, int64(from), int64(to), b.Tops())
		}
		if err == nil {
			err = b.Leaf(ls[i], gather(t, s))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	tops, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return tops
}

// sameNodes holds what was made to the nodes that AddFile makes.
func sameNodes(t testing.TB, what string, made, want *store) {
	t.Helper()
	nodes := 0
	for c, b := range want.blocks {
		if c.Type() == cid.Raw {
			continue
		}
		nodes++
		if got, ok := made.blocks[c]; !ok || !bytes.Equal(got.RawData(), b.RawData()) {
			t.Fatalf("%s: node %s is not made", what, c)
		}
	}
	if len(made.blocks) != nodes {
		t.Fatalf("%s: %d nodes, want %d", what, len(made.blocks), nodes)
	}
}

// Every size up to three levels of nodes, every cut in two, and random ones.
func TestPartsMakeTheWholeFile(t *testing.T) {
	prof := narrow(t)
	rnd := rand.New(rand.NewPCG(3, 1))
	data := bytesOnce()
	for size := int64(0); size < 4*30; size++ {
		s := newStore()
		want := add(t, s, data[:size], prof)
		ls := leaves(t, data[:size], prof)
		cuts := [][]int{nil}
		for i := 1; i < len(ls); i++ {
			cuts = append(cuts, []int{i})
		}
		for range 12 {
			var cut []int
			for i := 1; i < len(ls); i++ {
				if rnd.IntN(4) == 0 {
					cut = append(cut, i)
				}
			}
			cuts = append(cuts, cut)
		}
		for _, cut := range cuts {
			what := fmt.Sprintf("%d bytes cut at %v", size, cut)
			made, from := newStore(), 0
			var tops []dag.Top
			for _, to := range append(slices.Clone(cut), len(ls)) {
				part := build(t, prof, size, ls, from, to, made, from+rnd.IntN(to-from))
				maximal(t, what, part, int64(from), int64(to), int64(len(ls)), int64(prof.MaxLinks))
				tops = append(tops, part...)
				from = to
			}
			if cut == nil && (len(tops) != 1 || tops[0].Cid != want.Cid) {
				t.Fatalf("%s: tops %v, want the root %s alone", what, tops, want.Cid)
			}
			rnd.Shuffle(len(tops), func(i, j int) { tops[i], tops[j] = tops[j], tops[i] })
			got, err := dag.JoinFile(prof, size, tops, gather(t, made))
			if err != nil || got != want {
				t.Fatalf("%s: %+v, %v, want %+v", what, got, err, want)
			}
			sameNodes(t, what, made, s)
		}
	}
}

// maximal holds tops to their definition: nodes all of whose leaves are in the
// part, none below another, each leaf below one.
func maximal(t *testing.T, what string, tops []dag.Top, from, to, leaves, m int64) {
	t.Helper()
	span := func(level int, index int64) (int64, int64) {
		each := int64(1)
		for range level {
			each *= m
		}
		return index * each, min((index+1)*each, leaves)
	}
	next := from
	for _, top := range tops {
		first, end := span(top.Level, top.Index)
		if first != next || end > to {
			t.Fatalf("%s: node %d of level %d covers %d to %d, leaf %d awaited of %d", what, top.Index, top.Level, first, end, next, to)
		}
		next = end
		if up, upEnd := span(top.Level+1, top.Index/m); up >= from && upEnd <= to && end-first < leaves {
			t.Fatalf("%s: the parent of node %d of level %d could have been made", what, top.Index, top.Level)
		}
	}
	if next != to {
		t.Fatalf("%s: tops end at %d of %d", what, next, to)
	}
}

// One part alone can be read as a file of its bytes.
func TestPartReadsAlone(t *testing.T) {
	prof, data := narrow(t), bytesOnce()
	const size = 4*29 + 3
	s := newStore()
	add(t, s, data[:size], prof)
	ls := leaves(t, data[:size], prof)
	for from := range ls {
		for to := from + 1; to <= len(ls); to++ {
			made := newStore()
			tops := build(t, prof, size, ls, from, to, made)
			e, err := dag.PartFile(prof, tops, gather(t, made))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range s.blocks {
				if b.Cid().Type() == cid.Raw {
					made.blocks[b.Cid()] = b
				}
			}
			f, _, err := dag.OpenFile(t.Context(), made, e.Cid)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			want := data[from*4 : min(size, to*4)]
			if err != nil || !bytes.Equal(got, want) || e.Size != int64(len(want)) {
				t.Fatalf("leaves %d to %d: %d bytes, %v, entry says %d, want %d", from, to, len(got), err, e.Size, len(want))
			}
		}
	}
}

// The files of the vectors, whole and in three parts.
func TestPartsHaveKubosCIDs(t *testing.T) {
	for _, f := range loadVectors(t).Files {
		if f.Size > int64(len(bytesOnce())) {
			continue
		}
		for _, name := range []string{"unixfs-v1-2025", "cid-v1-raw-256KiB", "cid-v1-raw-1MiB"} {
			prof := profile(t, name)
			ls := leaves(t, bytesOnce()[:f.Size], prof)
			var tops []dag.Top
			s := newStore()
			for i := range 3 {
				if from, to := i*len(ls)/3, (i+1)*len(ls)/3; from < to {
					tops = append(tops, build(t, prof, f.Size, ls, from, to, s)...)
				}
			}
			e, err := dag.JoinFile(prof, f.Size, tops, gather(t, s))
			if err != nil || e.Cid.String() != f.CIDs[name] {
				t.Errorf("%s, %d bytes: %s, %v, want %s", name, f.Size, e.Cid, err, f.CIDs[name])
			}
		}
	}
}

func TestPartsRefuse(t *testing.T) {
	prof, nowhere := narrow(t), func(blocks.Block) error { return nil }
	for _, name := range []string{"kubo", "edge", "trickle", "trickle-cid-v1-raw"} {
		_, err := dag.NewFileBuilder(profile(t, name), 10, 0, 1)
		wantKind(t, err, fault.Invalid)
		_, err = dag.PartFile(profile(t, name), make([]dag.Top, 1), nowhere)
		wantKind(t, err, fault.Invalid)
	}
	for _, run := range [][3]int64{{-1, 0, 1}, {10, -1, 1}, {10, 1, 1}, {10, 0, 4}, {10, 3, 4}} {
		_, err := dag.NewFileBuilder(prof, run[0], run[1], run[2])
		wantKind(t, err, fault.Invalid)
	}
	ls := leaves(t, bytesOnce()[:10], prof)
	b, err := dag.NewFileBuilder(prof, 10, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Finish()
	wantKind(t, err, fault.Invalid)
	wantKind(t, b.Leaf(ls[2], nowhere), fault.Invalid) // 2 bytes where 4 belong
	for _, l := range ls[:2] {
		if err := b.Leaf(l, nowhere); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, b.Leaf(ls[2], nowhere), fault.Invalid) // one too many
	last := dag.Top{Index: 2, Link: ls[2]}
	for _, tops := range [][]dag.Top{nil, b.Tops(), {last}, append(b.Tops(), last, last), append(b.Tops(), dag.Top{Level: 7, Link: ls[2]}),
		append(b.Tops(), dag.Top{Index: 1 << 62, Link: ls[2]}), append(b.Tops(), dag.Top{Level: 1, Link: ls[2]})} {
		_, err := dag.JoinFile(prof, 10, tops, nowhere)
		wantKind(t, err, fault.Invalid)
	}
	_, err = dag.JoinFile(prof, 10, append(b.Tops(), last), func(blocks.Block) error { return errBroken })
	if err != errBroken {
		t.Errorf("emit's error became %v", err)
	}
}

// A file of 2^62 bytes has places without overflow.
func TestPartOfAHugeFile(t *testing.T) {
	prof := profile(t, "")
	const size = 1 << 62
	n := dag.Leaves(prof, size)
	leaf := leaves(t, make([]byte, prof.ChunkSize), prof)[0]
	b, err := dag.NewFileBuilder(prof, size, n-2048, n)
	if err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for range 2048 {
		if err := b.Leaf(leaf, func(blocks.Block) error { nodes++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	tops, err := b.Finish()
	if err != nil || len(tops) != 2 || nodes != 2 || tops[1].Level != 1 || tops[1].Index != n/1024-1 {
		t.Errorf("tops %+v, %d nodes, %v", tops, nodes, err)
	}
}

// Nodes of 1 GiB an operation.
func BenchmarkFileBuilder(b *testing.B) {
	prof := profile(b, "")
	leaf := leaves(b, make([]byte, prof.ChunkSize), prof)[0]
	b.SetBytes(1 << 30)
	for b.Loop() {
		f, err := dag.NewFileBuilder(prof, 1<<30, 0, 1024)
		for range 1024 {
			if err == nil {
				err = f.Leaf(leaf, func(blocks.Block) error { return nil })
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
