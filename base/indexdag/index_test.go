package indexdag_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
)

// memory keeps blocks and counts how many were asked for.
type memory struct {
	blocks map[cid.Cid][]byte
	order  []cid.Cid
	gets   int
}

func newMemory() *memory { return &memory{blocks: map[cid.Cid][]byte{}} }

func (m *memory) put(b blocks.Block) error {
	if _, ok := m.blocks[b.Cid()]; !ok {
		m.order = append(m.order, b.Cid())
	}
	m.blocks[b.Cid()] = b.RawData()
	return nil
}

func (m *memory) PutMany(_ context.Context, bs []blocks.Block) error {
	for _, b := range bs {
		_ = m.put(b)
	}
	return nil
}

func (m *memory) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	m.gets++
	data, ok := m.blocks[c]
	if !ok {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	return blocks.NewBlockWithCid(data, c)
}

// rawCid names bytes as a leaf.
func rawCid(data []byte) cid.Cid {
	c, err := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: mh.SHA2_256, MhLength: -1}.Sum(data)
	if err != nil {
		panic(err)
	}
	return c
}

func pieceOf(data []byte) commp.Piece {
	w := commp.New()
	_, _ = w.Write(data)
	p, err := w.Sum()
	if err != nil {
		panic(err)
	}
	return p
}

// some is a file with one source.
func some(path string, size int64) indexdag.Entry {
	c := rawCid([]byte(path))
	return indexdag.Entry{
		Path: path, Size: size, Cid: c, ModTime: time.Unix(1_700_000_000, size).UTC(),
		Sources: []indexdag.Source{{
			Piece: pieceOf(make([]byte, 4096)).CIDv2, Cid: c, Length: size,
			CAR: []indexdag.Range{{Offset: 59 + size, Length: size + 40}},
		}},
	}
}

func key(e indexdag.Entry) string {
	if e.Kind == indexdag.Dir {
		return e.Path + "/"
	}
	return e.Path
}

func sorted(entries []indexdag.Entry) []indexdag.Entry {
	slices.SortFunc(entries, func(a, b indexdag.Entry) int { return strings.Compare(key(a), key(b)) })
	return entries
}

func pieces(list ...indexdag.Piece) iter.Seq2[indexdag.Piece, error] {
	return func(yield func(indexdag.Piece, error) bool) {
		for _, p := range list {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// write makes an index of entries and opens it.
func write(t *testing.T, m *memory, h indexdag.Header, entries []indexdag.Entry, list ...indexdag.Piece) *indexdag.Reader {
	t.Helper()
	w := indexdag.NewWriter(m.put, indexdag.WriterOptions{})
	for _, e := range entries {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	root, err := w.Finish(h, pieces(list...))
	if err != nil {
		t.Fatal(err)
	}
	r, err := indexdag.Open(t.Context(), m, root)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func walked(t *testing.T, r *indexdag.Reader, path string) (out []indexdag.Entry) {
	t.Helper()
	err := r.Walk(t.Context(), path, func(e indexdag.Entry) error {
		out = append(out, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWrittenIsRead(t *testing.T) {
	root := rawCid([]byte("root"))
	entries := sorted([]indexdag.Entry{
		some("a", 0), some("a.b", 1), some("b/c/d", 1<<40), some("b/c.d", 7), some("b\xff\xfe/x", 3),
		{Path: "c", Kind: indexdag.Dir, Cid: root, ModTime: time.Unix(5, 0).UTC()},
		{Path: "b/link", Kind: indexdag.Symlink, Cid: root, Target: "../\xfe"},
		some("z", 9),
	})
	m := newMemory()
	h := indexdag.Header{Name: "näme", Root: root, Profile: dag.DefaultProfile, Created: time.Unix(1_800_000_000, 0).UTC(), Compression: "zstd"}
	list := []indexdag.Piece{{Cid: pieceOf(make([]byte, 4096)).CIDv2, Root: root, Size: 4096}}
	r := write(t, m, h, entries, list...)

	h.Version, h.Files, h.Bytes = 1, 7, 1<<40+20
	if got := r.Header(); got != h {
		t.Errorf("header %+v, want %+v", got, h)
	}
	var paths []string
	for _, e := range walked(t, r, "") {
		paths = append(paths, key(e))
	}
	want := []string{"/", "a", "a.b", "b/", "b/c.d", "b/c/", "b/c/d", "b/link", "b\xff\xfe/", "b\xff\xfe/x", "c/", "z"}
	if !slices.Equal(paths, want) {
		t.Errorf("walk %q, want %q", paths, want)
	}
	for _, e := range entries {
		got, err := r.Lookup(t.Context(), "/"+e.Path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Path != e.Path || got.Kind != e.Kind || got.Cid != e.Cid || !got.ModTime.Equal(e.ModTime) || got.Target != e.Target ||
			e.Kind == indexdag.File && (got.Size != e.Size || !reflect.DeepEqual(got.Sources, e.Sources)) {
			t.Errorf("%q: read %+v, was %+v", e.Path, got, e)
		}
	}
	if dir, err := r.Lookup(t.Context(), "b"); err != nil || dir.Files != 3 || dir.Size != 1<<40+7 {
		t.Errorf("directory %+v, %v", dir, err)
	}
	for p, err := range r.Pieces(t.Context()) {
		if err != nil || p != list[0] {
			t.Errorf("piece %+v, %v", p, err)
		}
	}
	for path, kind := range map[string]fault.Kind{"no": fault.NotFound, "a/b": fault.NotFound, "b/c/no": fault.NotFound, "b/": 255} {
		if _, err := r.Lookup(t.Context(), path); kind != 255 && !fault.Is(err, kind) || kind == 255 && err != nil {
			t.Errorf("look up %q: %v", path, err)
		}
	}
}

func TestNoContentIsLinked(t *testing.T) {
	m := newMemory()
	r := write(t, m, indexdag.Header{Root: rawCid(nil)}, []indexdag.Entry{some("a/b", 5), some("a/c", 6)})
	n := 0
	if err := dag.Walk(t.Context(), m, r.Root(), func(cid.Cid, []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	if n != len(m.blocks) {
		t.Errorf("walked %d of %d blocks", n, len(m.blocks))
	}
}

// TestLargeDirectory holds the cost of a look to the height of the tree, and
// that of a page of a list to the page.
func TestLargeDirectory(t *testing.T) {
	m := newMemory()
	w := indexdag.NewWriter(m.put, indexdag.WriterOptions{})
	const n = 100_000
	source := some("", 1).Sources
	name := func(i int) string { return fmt.Sprintf("dir/file-%08d", i) }
	for i := range n {
		e := indexdag.Entry{Path: name(i), Size: 1, Cid: source[0].Cid, Sources: source}
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	root, err := w.Finish(indexdag.Header{}, pieces())
	if err != nil {
		t.Fatal(err)
	}
	for c, b := range m.blocks {
		if len(b) > 256<<10 {
			t.Errorf("%s has %d bytes", c, len(b))
		}
	}
	for range 50 {
		i := rand.IntN(n)
		r, err := indexdag.Open(t.Context(), m, root)
		if err != nil {
			t.Fatal(err)
		}
		m.gets = 0
		if e, err := r.Lookup(t.Context(), name(i)); err != nil || e.Path != name(i) {
			t.Fatalf("%q, %v", e.Path, err)
		}
		if m.gets > 3 { // the root directory, the pages of dir, a page of entries
			t.Errorf("a look reads %d blocks of %d", m.gets, len(m.blocks))
		}
		m.gets = 0
		got, err := r.List(t.Context(), "dir", fmt.Sprintf("file-%08d", i), 100)
		if err != nil || len(got) != min(100, n-1-i) || len(got) > 0 && got[0].Path != name(i+1) {
			t.Fatalf("list behind %d: %d entries, %v", i, len(got), err)
		}
		if m.gets > 2 {
			t.Errorf("a list of 100 reads %d blocks", m.gets)
		}
	}
}

func TestManySources(t *testing.T) {
	e := some("big", 0)
	s := e.Sources[0]
	e.Sources = nil
	for i := range 5000 {
		s.Offset, s.Length = int64(i)<<20, 1<<20
		e.Sources = append(e.Sources, s)
		e.Size += s.Length
	}
	m := newMemory()
	r := write(t, m, indexdag.Header{}, []indexdag.Entry{e})
	got, err := r.Lookup(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	var all []indexdag.Source
	for s, err := range r.Sources(t.Context(), got) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if !reflect.DeepEqual(all, e.Sources) {
		t.Errorf("%d sources came back as %d", len(e.Sources), len(all))
	}
}

func TestDeterministic(t *testing.T) {
	tree := randomTree(rand.New(rand.NewPCG(1, 2)), 3000)
	a, b := newMemory(), newMemory()
	ra, rb := write(t, a, indexdag.Header{}, tree), write(t, b, indexdag.Header{}, tree)
	if ra.Root() != rb.Root() || !slices.Equal(a.order, b.order) {
		t.Error("the same entries make two indexes")
	}
	var files []string
	for _, e := range walked(t, ra, "") {
		if e.Kind != indexdag.Dir {
			files = append(files, e.Path)
		}
	}
	var want []string
	for _, e := range tree {
		want = append(want, e.Path)
	}
	if !slices.Equal(files, want) {
		t.Error("a walk gives other files than were written")
	}
}

// randomTree has names that are one another's beginnings, around the slash.
func randomTree(r *rand.Rand, n int) []indexdag.Entry {
	paths := map[string]bool{}
	dirs := map[string]bool{}
	for len(paths) < n {
		var names []string
		for range 1 + r.IntN(4) {
			names = append(names, string("a.-/0"[r.IntN(3)])+strings.Repeat("a", 1+r.IntN(3))+string("-.0z\xff"[r.IntN(5)]))
		}
		path := strings.Join(names, "/")
		if dirs[path] {
			continue
		}
		ok := true
		for i := range names {
			ok = ok && !paths[strings.Join(names[:i+1], "/")]
		}
		if !ok {
			continue
		}
		for i := range names[1:] {
			dirs[strings.Join(names[:i+1], "/")] = true
		}
		paths[path] = true
	}
	var out []indexdag.Entry
	for path := range paths {
		out = append(out, some(path, int64(len(path))))
	}
	return sorted(out)
}

func TestRefusals(t *testing.T) {
	file := func(path string) indexdag.Entry { return some(path, 1) }
	dir := func(path string) indexdag.Entry { return indexdag.Entry{Path: path, Kind: indexdag.Dir} }
	gap, past := some("x", 5), some("x", 5)
	gap.Sources[0].Offset = 1
	past.Sources[0].Length = 6
	for name, c := range map[string]struct {
		add  []indexdag.Entry
		kind fault.Kind
	}{
		"out of order":        {[]indexdag.Entry{file("b"), file("a")}, fault.Invalid},
		"twice":               {[]indexdag.Entry{file("a"), file("a")}, fault.Conflict},
		"dir twice":           {[]indexdag.Entry{dir("a"), file("a/b"), dir("a")}, fault.Conflict},
		"file and dir":        {[]indexdag.Entry{file("a"), file("a-b"), file("a.b"), dir("a")}, fault.Conflict},
		"file and dir beside": {[]indexdag.Entry{file("a"), file("a.b/c"), file("a/b")}, fault.Conflict},
		"below a file":        {[]indexdag.Entry{file("a"), file("a/b")}, fault.Conflict},
		"empty path":          {[]indexdag.Entry{file("")}, fault.Invalid},
		"dots":                {[]indexdag.Entry{file("a/../b")}, fault.Invalid},
		"double slash":        {[]indexdag.Entry{file("a//b")}, fault.Invalid},
		"zero byte":           {[]indexdag.Entry{file("a\x00")}, fault.Invalid},
		"long name":           {[]indexdag.Entry{file(strings.Repeat("a", 2000))}, fault.Invalid},
		"deep":                {[]indexdag.Entry{file(strings.Repeat("a/", 1000) + "a")}, fault.Invalid},
		"a gap":               {[]indexdag.Entry{gap}, fault.Invalid},
		"past the end":        {[]indexdag.Entry{past}, fault.Invalid},
		"no CID":              {[]indexdag.Entry{{Path: "a"}}, fault.Invalid},
	} {
		w := indexdag.NewWriter(newMemory().put, indexdag.WriterOptions{})
		var err error
		for i, e := range c.add {
			if err = w.Add(e); err != nil && i < len(c.add)-1 {
				t.Errorf("%s: refused early: %v", name, err)
			}
		}
		if !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDirectoryCIDs(t *testing.T) {
	c := rawCid([]byte("dir"))
	m := newMemory()
	w := indexdag.NewWriter(m.put, indexdag.WriterOptions{Directory: func(path string) cid.Cid {
		if path == "a/b" {
			return c
		}
		return cid.Undef
	}})
	if err := w.Add(some("a/b/c", 1)); err != nil {
		t.Fatal(err)
	}
	root, err := w.Finish(indexdag.Header{}, pieces())
	if err != nil {
		t.Fatal(err)
	}
	r, err := indexdag.Open(t.Context(), m, root)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := r.Lookup(t.Context(), "a/b"); err != nil || e.Cid != c {
		t.Errorf("%+v, %v", e, err)
	}
	if err := w.Add(some("z", 1)); !fault.Is(err, fault.Invalid) {
		t.Errorf("added after the end: %v", err)
	}
	broken := errors.New("disk")
	w = indexdag.NewWriter(func(blocks.Block) error { return broken }, indexdag.WriterOptions{})
	if err := w.Add(some("a/b/c", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(indexdag.Header{}, pieces()); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func BenchmarkWriter(b *testing.B) {
	e := some("", 1)
	w := indexdag.NewWriter(func(blocks.Block) error { return nil }, indexdag.WriterOptions{})
	n := 0
	for b.Loop() {
		e.Path = fmt.Sprintf("dir-%06d/file-%04d", n/1000, n%1000)
		if err := w.Add(e); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
