package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// world is files in memory that can be watched and tampered with.
type world struct {
	mu       sync.Mutex
	files    map[string][]byte
	versions map[string]int // how often a file was replaced

	opens, reads, bytes atomic.Int64
	// before is called before each read; it may change the world or fail it.
	before func(path string, off int64) error
	opened func(path string) error
}

func (w *world) Open(_ context.Context, s Source) (File, error) {
	w.opens.Add(1)
	if w.opened != nil {
		if err := w.opened(s.Path); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	data, ok := w.files[s.Path]
	if !ok {
		return nil, fault.New(fault.NotFound, "%q: gone", s.Path)
	}
	if s.ID != w.id(s.Path) {
		return nil, fault.New(fault.Conflict, "%q: changed since the scan", s.Path)
	}
	return &worldFile{w, s.Path, s.ID, data}, nil
}

func (w *world) Block(_ context.Context, c cid.Cid) (blocks.Block, error) {
	return nil, fault.New(fault.NotFound, "block %s: not there", c)
}

// replace gives a path other bytes; nil removes it.
func (w *world) replace(path string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.versions[path]++
	if data == nil {
		delete(w.files, path)
		return
	}
	w.files[path] = data
}

type worldFile struct {
	w    *world
	path string
	id   string
	data []byte
}

func (f *worldFile) ReadAt(p []byte, off int64) (int, error) {
	f.w.reads.Add(1)
	if f.w.before != nil {
		if err := f.w.before(f.path, off); err != nil {
			return 0, err
		}
	}
	f.w.mu.Lock()
	data := f.w.files[f.path]
	f.w.mu.Unlock()
	n, err := bytes.NewReader(data).ReadAt(p, off)
	f.w.bytes.Add(int64(n))
	return n, err
}

func (f *worldFile) Check() error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if _, there := f.w.files[f.path]; !there || f.w.id(f.path) != f.id {
		return fault.New(fault.Conflict, "%q: changed while it was read", f.path)
	}
	return nil
}

func (f *worldFile) Close() error { return nil }

// put adds a file.
func (w *world) put(path string, data []byte) {
	if w.files == nil {
		w.files, w.versions = map[string][]byte{}, map[string]int{}
	}
	w.files[path] = data
}

// id is the identity of a file's present version.
func (w *world) id(path string) string { return fmt.Sprint(w.versions[path], ":", len(w.files[path])) }

// entries lists the world's files in order.
func (w *world) entries() []Entry {
	var out []Entry
	for path, data := range w.files {
		n := int64(len(data))
		out = append(out, Entry{Origin: "world", Path: path, ID: w.id(path), Size: n, Length: n})
	}
	slices.SortFunc(out, compareEntries)
	return out
}

func listed(entries []Entry) func(int64) iter.Seq2[Entry, error] {
	return func(from int64) iter.Seq2[Entry, error] {
		return func(yield func(Entry, error) bool) {
			for _, e := range entries[from:] {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// workDir is a directory where syncing costs nothing, if there is one: the
// tests kill processes, not machines.
func workDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pack")
	if err != nil {
		return filepath.Join(tb.TempDir(), "work")
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "work")
}

// job packs entries of the world into a piece of at most 1 GiB.
func (w *world) job(tb testing.TB, entries []Entry) Job {
	j := w.jobIn("", entries)
	j.Dir = workDir(tb)
	return j
}

// jobIn is job in a directory of the caller's.
func (w *world) jobIn(dir string, entries []Entry) Job {
	return Job{Entries: listed(entries), Open: w, Dir: dir, Settings: Settings{MaxPadded: 1 << 30}}
}

// shelfOf is a dag.Getter and dag.Putter in memory.
type shelfOf map[string]blocks.Block

func (s shelfOf) PutMany(_ context.Context, bs []blocks.Block) error {
	for _, b := range bs {
		s[b.Cid().KeyString()] = b
	}
	return nil
}

func (s shelfOf) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	if b, ok := s[c.KeyString()]; ok {
		return b, nil
	}
	return nil, ipld.ErrNotFound{Cid: c}
}

// tree is the canonical root of the entries that pick wants.
func (w *world) tree(tb testing.TB, entries []Entry, prof dag.Profile, pick func(Entry) bool) cid.Cid {
	tb.Helper()
	t := dag.NewTree(shelfOf{}, prof)
	for _, e := range entries {
		if !pick(e) {
			continue
		}
		var err error
		switch e.Kind {
		case Regular:
			_, err = t.AddFile(context.Background(), e.Path, bytes.NewReader(w.files[e.source().Path]))
		case Symlink:
			_, err = t.AddSymlink(context.Background(), e.Path, e.Target)
		case Directory:
			err = t.Mkdir(e.Path)
		}
		must(tb, err)
	}
	return ok(t.Finish(context.Background()))(tb).Cid
}

func everything(Entry) bool { return true }

// carOf reads a piece's CAR through its index.
func (w *world) carOf(tb testing.TB, m Made) []byte {
	tb.Helper()
	index := ok(os.ReadFile(m.Index))(tb)
	x := ok(OpenIndex(bytes.NewReader(index), int64(len(index))))(tb)
	r := NewReader(context.Background(), x, w, nil, func() error { return nil })
	defer r.Close()
	return ok(io.ReadAll(r))(tb)
}

// judge holds a piece to everything that a piece promises, and returns its
// blocks.
func (w *world) judge(tb testing.TB, m Made, minPadded int64) shelfOf {
	tb.Helper()
	raw := w.carOf(tb, m)
	if int64(len(raw)) != m.CARSize {
		tb.Fatalf("CAR of %d bytes, announced %d", len(raw), m.CARSize)
	}
	if m.CAR != "" {
		written := ok(os.ReadFile(m.CAR))(tb)
		if !bytes.Equal(written, raw) {
			tb.Fatal("the CAR on disk is not the CAR of the index")
		}
		if want := m.Piece.CIDv2.String() + ".car"; filepath.Base(m.CAR) != want {
			tb.Fatalf("CAR is called %s, want %s", m.CAR, want)
		}
	}
	c := commp.New()
	_, _ = c.Write(raw)
	want := ok(c.SumPadded(max(commp.PaddedSize(uint64(len(raw))), uint64(minPadded))))(tb)
	if want != m.Piece {
		tb.Fatalf("piece %v, the CAR makes %v", m.Piece, want)
	}
	in := ok(dag.NewCARReader(bytes.NewReader(raw), dag.CAROptions{}))(tb)
	if len(in.Roots) != 1 || in.Roots[0] != m.Root {
		tb.Fatalf("roots %v, want %s", in.Roots, m.Root)
	}
	shelf := shelfOf{}
	n := int64(0)
	for {
		b, _, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(tb, err)
		shelf[b.Cid().KeyString()] = b
		n++
	}
	if n != m.Blocks {
		tb.Fatalf("%d sections, announced %d", n, m.Blocks)
	}
	must(tb, dag.Complete(context.Background(), shelf, m.Root))
	return shelf
}

// content reads a file of a DAG.
func content(tb testing.TB, shelf shelfOf, root cid.Cid, path string) []byte {
	tb.Helper()
	e := ok(dag.Resolve(context.Background(), shelf, root, path))(tb)
	r, _, err := dag.OpenFile(context.Background(), shelf, e.Cid)
	must(tb, err)
	return ok(io.ReadAll(r))(tb)
}

func gather(tb testing.TB, o Outcomes) []Outcome {
	tb.Helper()
	var out []Outcome
	for one, err := range o {
		must(tb, err)
		out = append(out, one)
	}
	return out
}
