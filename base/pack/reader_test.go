package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// shelf is the block store and the folder of files behind a CAR.
type shelf struct {
	blocks map[string]blocks.Block
	dir    string
	mu     sync.Mutex
	opens  int
	open   int
	most   int
	read   atomic.Int64 // bytes of files
}

func (s *shelf) Block(_ context.Context, c cid.Cid) (blocks.Block, error) {
	if b, ok := s.blocks[string(c.Hash())]; ok {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "block %s", c)
}

// onDisk is a file of the shelf.
type onDisk struct {
	*os.File
	id string
	s  *shelf
}

func (f onDisk) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.s.read.Add(int64(n))
	return n, err
}

func identity(info fs.FileInfo) string { return fmt.Sprint(info.Size(), info.ModTime().UnixNano()) }

func (f onDisk) Check() error {
	info, err := f.Stat()
	if err == nil && identity(info) != f.id {
		err = fault.New(fault.Conflict, "changed")
	}
	return err
}

func (f onDisk) Close() error {
	f.s.mu.Lock()
	f.s.open--
	f.s.mu.Unlock()
	return f.File.Close()
}

func (s *shelf) Open(_ context.Context, src Source) (File, error) {
	f, err := os.Open(filepath.Join(s.dir, src.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.opens, s.open = s.opens+1, s.open+1
	s.most = max(s.most, s.open)
	s.mu.Unlock()
	one := onDisk{f, src.ID, s}
	if err := one.Check(); err != nil {
		_ = one.Close()
		return nil, err
	}
	return one, nil
}

// laidCAR is a CAR, written out and as an index.
type laidCAR struct {
	tb    testing.TB
	held  *shelf
	spool *Spool
	car   []byte
	head  []byte
}

func layCAR(tb testing.TB, s *Spool) *laidCAR {
	head := dag.CARHeader([]cid.Cid{cid.NewCidV1(cid.DagProtobuf, blocks.NewBlock(nil).Cid().Hash())})
	return &laidCAR{tb: tb, held: &shelf{blocks: map[string]blocks.Block{}, dir: tb.TempDir()}, spool: s, car: bytes.Clone(head), head: head}
}

func (l *laidCAR) section(c cid.Cid, data []byte) {
	l.car = append(append(l.car, dag.CARSectionHeader(c, len(data))...), data...)
}

// stored adds a block of the block store, in any form.
func (l *laidCAR) stored(form Form, data []byte) cid.Cid {
	c := ok(forms[form].Sum(data))(l.tb)
	l.held.blocks[string(c.Hash())] = ok(blocks.NewBlockWithCid(data, c))(l.tb)
	must(l.tb, l.spool.Add(ok(NewRecord(c, int64(len(l.car)), len(data)))(l.tb)))
	l.section(c, data)
	return c
}

// node adds a block that is in the index.
func (l *laidCAR) node(data []byte) cid.Cid {
	b := blocks.NewBlock(data)
	ok(l.spool.AddNode(b, int64(len(l.car))))(l.tb)
	l.section(b.Cid(), data)
	return b.Cid()
}

// file adds a file in leaves of some size.
func (l *laidCAR) file(path string, data []byte, leaf int) {
	l.foreign(path, data, leaf, func(int) Form { return Raw })
}

// foreign adds a file whose leaves are of any form.
func (l *laidCAR) foreign(path string, data []byte, leaf int, form func(leaf int) Form) {
	full := filepath.Join(l.held.dir, path)
	must(l.tb, os.WriteFile(full, data, 0o600))
	info := ok(os.Stat(full))(l.tb)
	from := ok(l.spool.AddSource(Source{Origin: "test", Path: path, ID: identity(info), Size: info.Size()}))(l.tb)
	for at := 0; at < len(data); at += leaf {
		b := data[at:min(at+leaf, len(data))]
		c := ok(forms[form(at/leaf)].Sum(b))(l.tb)
		r := ok(NewRecord(c, int64(len(l.car)), len(b)))(l.tb)
		r.From, r.Position = from, int64(at)
		must(l.tb, l.spool.Add(r))
		l.section(c, b)
	}
}

func (l *laidCAR) encoded(limit int64) []byte {
	tree := commp.NewTree(int64(len(l.car)))
	must(l.tb, tree.SetAt(0, l.car))
	var b bytes.Buffer
	must(l.tb, l.spool.writeIndex(l.tb.Context(), &b, l.head, int64(len(l.car)), tree, limit))
	return b.Bytes()
}

func (l *laidCAR) index() *Index {
	b := l.encoded(sortLimit)
	return ok(OpenIndex(bytes.NewReader(b), int64(len(b))))(l.tb)
}

// someCAR is a CAR with blocks from everywhere.
func someCAR(tb testing.TB, s *Spool) *laidCAR {
	l := layCAR(tb, s)
	l.file("large", noise(1, 3<<20), 1<<20)
	for i := range 40 {
		l.file(fmt.Sprint("small", i), noise(uint64(i+100), i*37), 1<<20)
		form, size := Form(i%len(forms)), i*11
		if form >= firstIdentity {
			size = i % 33
		}
		l.stored(form, noise(uint64(i+200), size))
	}
	l.node(noise(3, 9000))
	l.file("uneven", noise(4, 70_000), 1000)
	l.node([]byte{1})
	return l
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func ok[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		must(tb, err)
		return v
	}
}

func TestReaderGivesTheCARBack(t *testing.T) {
	spools := map[string]*Spool{"memory": NewSpool(), "files": ok(OpenSpool(t.TempDir(), Mark{}))(t)}
	for name, s := range spools {
		t.Run(name, func(t *testing.T) {
			l := someCAR(t, s)
			x := l.index()
			r := NewReader(t.Context(), x, l.held, nil, nil)
			if got := ok(io.ReadAll(r))(t); !bytes.Equal(got, l.car) || r.Size() != int64(len(l.car)) {
				t.Fatalf("%d bytes, want %d", len(got), len(l.car))
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 300 {
				off := rnd.Int64N(r.Size() + 10)
				want := l.car[min(off, r.Size()):]
				want = want[:min(rnd.IntN(5000), len(want))]
				got := make([]byte, len(want))
				if n, err := r.ReadAt(got, off); n != len(want) || err != nil && len(want) > 0 || !bytes.Equal(got, want) {
					t.Fatalf("at %d: %d bytes, %v", off, n, err)
				}
				ok(r.Seek(off, io.SeekStart))(t)
				var b bytes.Buffer
				if n, err := r.CopyN(&b, int64(len(want))); n != int64(len(want)) || err != nil || !bytes.Equal(b.Bytes(), want) {
					t.Fatalf("from %d: %d bytes, %v", off, n, err)
				}
			}
			ok(r.Seek(0, io.SeekStart))(t)
			var b bytes.Buffer
			if n := ok(io.Copy(&b, r))(t); n != r.Size() || !bytes.Equal(b.Bytes(), l.car) {
				t.Errorf("copied %d bytes", n)
			}
			if n, err := r.ReadAt(make([]byte, 10), r.Size()-3); n != 3 || err != io.EOF {
				t.Errorf("at the end: %d, %v", n, err)
			}
			must(t, r.Close())
			if l.held.open != 0 || l.held.most > maxOpenFiles {
				t.Errorf("%d files are open, %d were", l.held.open, l.held.most)
			}
			must(t, s.Remove())
		})
	}
}

func TestOneReaderForMany(t *testing.T) {
	l := someCAR(t, NewSpool())
	r := NewReader(t.Context(), l.index(), l.held, NewWindows(1), nil)
	defer r.Close()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			got := make([]byte, 20_000)
			for k := range 20 {
				off := (i*7919 + k*104729) % (len(l.car) - len(got))
				if _, err := r.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, l.car[off:off+len(got)]) {
					t.Errorf("at %d: %v", off, err)
				}
			}
		})
	}
	all.Wait()
}

// Readers that find no window read in smaller steps, and get the same.
func TestWindowsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which nobody is slow
		l := layCAR(t, NewSpool())
		l.file("large", noise(1, 24<<20), 1<<20)
		x, windows := l.index(), NewWindows(2)
		for range 2 {
			var readers []*Reader
			for range 3 {
				r := NewReader(t.Context(), x, l.held, windows, nil)
				sum := sha256.New()
				ok(r.WriteTo(sum))(t)
				if want := sha256.Sum256(l.car); !bytes.Equal(sum.Sum(nil), want[:]) {
					t.Error("other bytes")
				}
				readers = append(readers, r)
			}
			last := readers[2]
			if len(windows.places) != 2 || cap(last.block) > blockWindow || last.wide != nil {
				t.Errorf("%d windows, %d and %d bytes", len(windows.places), cap(last.block), cap(last.wide))
			}
			for _, r := range readers {
				if got := cap(r.wide) + cap(r.block); got > 18<<20 {
					t.Errorf("a window of %d bytes", got)
				}
				must(t, r.Close())
			}
			if len(windows.places) != 0 || len(windows.spare) != 1 {
				t.Errorf("%d windows are lost, %d spare", len(windows.places), len(windows.spare))
			}
		}
	})
}

// Whoever takes less than 16 MiB a second has no window for long, and gets one
// again when he is quick; the bytes are the same.
func TestWindowsAreNotForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layCAR(t, NewSpool())
		l.file("large", noise(1, 40<<20), 1<<20)
		windows := NewWindows(1)
		r := NewReader(t.Context(), l.index(), l.held, windows, nil)
		defer r.Close()
		client := &hurry{pause: time.Millisecond}
		for _, part := range []struct {
			pause  time.Duration
			length int64
			wide   bool
		}{{time.Millisecond, 1 << 20, true}, {time.Minute, 1 << 20, false}, {time.Minute, 5 << 20, false}, {time.Millisecond, 24 << 20, true}} {
			client.pause = part.pause
			ok(r.CopyN(client, part.length))(t)
			if (r.wide != nil) != part.wide && part.length > blockWindow || len(windows.places) == 1 != (r.wide != nil) {
				t.Errorf("at %d: a window %v, %d taken", r.pos, r.wide != nil, len(windows.places))
			}
		}
		ok(r.WriteTo(client))(t)
		if !bytes.Equal(client.got.Bytes(), l.car) {
			t.Error("other bytes")
		}
	})
}

// hurry is a client that takes bytes with pauses.
type hurry struct {
	got   bytes.Buffer
	pause time.Duration
}

func (h *hurry) Write(b []byte) (int, error) {
	<-time.After(h.pause)
	return h.got.Write(b)
}

// Of a leaf nobody asks for, nothing is read but the slots around what is.
func TestRangesReadWhatTheyNeed(t *testing.T) {
	l := layCAR(t, NewSpool())
	l.file("large", noise(1, 5<<20), 1<<20)
	l.stored(Raw, noise(2, 3000))
	l.node(noise(3, 9000))
	l.file("uneven", noise(4, 2<<20), 700_001)
	x := l.index()
	for _, size := range []int{1, 4096, 64 << 10, commp.SlotRaw, 500_000, 1 << 20, 3 << 20} {
		for _, off := range []int{0, 50, 1000, 127<<10 - 1, 1<<20 - 5, 3 << 20, 5<<20 + 100, 5<<20 + 4000, len(l.car) - size - 700_000, len(l.car) - size} {
			want := l.car[max(off, 0):]
			want = want[:min(size, len(want))]
			l.held.read.Store(0)
			r := NewReader(t.Context(), x, l.held, nil, nil)
			got := make([]byte, len(want))
			if n, err := r.ReadAt(got, int64(max(off, 0))); err != nil || n != len(want) || !bytes.Equal(got, want) {
				t.Errorf("%d bytes at %d: %d, %v", size, off, n, err)
			}
			if read, most := l.held.read.Load(), int64(size)+2*commp.SlotRaw; read > most && size <= 1<<20 {
				t.Errorf("%d bytes at %d: %d are read", size, off, read)
			}
			must(t, r.Close())
		}
	}
	r := NewReader(t.Context(), x, l.held, nil, nil)
	for _, size := range []int{10, 100_000, 30, 2 << 20} { // reading on from slots
		got := make([]byte, size)
		if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, l.car[int(r.pos)-n:r.pos]) {
			t.Errorf("%d bytes up to %d: %v", n, r.pos, err)
		}
	}
	must(t, r.Close())
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) || l.held.open != 0 {
		t.Errorf("closed: %v, %d files", err, l.held.open)
	}
}

func TestManySmallFilesAreOpenedOnce(t *testing.T) {
	l := layCAR(t, NewSpool())
	for i := range 1500 {
		l.file(fmt.Sprint(i), noise(uint64(i), 50), 1<<20)
	}
	r := NewReader(t.Context(), l.index(), l.held, nil, nil)
	ok(io.Copy(io.Discard, r))(t)
	must(t, r.Close())
	if l.held.opens != 1500 || l.held.most > maxOpenFiles || l.held.open != 0 {
		t.Errorf("%d opens, %d at a time, %d left", l.held.opens, l.held.most, l.held.open)
	}
}

// What is wrong with a file is told by its name; nothing wrong is handed out,
// and what lies before it is.
func TestChangedSources(t *testing.T) {
	long := func(path string, t *testing.T) time.Time { return ok(os.Stat(path))(t).ModTime() }
	for what, harm := range map[string]struct {
		do   func(t *testing.T, path string)
		kind fault.Kind
		say  string
		end  bool // is still what it was
	}{
		"edited": {func(t *testing.T, path string) {
			must(t, os.WriteFile(path, noise(9, 3<<20), 0o600))
			must(t, os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)))
		}, fault.Conflict, "changed since it was prepared", false},
		"edited in secret": {func(t *testing.T, path string) {
			at := long(path, t)
			f := ok(os.OpenFile(path, os.O_RDWR, 0))(t)
			ok(f.WriteAt([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 2<<20))(t)
			must(t, f.Close())
			must(t, os.Chtimes(path, time.Time{}, at))
		}, fault.Conflict, "changed since it was prepared", true},
		"gone":   {func(t *testing.T, path string) { must(t, os.Remove(path)) }, fault.Unavailable, "is gone since it was prepared", false},
		"shrunk": {func(t *testing.T, path string) { must(t, os.Truncate(path, 10)) }, fault.Conflict, "changed since it was prepared", false},
		"dark":   {func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Symlink(path, path)) }, fault.Unavailable, "large", false},
	} {
		t.Run(what, func(t *testing.T) {
			l := layCAR(t, NewSpool())
			l.file("first", noise(7, 100), 1<<20)
			l.file("large", noise(1, 3<<20), 1<<20)
			harm.do(t, filepath.Join(l.held.dir, "large"))
			for range 2 { // an error is not forgotten
				r := NewReader(t.Context(), l.index(), l.held, nil, nil)
				got, err := io.ReadAll(r)
				if !fault.Is(err, harm.kind) || !strings.Contains(err.Error(), harm.say) || !strings.Contains(err.Error(), `"large" of test`) {
					t.Errorf("%v: %v", fault.KindOf(err), err)
				}
				if !bytes.HasPrefix(l.car, got) || len(got) < 100 {
					t.Errorf("%d bytes before it", len(got))
				}
				if _, err := r.ReadAt(make([]byte, 10), int64(len(l.car)-(1<<20)+3)); !fault.Is(err, harm.kind) {
					t.Errorf("a range of it: %v", err)
				}
				end := make([]byte, 10)
				if _, err := r.ReadAt(end, int64(len(l.car)-10)); err == nil && !bytes.Equal(end, l.car[len(l.car)-10:]) || (err == nil) != harm.end {
					t.Errorf("the end: %v", err)
				}
				must(t, r.Close())
			}
			if l.held.open != 0 {
				t.Errorf("%d files are left open", l.held.open)
			}
		})
	}
}

// A file that shrinks while it is open is found out too.
func TestSourceChangesMidStream(t *testing.T) {
	for _, size := range []int64{10, 2<<20 + 5} {
		l := layCAR(t, NewSpool())
		l.file("large", noise(1, 3<<20), 1<<20)
		r := NewReader(t.Context(), l.index(), l.held, nil, nil)
		ok(io.CopyN(io.Discard, r, 1000))(t)
		must(t, os.Truncate(filepath.Join(l.held.dir, "large"), size))
		if n, err := io.Copy(io.Discard, r); !fault.Is(err, fault.Conflict) || n > 2<<20+1000 {
			t.Errorf("%d bytes, %v", n, err)
		}
		must(t, r.Close())
	}
}

func TestReaderEndsWithItsContext(t *testing.T) {
	l := someCAR(t, NewSpool())
	ctx, cancel := context.WithCancel(t.Context())
	r := NewReader(ctx, l.index(), l.held, nil, nil)
	defer r.Close()
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestVerifyNamesTheDamage(t *testing.T) {
	l := layCAR(t, NewSpool())
	l.file("a", noise(1, 12<<20), 1<<20)
	l.file("zero", make([]byte, 1<<20), 1<<20)
	l.file("b", noise(3, 3<<20), 1<<20)
	kept := l.stored(Raw, noise(2, 1000))
	x := l.index()
	var most int64
	if got := ok(Verify(t.Context(), x, l.held, nil, func(n int64) { most = max(most, n) }))(t); len(got) != 0 || most != x.CARSize() {
		t.Fatalf("%+v after %d bytes", got, most)
	}

	path := filepath.Join(l.held.dir, "a")
	at := ok(os.Stat(path))(t).ModTime()
	f := ok(os.OpenFile(path, os.O_RDWR, 0))(t)
	ok(f.WriteAt([]byte("wrong"), 5<<20))(t)
	must(t, f.Close())
	must(t, os.Chtimes(path, time.Time{}, at))
	must(t, os.Remove(filepath.Join(l.held.dir, "zero"))) // its bytes are those a hole is read as
	delete(l.held.blocks, string(kept.Hash()))
	got := ok(Verify(t.Context(), x, l.held, nil, nil))(t)
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	where := int64(bytes.Index(l.car, noise(1, 12<<20)[5<<20:5<<20+50]))
	if d := got[0]; d.Length != commp.SlotRaw || d.Offset > where || d.Offset+d.Length <= where || !slices.Equal(d.Paths, []string{"a"}) || len(d.Blocks) == 0 || !strings.Contains(d.Reason, "not those that were packed") {
		t.Errorf("an edited file: %+v", d)
	}
	if d := got[1]; d.Length < 1<<20 || !slices.Contains(d.Paths, "zero") || !strings.Contains(d.Reason, "is gone") {
		t.Errorf("a file that is gone: %+v", d)
	}
	if d := got[2]; d.Length > commp.SlotRaw || !slices.Contains(d.Blocks, kept) {
		t.Errorf("a lost block: %+v", d)
	}

	bad := bytes.Clone(l.car[:len(l.car)-10])
	bad[0] ^= 1
	got = ok(Verify(t.Context(), x, l.held, bytes.NewReader(bad), nil))(t)
	if len(got) != 2 || got[0].Offset != 0 || got[1].Offset+got[1].Length != x.CARSize() || !strings.Contains(got[1].Reason, "cut short") {
		t.Errorf("a damaged CAR: %+v", got)
	}
}

// largeFile is the index of a CAR of one file of 256 MiB, and the shelf it is on.
func largeFile(b *testing.B) (*Index, *shelf) {
	l := &laidCAR{tb: b, held: &shelf{dir: b.TempDir()}, spool: NewSpool()}
	const size, leaf = 256 << 20, 1 << 20
	must(b, os.WriteFile(filepath.Join(l.held.dir, "f"), make([]byte, size), 0o600))
	info := ok(os.Stat(filepath.Join(l.held.dir, "f")))(b)
	from := ok(l.spool.AddSource(Source{Path: "f", ID: identity(info), Size: size}))(b)
	digest, at, tree := sha256.Sum256(make([]byte, leaf)), int64(0), commp.NewTree(size/leaf*(leaf+39))
	var car []byte // from the last slot on
	for i := range int64(size / leaf) {
		r := Record{Offset: at, From: from, Position: i * leaf, Size: leaf, Digest: digest}
		must(b, l.spool.Add(r))
		at += r.Section()
		car = append(r.AppendHead(car), make([]byte, leaf)...)
		whole := len(car) / commp.SlotRaw * commp.SlotRaw
		if at == tree.RawSize() {
			whole = len(car)
		}
		must(b, tree.SetAt(at-int64(len(car)), car[:whole]))
		car = append(car[:0], car[whole:]...)
	}
	var index bytes.Buffer
	must(b, l.spool.WriteIndex(b.Context(), &index, nil, at, tree))
	return ok(OpenIndex(bytes.NewReader(index.Bytes()), int64(index.Len())))(b), l.held
}

// BenchmarkReader streams a file of 256 MiB as its CAR.
func BenchmarkReader(b *testing.B) {
	x, held := largeFile(b)
	windows := NewWindows(1)
	b.SetBytes(x.CARSize())
	for b.Loop() {
		r := NewReader(b.Context(), x, held, windows, nil)
		ok(r.WriteTo(io.Discard))(b)
		must(b, r.Close())
	}
}

// BenchmarkRange reads ranges of that CAR, each by a reader of its own.
func BenchmarkRange(b *testing.B) {
	x, held := largeFile(b)
	for _, size := range []int64{4 << 10, 64 << 10, 1 << 20, 8 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			b.SetBytes(size)
			for at := size; b.Loop(); at = (at + 77_777_777) % (x.CARSize() - size) {
				r := NewReader(b.Context(), x, held, nil, nil)
				ok(r.Seek(at, io.SeekStart))(b)
				ok(r.CopyN(io.Discard, size))(b)
				must(b, r.Close())
			}
		})
	}
}
