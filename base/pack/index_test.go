package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

func TestRecordIsItsSection(t *testing.T) {
	for form := range forms {
		for _, size := range []int{0, 1, 31, 32, 91, 92, 93, 127, 128, 16_347, 1 << 20, dag.MaxBlockSize} {
			r := Record{Form: Form(form), Size: size, Offset: 1 << 40, From: 5, Position: 3 << 33, Digest: sha256.Sum256([]byte{byte(form)})}
			if r.IsIdentity() {
				if size > 32 {
					continue
				}
				clear(r.Digest[size:])
			}
			c := ok(r.Cid())(t)
			want := dag.CARSectionHeader(c, size)
			if got := r.AppendHead(nil); !bytes.Equal(got, want) || r.Section() != int64(len(want)+size) {
				t.Errorf("form %d, %d bytes: %x, want %x", form, size, got, want)
			}
			if got := decodeRecord(r.appendTo(nil)); got != r {
				t.Errorf("%+v came back as %+v", r, got)
			}
			if got := ok(NewRecord(c, 1<<40, size))(t); got.Form != r.Form || got.Digest != r.Digest {
				t.Errorf("%s became %+v", c, got)
			}
		}
	}
}

func TestRecordRefusesWhatItCannotRebuild(t *testing.T) {
	sha1 := cid.NewCidV1(cid.Raw, ok(mh.Sum(nil, mh.SHA1, -1))(t))
	for _, c := range []cid.Cid{sha1, cid.MustParse("bafkqaaik"), cid.MustParse("zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA")} {
		_, err := NewRecord(c, 0, 0)
		form := c.Prefix()
		if known := form.MhType == 0x12 && form.MhLength == 32; known != (err == nil) {
			t.Errorf("%s: %v", c, err)
		}
	}
	for _, r := range []Record{{Form: Form(len(forms))}, {Form: firstIdentity, Size: 33}, {From: 1 << 28}, {Size: -1}, {Size: dag.MaxBlockSize + 1}, {Offset: -1}, {Position: -1}} {
		if err := NewSpool().Add(r); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

func TestSourcesAreTold(t *testing.T) {
	s := NewSpool()
	sources := []Source{
		{}, {Origin: "source/12", Path: "a/b", ID: "3:4", Size: math.MaxInt64},
		{Path: "\xff\x00\n" + strings.Repeat("x", maxPath-3), Origin: strings.Repeat("o", maxOrigin), ID: strings.Repeat("i", maxID)},
	}
	l := layCAR(t, s)
	for i, one := range sources {
		if from := ok(s.AddSource(one))(t); from != FromSource+uint32(i) {
			t.Errorf("source %d is %d", i, from)
		}
	}
	x := l.index()
	for i, want := range sources {
		if got := ok(x.Source(FromSource + uint32(i)))(t); got != want {
			t.Errorf("source %d is %.200v", i, got)
		}
		if got := ok(s.Source(FromSource + uint32(i)))(t); got != want {
			t.Errorf("source %d of the spool is %.200v", i, got)
		}
	}
	for _, from := range []uint32{0, 1, 5, math.MaxUint32} {
		if _, err := x.Source(from); !fault.Is(err, fault.Internal) {
			t.Errorf("source %d: %v", from, err)
		}
	}
	for _, bad := range []Source{{Path: strings.Repeat("x", maxPath+1)}, {Origin: strings.Repeat("x", maxOrigin+1)}, {ID: strings.Repeat("x", maxID+1)}, {Size: -1}} {
		if _, err := s.AddSource(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
	}
}

// Sorting in many passes gives what one gives, equal and nearly equal digests
// included.
func TestOrdinalsInPasses(t *testing.T) {
	const n = 30_000
	s := NewSpool()
	for i := range n {
		r := Record{Offset: int64(i), Digest: sha256.Sum256(binary.AppendUvarint(nil, uint64(i)))}
		switch i % 5 {
		case 0:
			r.Digest = [32]byte{1}
		case 1:
			copy(r.Digest[:6], "same..")
		}
		must(t, s.Add(r))
	}
	var want bytes.Buffer
	must(t, s.writeOrdinals(t.Context(), &want, sortLimit))
	for _, limit := range []int64{100, 5000, n - 1} {
		var got bytes.Buffer
		must(t, s.writeOrdinals(t.Context(), &got, limit))
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("limit %d: another order", limit)
		}
	}
	seen := make([]bool, n)
	last, at := uint64(0), uint32(0)
	for b := want.Bytes(); len(b) > 0; b = b[4:] {
		i := binary.LittleEndian.Uint32(b)
		r := ok(s.At(int64(i)))(t)
		if key := keyOf(r.Digest[:]); seen[i] || key < last || key == last && i < at {
			t.Fatalf("ordinal %d is out of order", i)
		} else {
			seen[i], last, at = true, key, i
		}
	}
	if slices.Contains(seen, false) {
		t.Error("ordinals are missing")
	}
}

// reads counts what a lookup costs.
type reads struct {
	io.ReaderAt
	n, bytes int
}

func (r *reads) ReadAt(p []byte, off int64) (int, error) {
	r.n++
	r.bytes += len(p)
	return r.ReaderAt.ReadAt(p, off)
}

func TestLookupsAreLogarithmic(t *testing.T) {
	const n = 100_000
	s := ok(OpenSpool(t.TempDir(), Mark{}))(t)
	defer s.Close()
	l := layCAR(t, s)
	size := int64(len(l.head))
	for i := range n {
		r := Record{Offset: size, Size: 4096, From: FromSource, Digest: sha256.Sum256(binary.AppendUvarint(nil, uint64(i)))}
		must(t, s.Add(r))
		size += r.Section()
	}
	tree := commp.NewTree(size)
	zeros := make([]byte, 8*commp.SlotRaw)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		must(t, tree.SetAt(at, zeros[:min(int64(len(zeros)), size-at)]))
	}
	var b bytes.Buffer
	must(t, s.WriteIndex(t.Context(), &b, l.head, size, tree))
	count := &reads{ReaderAt: bytes.NewReader(b.Bytes())}
	x := ok(OpenIndex(count, int64(b.Len())))(t)
	if count.n > 4 {
		t.Errorf("opening takes %d reads", count.n)
	}
	for i := int64(0); i < n; i += 997 {
		want := ok(s.At(i))(t)
		count.n, count.bytes = 0, 0
		if got := ok(x.Covering(want.Offset + want.Section() - 1))(t); got != i {
			t.Fatalf("record %d is found as %d", i, got)
		}
		if count.n > 2*17+2 || count.bytes > 3*18*pageSize {
			t.Fatalf("by offset: %d reads of %d bytes", count.n, count.bytes)
		}
		count.n = 0
		if got, found, err := x.Find(ok(want.Cid())(t).Hash()); err != nil || !found || got != want {
			t.Fatalf("record %d is found as %+v, %v", i, got, err)
		}
		if count.n > 4*18 {
			t.Fatalf("by digest: %d reads", count.n)
		}
	}
	if _, found, err := x.Find(mh.Multihash(append([]byte{mh.SHA2_256, 32}, make([]byte, 32)...))); found || err != nil {
		t.Errorf("a digest of elsewhere: %v, %v", found, err)
	}
	if got, _ := ok(x.Tree())(t).Piece(); got != ok(tree.Piece())(t) {
		t.Errorf("the tree came back as %+v", got)
	}
}

func TestSpoolIsCutBack(t *testing.T) {
	dir := t.TempDir()
	s := ok(OpenSpool(dir, Mark{}))(t)
	l := layCAR(t, s)
	l.file("a", noise(1, 5000), 100)
	l.node(noise(2, 100))
	var stored Mark
	for _, file := range s.files() {
		must(t, file.sync())
	}
	must(t, json.Unmarshal(ok(json.Marshal(s.Mark()))(t), &stored))
	car := bytes.Clone(l.car)
	want := l.encoded(sortLimit)
	more := func() {
		l.file("b", noise(3, 200_000), 100)
		l.node(noise(4, 100_000))
	}
	more()
	must(t, s.Truncate(stored)) // some of it is on disk, some is not
	if s.Mark() != stored {
		t.Errorf("%+v, cut back to %+v", s.Mark(), stored)
	}
	l.car = bytes.Clone(car)
	more()
	must(t, s.Close()) // without a sync: the tail may be anything
	s = ok(OpenSpool(dir, stored))(t)
	l.spool, l.car = s, car
	if got := l.encoded(sortLimit); !bytes.Equal(got, want) {
		t.Error("the index is another one")
	}
	r := ok(s.At(s.Records() - 1))(t)
	if got := ok(s.Node(r))(t); !bytes.Equal(got, noise(2, 100)) {
		t.Error("the node is another one")
	}
	if _, err := s.Node(ok(s.At(0))(t)); err == nil {
		t.Error("a leaf is a node")
	}
	if _, err := s.At(s.Records()); err == nil {
		t.Error("a record behind the end")
	}
	must(t, s.Close())
	stored.Records += 1000
	if _, err := OpenSpool(dir, stored); !fault.Is(err, fault.Conflict) {
		t.Errorf("a mark it never had: %v", err)
	}
	s = ok(OpenSpool(dir, Mark{}))(t)
	if s.Mark() != (Mark{}) {
		t.Errorf("a new beginning: %+v", s.Mark())
	}
	must(t, s.Remove())
}

func TestWriteIndexRefusesAnotherTree(t *testing.T) {
	l := someCAR(t, NewSpool())
	size := int64(len(l.car))
	for _, tree := range []*commp.Tree{commp.NewTree(size), commp.NewTree(0)} {
		if err := l.spool.WriteIndex(t.Context(), io.Discard, l.head, size, tree); !fault.Is(err, fault.Internal) {
			t.Errorf("%v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tree := commp.NewTree(size)
	must(t, tree.SetAt(0, l.car))
	if err := l.spool.WriteIndex(ctx, io.Discard, l.head, size, tree); err == nil {
		t.Error("it goes on after its context")
	}
}

// tinyCAR is a CAR of every kind of record whose index is a few pages.
func tinyCAR(tb testing.TB) *laidCAR {
	l := layCAR(tb, NewSpool())
	l.file("f", noise(1, 500), 100)
	for form := range forms {
		l.stored(Form(form), noise(uint64(form), 20))
	}
	l.node(noise(3, 4000))
	return l
}

// Every byte of an index matters, or does not: what is read by a damaged one is
// right, or an error.
func TestDamagedIndex(t *testing.T) {
	l := tinyCAR(t)
	good := l.encoded(sortLimit)
	read := func(b []byte) ([]byte, error) {
		x, err := OpenIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, err
		}
		_, err = x.Tree()
		if _, _, found := x.Find(mh.Multihash(append([]byte{mh.SHA2_256, 32, 9}, make([]byte, 31)...))); err == nil {
			err = found
		}
		r := NewReader(t.Context(), x, l.held, nil, nil)
		defer r.Close()
		got, failed := io.ReadAll(r)
		if !bytes.HasPrefix(l.car, got) {
			t.Error("wrong bytes")
		}
		return got, firstErr(err, failed)
	}
	if got := ok(read(good))(t); !bytes.Equal(got, l.car) {
		t.Fatal("the undamaged one does not give the CAR")
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := read(bad); !fault.Is(err, fault.Internal) {
			t.Fatalf("byte %d of %d: %v", i, len(good), err)
		}
		if i%37 == 0 {
			if _, err := read(good[:i]); !fault.Is(err, fault.Internal) {
				t.Fatalf("cut at %d of %d: %v", i, len(good), err)
			}
		}
	}
	swapped := slices.Concat(good[:pageSize], good[pageSize:2*pageSize], good[pageSize:2*pageSize])
	if _, err := read(swapped); err == nil {
		t.Error("a page in another's place")
	}
}

// FuzzIndex reads a CAR by whatever a page may hold under its right checksum: it
// ends, with the bytes or an error, and takes no more memory than a window.
func FuzzIndex(f *testing.F) {
	l := tinyCAR(f)
	p := ok(openPages(bytes.NewReader(l.encoded(sortLimit)), int64(len(l.encoded(sortLimit)))))(f)
	plain := make([]byte, p.size)
	must(f, p.read(plain, 0))
	f.Add(plain, int64(0))
	f.Add(plain[:len(plain)-1], int64(3))
	for _, at := range []int{8, 12, 16, 24, 32, 40, 48, 56, 70, 130, 150, 146, 600, 700, 4800, 4850, len(plain) - 3} {
		bad := bytes.Clone(plain)
		bad[at] ^= 0xff
		f.Add(bad, int64(90))
	}
	f.Fuzz(func(t *testing.T, plain []byte, off int64) {
		var b bytes.Buffer
		w := newPageWriter(&b)
		_, _ = w.Write(plain)
		must(t, w.close())
		x, err := OpenIndex(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			return
		}
		r := NewReader(t.Context(), x, l.held, nil, nil)
		defer r.Close()
		if _, err := r.Seek(off, io.SeekStart); err != nil {
			return
		}
		n, err := io.Copy(io.Discard, r)
		if want := max(0, x.CARSize()-off); err == nil && n != want {
			t.Fatalf("%d bytes of %d", n, want)
		}
		_, _, _ = x.Find(mh.Multihash(append([]byte{mh.SHA2_256, 32, 1}, make([]byte, 31)...)))
		if x.CARSize() < 1<<20 {
			_, _ = Verify(t.Context(), x, l.held, nil, nil)
		}
	})
}
