package pack

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
)

var profile = dag.Profiles()[0]

// mixed is a world of everything: sizes around every border, small files by
// the hundred, duplicates, names in odd order.
func mixed() *world {
	w := &world{}
	const leaf = 1 << 20
	sizes := []int{0, 1, 31, 126, 127, 128, 4096, 127 << 5, 127 << 10, commp.SlotRaw - 1, commp.SlotRaw, commp.SlotRaw + 1,
		leaf - 1, leaf, leaf + 1, 2 * leaf, 3*leaf + 5, 7*leaf - 1}
	for i, n := range sizes {
		w.put(fmt.Sprintf("sizes/%02d-%d", i, n), noise(uint64(i), n))
	}
	for i := range 700 {
		w.put(fmt.Sprintf("many/%d/%d.txt", i%7, i), noise(uint64(1000+i), i*13%3000))
	}
	big := w.files[fmt.Sprintf("sizes/%02d-%d", 17, 7*leaf-1)]
	w.put("again/big", bytes.Clone(big))
	w.put("again/half", bytes.Clone(big[3*leaf:5*leaf+17]))
	w.put("again/zeros", make([]byte, 3*leaf))
	w.put("a", []byte("a"))
	w.put("a.b", []byte("a.b"))
	w.put("a0", []byte("a0"))
	return w
}

func mixedEntries(w *world) []Entry {
	entries := w.entries()
	var out []Entry
	for _, e := range entries {
		switch e.Path {
		case "a":
			out = append(out, e)
			continue
		case "a0":
			out = append(out, Entry{Path: "a.link", Kind: Symlink, Target: "../somewhere"},
				Entry{Path: "a.none", Kind: Directory}, Entry{Path: "a.z/empty", Kind: Directory})
		}
		out = append(out, e)
	}
	return out
}

func TestPieceIsTheSameHoweverItIsMade(t *testing.T) {
	w := mixed()
	entries := mixedEntries(w)
	root := w.tree(t, entries, profile, everything)
	var first Made
	for i, s := range []struct {
		workers, readers int
		export           bool
		checkpoint       int64
		batch            int
	}{{1, 1, false, 0, batchBytes}, {2, 1, true, 0, 2100 << 10}, {5, 4, false, 8 << 20, 3 << 20}, {3, 1, true, 3 << 20, batchBytes}} {
		j := w.job(t, entries)
		j.Workers, j.Readers, j.Checkpoint = s.workers, s.readers, s.checkpoint
		if s.export {
			j.Export = t.TempDir()
		}
		m, err := run(t.Context(), j, s.batch)
		must(t, err)
		if m.Root != root {
			t.Fatalf("%+v: root %s, the canonical one is %s", s, m.Root, root)
		}
		if i == 0 {
			shelf := w.judge(t, m, 0)
			for _, e := range entries {
				if e.Kind == Regular && !bytes.Equal(content(t, shelf, m.Root, e.Path), w.files[e.Path]) {
					t.Fatalf("%q: other bytes", e.Path)
				}
			}
			first = m
			continue
		}
		if s.export {
			w.judge(t, m, 0)
		}
		if m.Piece != first.Piece || m.Blocks != first.Blocks || m.Files != first.Files || m.Bytes != first.Bytes || m.Skipped != 0 {
			t.Fatalf("%+v: %+v, want %+v", s, m, first)
		}
	}
}

func TestSizes(t *testing.T) {
	sizes := []int{0, 1, 126, 127, 128, 1000, 127<<3 - 100, commp.SlotRaw - 200, commp.SlotRaw, 1 << 20, 1<<20 + 1, 3 << 20}
	for _, n := range sizes {
		w := &world{}
		w.put("dir/file", noise(1, n))
		j := w.job(t, w.entries())
		j.MinPadded = 1 << 19
		m, err := Run(t.Context(), j)
		must(t, err)
		shelf := w.judge(t, m, j.MinPadded)
		if !bytes.Equal(content(t, shelf, m.Root, "dir/file"), w.files["dir/file"]) {
			t.Fatalf("%d bytes: others came back", n)
		}
		if m.Root != w.tree(t, w.entries(), profile, everything) {
			t.Fatalf("%d bytes: another root", n)
		}
	}
}

func TestNothingAtAll(t *testing.T) {
	w := &world{}
	m, err := Run(t.Context(), w.job(t, nil))
	must(t, err)
	w.judge(t, m, 0)
	if m.Blocks != 1 || m.Root != w.tree(t, nil, profile, everything) {
		t.Fatalf("%+v: want one empty directory", m)
	}
}

// TestParts cuts files everywhere, packs each part into a piece of its own, and
// joins them again.
func TestParts(t *testing.T) {
	small := profile
	small.ChunkSize, small.MaxLinks = 1000, 3
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		w := &world{}
		size := rng.IntN(40_000) + 1001
		w.put("in/file", noise(uint64(round), size))
		w.put("in/file.part", noise(uint64(round+100), 10))
		w.put("in/zzz", noise(uint64(round+200), 3000))
		whole := w.entries()
		tree := w.tree(t, whole, small, everything)
		var cuts []int64
		for at := int64(0); at < int64(size); at += 1000 * (1 + rng.Int64N(9)) {
			cuts = append(cuts, at)
		}
		cuts = append(cuts, int64(size))
		all := shelfOf{}
		var tops []dag.Top
		keep := func(m Made) {
			for k, b := range w.judge(t, m, 0) {
				all[k] = b
			}
		}
		for i := range len(cuts) - 1 {
			e := whole[0]
			e.Offset, e.Length = cuts[i], cuts[i+1]-cuts[i]
			entries := []Entry{e, whole[1], whole[2]}
			j := w.job(t, entries)
			j.Profile = small
			m, err := Run(t.Context(), j)
			must(t, err)
			keep(m)
			tops = append(tops, gather(t, m.Outcomes)[0].Tops...)
			if len(cuts) == 2 {
				continue
			}
			name := fmt.Sprintf("in/file.part-%d-%d", e.Offset, e.Offset+e.Length)
			if got := content(t, all, m.Root, name); !bytes.Equal(got, w.files["in/file"][e.Offset:][:e.Length]) {
				t.Fatalf("part %s: other bytes", name)
			}
		}
		var made keeper
		joined, err := dag.JoinFile(small, int64(size), tops, func(b blocks.Block) error { made.blocks = append(made.blocks, b); return nil })
		must(t, err)
		must(t, all.PutMany(context.Background(), made.blocks))
		tr := dag.NewTree(all, small)
		must(t, tr.AddEntry("in/file", joined))
		for _, e := range whole[1:] {
			_, err := tr.AddFile(context.Background(), e.Path, bytes.NewReader(w.files[e.Path]))
			must(t, err)
		}
		if got := ok(tr.Finish(context.Background()))(t).Cid; got != tree {
			t.Fatalf("size %d cut at %v: joined tree %s, want %s", size, cuts, got, tree)
		}
		if got := content(t, all, tree, "in/file"); !bytes.Equal(got, w.files["in/file"]) {
			t.Fatalf("size %d cut at %v: other bytes", size, cuts)
		}
	}
}
