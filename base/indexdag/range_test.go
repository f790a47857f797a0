package indexdag_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/zstd"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
)

// encode compresses and encrypts, as packing does.
func encode(t *testing.T, plain []byte, to age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	sealed, err := age.Encrypt(&out, to)
	must(t, err)
	small, err := zstd.NewWriter(sealed)
	must(t, err)
	_, err = small.Write(plain)
	must(t, err)
	must(t, small.Close())
	must(t, sealed.Close())
	return out.Bytes()
}

// cutUp packs a file as streams of their own, one a piece, that hold the bytes
// up to each end.
func (d *dataset) cutUp(path string, to age.Recipient, ends ...int) indexdag.Entry {
	d.t.Helper()
	prof, err := dag.ProfileNamed("")
	must(d.t, err)
	plain := d.files[path]
	e := indexdag.Entry{Path: path, Size: int64(len(plain))}
	var tops []dag.Top
	from := 0
	for _, end := range ends {
		stored := encode(d.t, plain[from:end], to)
		p := newPacked(d.t)
		s, top := p.add(stored, 0, dag.Leaves(prof, int64(len(stored))))
		piece, car := p.finish(s.Cid)
		d.keep(piece, car)
		s.Piece, s.Offset, s.Plain = piece.CIDv2, e.Stored, indexdag.Range{Offset: int64(from), Length: int64(end - from)}
		tops = append(tops, top...)
		e.Sources, e.Stored = append(e.Sources, s), e.Stored+int64(len(stored))
		from = end
	}
	whole, err := dag.PartFile(prof, tops, func(blocks.Block) error { return nil })
	must(d.t, err)
	e.Cid = whole.Cid
	return e
}

// TestEncodedParts gets a file that was cut before it was encoded, and ranges
// of it by nothing but the pieces that hold them.
func TestEncodedParts(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	must(t, err)
	d := &dataset{t: t, files: map[string][]byte{"cut": bytesOf(1, 10*mib)}, index: newMemory(), pieces: map[string][]byte{}}
	copy(d.files["cut"][4*mib:], make([]byte, 3*mib))
	e := d.cutUp("cut", key.Recipient(), 3*mib, 7*mib+1, 10*mib)
	gone := e.Sources[1]
	gone.Piece = pieceOf([]byte("a piece that nobody has")).CIDv2
	e.Sources = slices.Insert(e.Sources, 1, gone)
	head := indexdag.Header{Profile: dag.DefaultProfile, Compression: "zstd", Encryption: "age"}
	d.root = write(t, d.index, head, []indexdag.Entry{e}).Root()
	var mu sync.Mutex
	asked := map[string]bool{}
	server := d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if name, ok := strings.CutPrefix(r.URL.Path, "/piece/"); ok {
			mu.Lock()
			asked[name] = true
			mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
	f, r := d.fetcher(indexdag.FetchOptions{Identities: []age.Identity{key}}, server.URL)
	out := t.TempDir()
	if _, err := f.Fetch(t.Context(), r, "", out); err != nil {
		t.Fatal(err)
	}
	d.sameAs(out, "")
	plain, names := d.files["cut"], d.names
	for _, tt := range []struct {
		from, length int
		pieces       []cid.Cid
	}{
		{0, 10 * mib, names}, {0, 1, names[:1]}, {3*mib - 1, 1, names[:1]}, {3 * mib, 4*mib + 1, names[1:2]}, {3*mib - 1, 2, names[:2]},
		{8 * mib, 2 * mib, names[2:]}, {5, 0, nil}, {10 * mib, 0, nil},
	} {
		f, r := d.fetcher(indexdag.FetchOptions{Identities: []age.Identity{key}}, server.URL)
		clear(asked)
		var got bytes.Buffer
		if err := f.FetchRange(t.Context(), r, "cut", int64(tt.from), int64(tt.length), &got); err != nil {
			t.Fatalf("%+v: %v", tt, err)
		}
		if !bytes.Equal(got.Bytes(), plain[tt.from:tt.from+tt.length]) {
			t.Errorf("%d from %d: %d other bytes", tt.length, tt.from, got.Len())
		}
		for _, c := range names {
			if want := slices.Contains(tt.pieces, c); asked[c.String()] != want {
				t.Errorf("%d from %d: asked for piece %s", tt.length, tt.from, c)
			}
		}
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, 10*mib + 1}, {10*mib + 1, 0}, {1, 1<<63 - 1}} {
		if err := f.FetchRange(t.Context(), r, "cut", bad[0], bad[1], io.Discard); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// An index that contradicts itself is refused when it is written, and gets
// nothing when it is read.
func TestEncodedPartsThatLie(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	must(t, err)
	d := &dataset{t: t, files: map[string][]byte{"cut": bytesOf(1, 2000)}, index: newMemory(), pieces: map[string][]byte{}}
	whole := d.cutUp("cut", key.Recipient(), 1000, 2000)
	for i, change := range []func(e *indexdag.Entry){
		func(e *indexdag.Entry) { e.Sources[0].Plain.Length++ },
		func(e *indexdag.Entry) { e.Sources[1].Plain.Offset++ },
		func(e *indexdag.Entry) { e.Sources[1].Plain = indexdag.Range{} },
		func(e *indexdag.Entry) { e.Size++ },
	} {
		e := whole
		e.Sources = slices.Clone(whole.Sources)
		change(&e)
		w := indexdag.NewWriter(d.index.put, indexdag.WriterOptions{})
		if err := w.Add(e); !fault.Is(err, fault.Invalid) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	// Consistent, but not what the streams unpack to.
	whole.Sources[0].Plain.Length, whole.Sources[1].Plain = 900, indexdag.Range{Offset: 900, Length: 1100}
	d.root = write(t, d.index, indexdag.Header{Compression: "zstd", Encryption: "age"}, []indexdag.Entry{whole}).Root()
	f, r := d.fetcher(indexdag.FetchOptions{Identities: []age.Identity{key}}, d.serve(nil).URL)
	out := t.TempDir()
	if got, err := f.Fetch(t.Context(), r, "", out); !fault.Is(err, fault.Invalid) || got.Failed != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if left, err := os.ReadDir(out); len(left) != 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Ranges of files that are stored as they are, in one piece or in several.
func TestRanges(t *testing.T) {
	d := newDataset(t)
	f, r := d.fetcher(indexdag.FetchOptions{}, d.store())
	for _, path := range []string{"split", "big", "zeros", "empty", "a/small-007"} {
		data := d.files[path]
		for _, span := range [][2]int{{0, len(data)}, {len(data) / 2, len(data) / 3}, {max(0, len(data)-3), min(3, len(data))}, {min(len(data), 9*mib-1), min(2, max(0, len(data)-9*mib+1))}} {
			var got bytes.Buffer
			if err := f.FetchRange(t.Context(), r, path, int64(span[0]), int64(span[1]), &got); err != nil || !bytes.Equal(got.Bytes(), data[span[0]:][:span[1]]) {
				t.Errorf("%s %v: %d bytes, %v", path, span, got.Len(), err)
			}
		}
	}
	for path, kind := range map[string]fault.Kind{"a": fault.Invalid, "link": fault.Invalid, "none": fault.NotFound} {
		if err := f.FetchRange(t.Context(), r, path, 0, 0, io.Discard); !fault.Is(err, kind) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
