package dataset_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/dataset"
)

// A dataset that fits one piece is that piece: its root is the dataset's.
func TestOneChunk(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		h.run()
		dir := tree(t, map[string][]byte{
			"a/one": noise(1, 1000), "a/two": noise(2, 2*MiB+1), "a.txt": noise(3, 10), "empty": {}, "none": nil, "b/c/d/e": noise(4, 70_000),
			".hidden/x": noise(5, 5), "copy": noise(1, 1000), "odd \xff\n name": noise(6, 6),
		})
		must(t, os.Symlink("../a.txt", filepath.Join(dir, "b", "link")))
		d := h.create("photos", dir, small())
		p := h.prepare(d)
		if want := rootOf(t, dir); p.Root != want {
			t.Errorf("root %s, want %s", p.Root, want)
		}
		pieces := h.dataPieces(p.ID)
		if len(pieces) != 1 || pieces[0].Root != p.Root {
			t.Fatalf("pieces %+v", pieces)
		}
		if p.Files != 9 || p.Bytes != 2*MiB+1+72_021 || p.Skipped != 0 || p.Chunks != 1 || p.Ordinal != 1 || p.FinishedAt == nil {
			t.Errorf("preparation %+v", p)
		}
		s := shelf{}
		s.read(h, pieces...)
		same(t, dir, s.export(t, p.Root))
		if p.IndexRoot == "" || p.IndexPiece == 0 {
			t.Errorf("index %s in piece %d", p.IndexRoot, p.IndexPiece)
		}
		st := ok(h.data.Status(t.Context(), project, p.ID))(t)
		if st.Total != st.Done || st.Done.Chunks != 1 || st.Done.Files != 9 || st.Done.Bytes != p.Bytes || st.Chunks[dataset.ChunkPacked].Chunks != 1 {
			t.Errorf("status %+v", st)
		}
		until(t, func() bool { // the job has a little to do after it has told
			entries, err := os.ReadDir(filepath.Join(h.dir, "work"))
			must(t, err)
			return len(entries) == 0
		})
	})
}

// However a tree is cut, its CIDs are those of the whole.
func TestManyChunks(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		h.run()
		files := map[string][]byte{"big/movie": noise(1, 9*MiB+12345), "big/other": noise(2, 5*MiB), "z": noise(3, 100)}
		for i := range 60 {
			files["small/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+"/"+string(rune('0'+i/26))] = noise(uint64(10+i), 40_000+i*1000)
		}
		dir := tree(t, files)
		want := rootOf(t, dir)
		sizes := []dataset.Rules{small(), {PieceSize: 16 * MiB, NoDedup: true}, {PieceSize: 32 * MiB}}
		if h.db.Engine() == db.PostgreSQL {
			sizes = sizes[:1] // the cut is no matter of the database
		}
		for _, rules := range sizes {
			d := h.create(strings.Repeat("d", int(rules.PieceSize/MiB)), dir, rules)
			p := h.prepare(d)
			if p.Root != want {
				t.Errorf("pieces of %d: root %s, want %s", rules.PieceSize, p.Root, want)
			}
			pieces, s := h.dataPieces(p.ID), shelf{}
			for _, piece := range pieces {
				if piece.PaddedSize > rules.PieceSize {
					t.Errorf("a piece of %d bytes, limit %d", piece.PaddedSize, rules.PieceSize)
				}
			}
			s.read(h, pieces...)
			same(t, dir, s.export(t, p.Root))
			movie := h.files(p.ID, dataset.Query{PathPrefix: "big/movie"})
			if len(movie) != 1 || movie[0].State != dataset.FilePacked || rules.PieceSize == 4*MiB && len(movie[0].Parts) < 3 {
				t.Errorf("pieces of %d: %+v", rules.PieceSize, movie)
			}
			t.Logf("pieces of %d MiB: %d chunks, %d pieces", rules.PieceSize/MiB, p.Chunks, len(pieces))
		}
	})
}

func TestRules(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	for _, bad := range []struct {
		rules dataset.Rules
		say   string
	}{
		{dataset.Rules{PieceSize: 33 << 30}, "near are 32 GiB and 64 GiB"},
		{dataset.Rules{PieceSize: 128 << 30}, "the nearest is 64 GiB"},
		{dataset.Rules{PieceSize: 1 << 20}, "the nearest is 4 MiB"},
		{dataset.Rules{PieceSize: 1 << 30, ChunkMax: 1 << 30}, "leave it out"},
		{dataset.Rules{PieceSize: 1 << 30, ChunkMin: 1 << 30}, "least chunk"},
		{dataset.Rules{PieceSize: 1 << 30, Export: "relative"}, "absolute"},
		{dataset.Rules{PieceSize: 1 << 30, MinPieceSize: 2 << 30}, "above the piece size"},
	} {
		_, err := h.data.Create(t.Context(), project, "x", bad.rules)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), bad.say) {
			t.Errorf("%+v: %v", bad.rules, err)
		}
	}
	for _, name := range []string{"", "12", "a/b", " a", "a\n", "\xff", ".", "..", "a\u202eb", "a\x00", "a\ufffd", "a\u00a0b", strings.Repeat("x", 201)} {
		if _, err := h.data.Create(t.Context(), project, name, dataset.Rules{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, name := range []string{"a.b", "+1", "-1", "..a", "x?y#z%2f", "名 前"} { // are no ids
		d := ok(h.data.Create(t.Context(), project, name, dataset.Rules{}))(t)
		if got := ok(h.data.Get(t.Context(), project, name))(t); got.ID != d.ID {
			t.Errorf("%q is dataset %d, not %d", name, got.ID, d.ID)
		}
	}
	for _, ref := range []string{"0", "-7", "01", "99999999999999999999", "\x00", "\xff", "", "..", "nothing"} {
		if _, err := h.data.Get(t.Context(), project, ref); !fault.Is(err, fault.NotFound) {
			t.Errorf("ref %q: %v", ref, err)
		}
	}
}
