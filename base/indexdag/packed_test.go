package indexdag_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/base/pack"
)

// held opens files that are in memory.
type held map[string][]byte

type heldFile struct{ *bytes.Reader }

func (heldFile) Check() error { return nil }
func (heldFile) Close() error { return nil }

func (h held) Open(_ context.Context, s pack.Source) (pack.File, error) {
	data, ok := h[s.Path]
	if !ok {
		return nil, fault.New(fault.NotFound, "%q: is gone", s.Path)
	}
	return heldFile{bytes.NewReader(data)}, nil
}

// packInto packs entries into a CAR in dir and adds where they are to sources.
func packInto(t *testing.T, dir string, open held, entries []pack.Entry, tail []blocks.Block, sources map[string][]indexdag.Source) (pack.Made, [][]dag.Top) {
	t.Helper()
	job := pack.Job{
		Entries: func(from int64) iter.Seq2[pack.Entry, error] {
			return func(yield func(pack.Entry, error) bool) {
				for _, e := range entries[from:] {
					if !yield(e, nil) {
						return
					}
				}
			}
		},
		Open: open, Dir: t.TempDir(), Export: dir, Settings: pack.Settings{MaxPadded: 32 * mib},
	}
	if tail != nil {
		job.Tail = func(_ context.Context, _ pack.Outcomes, put func(blocks.Block) error) error {
			for _, b := range tail {
				if err := put(b); err != nil {
					return err
				}
			}
			return nil
		}
	}
	made, err := pack.Run(t.Context(), job)
	must(t, err)
	prof, err := dag.ProfileNamed("")
	must(t, err)
	var tops [][]dag.Top
	for o, err := range made.Outcomes {
		must(t, err)
		e := entries[o.Entry]
		part, err := dag.PartFile(prof, o.Tops, func(blocks.Block) error { return nil })
		must(t, err)
		tops = append(tops, o.Tops)
		sources[e.Path] = append(sources[e.Path], indexdag.Source{
			Piece: made.Piece.CIDv2, Cid: part.Cid, Offset: e.Offset, Length: e.Length,
			CAR: []indexdag.Range{{Offset: o.CAROffset, Length: o.CARLength}},
		})
	}
	return made, tops
}

// TestPackedIsFetched packs files as a preparation does, one of them into two
// pieces, and gets them back from the exported CARs and from a server.
func TestPackedIsFetched(t *testing.T) {
	files := held{"dir/one": bytesOf(1, 3000), "dir/two": bytesOf(2, 3*mib+1), "split": bytesOf(3, 12*mib+5), "twin": nil, "zeros": make([]byte, 10*mib)}
	files["twin"] = files["dir/two"]
	entry := func(path string, from, length int64) pack.Entry {
		return pack.Entry{Origin: "memory", Path: path, Size: int64(len(files[path])), Offset: from, Length: length}
	}
	whole := func(path string) pack.Entry { return entry(path, 0, int64(len(files[path]))) }
	dir, sources := t.TempDir(), map[string][]indexdag.Source{}
	a, tops := packInto(t, dir, files, []pack.Entry{whole("dir/one"), whole("dir/two"), entry("split", 0, 9*mib)}, nil, sources)
	b, more := packInto(t, dir, files, []pack.Entry{entry("split", 9*mib, 3*mib+5), whole("twin"), whole("zeros")}, nil, sources)

	prof, err := dag.ProfileNamed("")
	must(t, err)
	split, err := dag.JoinFile(prof, 12*mib+5, slices.Concat(tops[2], more[0]), func(blocks.Block) error { return nil })
	must(t, err)
	d := &dataset{t: t, files: files, index: newMemory(), pieces: map[string][]byte{}}
	var entries []indexdag.Entry
	for path, data := range files {
		e := indexdag.Entry{Path: path, Size: int64(len(data)), Cid: sources[path][0].Cid, Sources: sources[path]}
		if path == "split" {
			e.Cid = split.Cid
		}
		entries = append(entries, e)
	}
	r := write(t, d.index, indexdag.Header{Profile: dag.DefaultProfile}, sorted(entries),
		indexdag.Piece{Cid: a.Piece.CIDv2, Root: a.Root, Size: a.CARSize}, indexdag.Piece{Cid: b.Piece.CIDv2, Root: b.Root, Size: b.CARSize})
	d.root = r.Root()
	var nodes []blocks.Block
	for _, c := range d.index.order {
		b, err := d.index.Get(t.Context(), c)
		must(t, err)
		nodes = append(nodes, b)
	}
	packInto(t, dir, files, nil, nodes, nil)

	cars, err := filepath.Glob(filepath.Join(dir, "*.car"))
	if err != nil || len(cars) != 3 {
		t.Fatalf("CARs %v, %v", cars, err)
	}
	for _, name := range cars {
		f, err := os.Open(name)
		must(t, err)
		data, err := io.ReadAll(f)
		must(t, err)
		f.Close()
		d.keep(pieceOf(data), data)
	}
	d.dirs = []string{"dir"}
	for _, place := range []string{dir, d.serve(nil).URL} {
		f, r := d.fetcher(indexdag.FetchOptions{}, place)
		out := t.TempDir()
		_, err := f.Fetch(t.Context(), r, "", out)
		must(t, err)
		d.sameAs(out, "")
		again, err := f.Fetch(t.Context(), r, "", out) // by the canonical CIDs
		if err != nil || again.Kept != int64(len(files)) {
			t.Errorf("again: %+v, %v", again, err)
		}
	}
}
