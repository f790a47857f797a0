package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

func cidOf(t testing.TB, text string) cid.Cid {
	t.Helper()
	sum, err := mh.Sum([]byte(text), mh.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, sum)
}

// numbered is a file as a preparation leaves it.
func numbered(t testing.TB, i int) Record {
	c := cidOf(t, fmt.Sprint(i))
	return Record{
		Path: fmt.Sprintf("set-%02d/dir-%03d/File-%07d.bin", i/20000, i/100, i), State: FilePacked, Size: int64(i), Modified: -int64(i) * 1e9,
		ID: fmt.Sprintf("%d:%d:md5:%032x", i, i, i), Source: int64(i % 3), CID: c, TreeSize: uint64(i),
		Parts: []Part{{Piece: int64(i / 1000), Length: int64(i), CID: c, CAROffset: int64(i) << 20, CARLength: int64(i) + 39}},
	}
}

// odd has one of everything a record can have.
func odd(t testing.TB) []Record {
	c := cidOf(t, "odd")
	tops := []dag.Top{{Level: 1, Index: 7, Link: dag.Link{Cid: c, Size: 1 << 40, TreeSize: 1<<63 + 5}}, {Index: 1 << 50, Link: dag.Link{Cid: c}}}
	out := []Record{
		{Path: "a", Kind: KindLink, Target: "../\xffb", Size: 5, State: FileCarried, CID: cid.NewCidV0(c.Hash())},
		{Path: "a\xff", State: FileSkipped, Reason: "permission denied", Size: 1<<63 - 1, Modified: -1 << 63},
		{Path: "b", Kind: KindDirectory, State: FilePacked},
		{Path: "b/\n\"é", State: FilePending, ID: "\x00\xff", TreeSize: 1<<64 - 1},
		{Path: "b//c", Size: 3, Parts: []Part{{Piece: 1, Length: 1, Tops: tops}, {Piece: 1<<63 - 1, Offset: 1, Length: 2, CID: c}}},
		{Path: "/b", Modified: 1<<63 - 1},
	}
	slices.SortFunc(out, Record.Compare)
	return out
}

func catalogOf(t testing.TB, records []Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewCatalogWriter(&b)
	for _, r := range records {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// counted counts what is read.
type counted struct {
	io.ReaderAt
	reads, bytes int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	c.bytes += len(p)
	return c.ReaderAt.ReadAt(p, off)
}

func open(t testing.TB, b []byte) (*Catalog, *counted) {
	t.Helper()
	r := &counted{ReaderAt: bytes.NewReader(b)}
	c, err := OpenCatalog(r, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r.reads, r.bytes = 0, 0
	return c, r
}

func all(t testing.TB, seq iter.Seq2[Record, error]) (out []Record) {
	t.Helper()
	for r, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("error %v: kind %v, want %v", err, fault.KindOf(err), kind)
	}
}

func TestCatalogKeepsEverything(t *testing.T) {
	want := odd(t)
	c, _ := open(t, catalogOf(t, want))
	if got := all(t, c.From("")); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, r := range want {
		if got, err := c.Lookup(r.Path); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%q: %+v, %v", r.Path, got, err)
		}
		var back Record
		text, err := r.MarshalText()
		if err != nil || back.UnmarshalText(text) != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%q as text: %+v, %v", r.Path, back, err)
		}
	}
	_, err := c.Lookup("b/c")
	wantKind(t, err, fault.NotFound)
	wantCounts := Counts{Records: 6, Files: 4, Links: 1, Directories: 1, Bytes: 1<<63 - 1, Pending: 3, Skipped: 1, Carried: 1, SkippedBytes: 1<<63 - 1}
	if c.Counts() != wantCounts || c.Len() != 6 {
		t.Errorf("counts %+v, want %+v", c.Counts(), wantCounts)
	}
	empty, _ := open(t, catalogOf(t, nil))
	if empty.Len() != 0 || len(all(t, empty.From(""))) != 0 {
		t.Error("an empty catalog has records")
	}
}

// 10^5 records: whole, from anywhere, and what it costs.
func TestCatalogOfManyRecords(t *testing.T) {
	const n = 100_000
	want := make([]Record, n)
	for i := range want {
		want[i] = numbered(t, i)
	}
	b := catalogOf(t, want)
	c, r := open(t, b)
	t.Logf("%d bytes a record, %d blocks", len(b)/n, len(c.blocks))
	if len(b)/n > 260 || len(b) > (len(c.blocks)+1)*(blockPayload+1024) {
		t.Errorf("%d bytes in %d blocks", len(b), len(c.blocks))
	}
	if got := all(t, c.From("")); !reflect.DeepEqual(got, want) {
		t.Fatal("what comes back is something else")
	}
	if r.bytes > len(b) || r.reads > len(b)/readAhead+16 {
		t.Errorf("reading all takes %d reads of %d bytes in %d", r.reads, r.bytes, len(b))
	}
	for _, i := range []int{0, 1, 499, 50_000, n - 1} {
		r.reads, r.bytes = 0, 0
		page := 0
		for got, err := range c.From(want[i].Path) {
			if err != nil || got.Path != want[i+page].Path {
				t.Fatalf("from %d: %q, %v", i, got.Path, err)
			}
			if page++; page == 100 {
				break
			}
		}
		if r.reads > 2 || r.bytes > 3*(blockPayload+1024) {
			t.Errorf("100 records from %d took %d reads of %d bytes", i, r.reads, r.bytes)
		}
		if got, err := c.Lookup(want[i].Path); err != nil || got.CID != want[i].CID {
			t.Errorf("%d: %+v, %v", i, got, err)
		}
	}
	if got := all(t, c.From(want[n-1].Path+"\x00")); len(got) != 0 {
		t.Errorf("%d records behind the last", len(got))
	}
}

// The cost is the same a record from 10^3 to 10^5.
func TestCatalogIsLinear(t *testing.T) {
	var each []float64
	for _, n := range []int{1000, 10_000, 100_000} {
		w := &countedWriter{}
		cw := NewCatalogWriter(w)
		for i := range n {
			if err := cw.Add(numbered(t, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := cw.Close(); err != nil {
			t.Fatal(err)
		}
		each = append(each, float64(w.bytes)/float64(n))
		if w.writes > n/100+8 || len(cw.buf) > blockPayload+1024 || cap(cw.buf) > 4*blockPayload {
			t.Errorf("%d records: %d writes, a buffer of %d", n, w.writes, cap(cw.buf))
		}
	}
	if each[2] > 1.1*each[0] {
		t.Errorf("bytes a record: %v", each)
	}
}

type countedWriter struct{ writes, bytes int }

func (w *countedWriter) Write(p []byte) (int, error) {
	w.writes++
	w.bytes += len(p)
	return len(p), nil
}

func TestCatalogRefuses(t *testing.T) {
	w := NewCatalogWriter(io.Discard)
	if err := w.Add(Record{Path: "m", Kind: KindDirectory}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.Add(Record{Path: "m", Kind: KindDirectory}), fault.Conflict)
	c := cidOf(t, "")
	for _, r := range []Record{{}, {Path: "l"}, {Path: "m"}, {Path: "m!"}, {Path: "n/"}, {Path: "n\x00"}, {Path: "n", Kind: kinds}, {Path: "n", State: fileStates},
		{Path: "n", Size: -1}, {Path: "n", Source: -1}, {Path: string(bytes.Repeat([]byte("n"), MaxPath+1))}, {Path: "n", Reason: string(make([]byte, maxText+1))},
		{Path: "n", Parts: []Part{{Offset: -1}}}, {Path: "n", Parts: []Part{{Tops: []dag.Top{{Level: -1}}}}}, {Path: "n", Parts: slices.Repeat([]Part{{CID: c}}, 400_000)}} {
		wantKind(t, w.Add(r), fault.Invalid)
	}
	for _, r := range []Record{{Path: "m/a"}, {Path: "n"}} {
		if err := w.Add(r); err != nil {
			t.Errorf("after errors: %v", err)
		}
	}
	full := NewCatalogWriter(brokenWriter{})
	if err := full.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a writer's error became %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Every byte that is not what was written, and every missing end, is found.
func TestCatalogFindsDamage(t *testing.T) {
	records := odd(t)
	for i := range 1500 {
		records = append(records, numbered(t, i))
	}
	slices.SortFunc(records, Record.Compare)
	good := catalogOf(t, records)
	read := func(b []byte) error {
		c, err := OpenCatalog(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		for _, err := range c.From("") {
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := read(good); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 1))
	positions := rnd.Perm(len(good))[:400]
	for i := range 200 { // header and footer whole
		positions = append(positions, i, len(good)-1-i)
	}
	for _, i := range positions {
		bad := slices.Clone(good)
		bad[i] ^= 1 << rnd.IntN(8)
		wantKind(t, read(bad), fault.Internal)
		wantKind(t, read(good[:i]), fault.Internal)
	}
	wantKind(t, read(append(slices.Clone(good), 0)), fault.Internal)
	// Two blocks in each other's place are whole, and still damage.
	c, _ := open(t, good)
	x, y := c.blocks[0], c.blocks[1]
	bad := slices.Concat(good[:x.offset], good[y.offset:y.end()], good[x.offset:x.end()], good[y.end():])
	wantKind(t, read(bad), fault.Internal)
}

// A catalog goes on after any cut, and becomes the same.
func TestCatalogResumes(t *testing.T) {
	var records []Record
	for i := range 1200 {
		records = append(records, numbered(t, i))
	}
	whole := catalogOf(t, records)
	path := filepath.Join(t.TempDir(), "catalog")
	rnd := rand.New(rand.NewPCG(9, 1))
	cuts := append(rnd.Perm(len(whole))[:25], 0, 1, 15, 16, 17, len(whole)-1, len(whole))
	for _, cut := range cuts {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		w, last, err := ResumeCatalog(f)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		kept := 0
		for _, r := range records {
			if last.Path != "" && r.Compare(last) <= 0 {
				kept++
				continue
			}
			if err := w.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		if cut > 70<<10 && kept == 0 {
			t.Errorf("cut at %d: nothing is kept", cut)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
			t.Fatalf("cut at %d, %d kept: another catalog, %v", cut, kept, err)
		}
	}
	if err := os.WriteFile(path, []byte("something of the user's"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _, err = ResumeCatalog(f)
	wantKind(t, err, fault.Invalid)
	if got, _ := os.ReadFile(path); len(got) != 23 {
		t.Error("a foreign file was touched")
	}
}

// What was flushed is there after a cut.
func TestCatalogFlush(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "catalog"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewCatalogWriter(f)
	for i := range 3 {
		if err := w.Add(numbered(t, i)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again, last, err := ResumeCatalog(f)
		if err != nil || last.Path != numbered(t, i).Path || again.Counts() != w.Counts() {
			t.Fatalf("%q, %+v, %v", last.Path, again.Counts(), err)
		}
		w = again
	}
}

// Catalogs whose sums are right and whose content is anything.
func FuzzCatalog(f *testing.F) {
	for _, records := range [][]Record{nil, odd(f), {numbered(f, 1), numbered(f, 2)}} {
		b := catalogOf(f, records)
		c, _ := open(f, b)
		for _, e := range c.blocks {
			f.Add(b[e.offset+blockHeader:e.end()], b[e.end()+blockHeader:len(b)-catalogFooter], uint32(e.records), uint32(1), byte(0))
		}
		f.Add([]byte{}, []byte{}, uint32(0), uint32(0), byte(1))
	}
	f.Fuzz(func(t *testing.T, payload, index []byte, records, blocks uint32, o byte) {
		block := append(make([]byte, blockHeader), payload...)
		sealBlock(block, int(records), 0)
		list := append(make([]byte, blockHeader), index...)
		sealBlock(list, int(blocks), indexNumber)
		b := slices.Concat(headerOf(order(o)), block, list)
		b = append(b, footerOf(order(o), int64(catalogHeader+len(block)), int64(len(list)), Counts{Records: int64(records)}, int(blocks))...)
		if c, err := OpenCatalog(bytes.NewReader(b), int64(len(b))); err == nil {
			for _, err := range c.From("") {
				if err != nil {
					break
				}
			}
			_, _, _ = Find(c, c, Query{NamePrefix: "f", Contains: "x", Glob: "**/*"}, "", 3)
		}
		at := cursor{rest: decoder{b: payload}}
		for at.next() {
			r, err := at.record()
			if err != nil {
				continue
			}
			var back Record
			text, err := r.MarshalText()
			if err != nil || back.UnmarshalText(text) != nil || !reflect.DeepEqual(back, r) {
				t.Fatalf("%+v became %+v, %v", r, back, err)
			}
		}
	})
}
