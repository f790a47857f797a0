package commp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"

	hashhash "github.com/filecoin-project/go-fil-commp-hashhash"
)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// reference is the commitment by the library everyone else uses, which takes
// no fewer than 65 bytes.
func reference(t testing.TB, data []byte) (Node, uint64) {
	t.Helper()
	if len(data) < quadRaw {
		data = append(append([]byte(nil), data...), make([]byte, quadRaw-len(data))...)
	}
	var c hashhash.Calc
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	root, padded, err := c.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return Node(root), padded
}

func pieceOfBytes(t testing.TB, data []byte) Piece {
	t.Helper()
	w := New()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	p, err := w.Sum()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A Writer must not care how the stream is cut, and Sum must not disturb it.
func TestWritesMayBeCutAnywhere(t *testing.T) {
	data := counter("cuts", 900_000)
	copy(data[300_000:], make([]byte, 300_000)) // two slots of zeros inside
	want := pieceOfBytes(t, data)
	w := New()
	for seed := range uint64(12) {
		w.Reset()
		r := random(seed)
		for off := 0; off < len(data); {
			n := min(1+r.IntN([]int{7, 300, 70_000, 400_000}[seed%4]), len(data)-off)
			if seed%4 == 0 {
				n = min(n*40, len(data)-off)
			}
			if _, err := w.Write(data[off : off+n]); err != nil {
				t.Fatal(err)
			}
			off += n
			if r.IntN(1+len(data)/n) == 0 { // about once a run
				if got, _ := w.Sum(); got != pieceOfBytes(t, data[:off]) {
					t.Fatalf("seed %d: sum after %d bytes differs", seed, off)
				}
			}
		}
		for range 2 {
			if got, err := w.Sum(); err != nil || got != want {
				t.Fatalf("seed %d: %+v, %v", seed, got, err)
			}
		}
	}
}

func TestWriteZerosIsWriteOfZeros(t *testing.T) {
	r := random(3)
	for range 20 {
		a, b := New(), New()
		for range 1 + r.IntN(4) {
			data := counter("z", uint64(r.IntN([]int{200_000, 2_500_000}[r.IntN(2)])))
			zeros := uint64(r.IntN(700_000))
			_, _ = a.Write(data)
			_, _ = b.Write(data)
			if err := a.WriteZeros(zeros); err != nil {
				t.Fatal(err)
			}
			_, _ = b.Write(make([]byte, zeros))
		}
		pa, _ := a.Sum()
		pb, _ := b.Sum()
		if pa != pb {
			t.Fatalf("%+v, want %+v", pa, pb)
		}
	}
}

// 64 GiB of zeros around a little data: no time and no memory.
func TestWriterMemoryIsFlat(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := New()
	for range 8 {
		_, _ = w.Write([]byte("island"))
		if err := w.WriteZeros(8 << 30); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Sum()
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 400<<10 {
		t.Errorf("allocated %d bytes", used)
	}
}

func TestSizes(t *testing.T) {
	for raw, want := range map[uint64]uint64{
		0: 128, 1: 128, 127: 128, 128: 256, 254: 256, 255: 512,
		SlotRaw: SlotPadded, SlotRaw + 1: 2 * SlotPadded,
		34091302912: 32 << 30, 34091302913: 64 << 30,
		MaxRawSize(MaxPaddedSize): MaxPaddedSize, MaxRawSize(MaxPaddedSize) + 1: 0, 1<<64 - 1: 0,
	} {
		if got := PaddedSize(raw); got != want {
			t.Errorf("PaddedSize(%d) = %d, want %d", raw, got, want)
		}
	}
	if got := MaxRawSize(32 << 30); got != 34091302912 {
		t.Errorf("MaxRawSize(32 GiB) = %d", got)
	}
	w := New()
	if err := w.WriteZeros(MaxRawSize(MaxPaddedSize)); err != nil {
		t.Fatal(err)
	}
	if p, err := w.Sum(); err != nil || p.PaddedSize != MaxPaddedSize {
		t.Errorf("the largest piece: %+v, %v", p, err)
	}
	if _, err := w.Write([]byte{0}); !errors.Is(err, ErrInput) {
		t.Errorf("a byte too many: %v", err)
	}
	for _, padded := range []uint64{0, 64, 127, 129, 1 << 54, 1 << 56, 1 << 63} {
		if _, err := w.SumPadded(padded); !errors.Is(err, ErrInput) {
			t.Errorf("SumPadded(%d): %v", padded, err)
		}
	}
}

// Any cuts at slot borders, in any order, by many goroutines, through a
// checkpoint in the middle: the piece of the stream.
func TestTreeInAnyOrder(t *testing.T) {
	all := counter("tree", 3_000_000)
	for seed := range uint64(20) {
		r := random(seed)
		data := all[:r.IntN(len(all))]
		tree := NewTree(int64(len(data)))
		var cuts []Range
		for off := 0; off < len(data); {
			n := min((1+r.IntN(5))*SlotRaw, len(data)-off)
			cuts = append(cuts, Range{int64(off), int64(n)})
			off += n
		}
		r.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
		half := len(cuts) / 2
		setAll(t, tree, data, cuts[:half])
		tree = reload(t, tree)
		var left int64
		for _, m := range tree.Missing() {
			left += m.Length
		}
		for _, c := range cuts[half:] {
			left -= c.Length
		}
		if left != 0 {
			t.Fatalf("seed %d: missing differs by %d bytes", seed, left)
		}
		if _, err := tree.Piece(); half < len(cuts) && !errors.Is(err, ErrMissing) {
			t.Fatalf("seed %d: incomplete tree: %v", seed, err)
		}
		setAll(t, tree, data, cuts[half:])
		got, err := reload(t, tree).Piece()
		if want := pieceOfBytes(t, data); err != nil || got != want {
			t.Fatalf("seed %d, %d bytes: %+v, %v, want %+v", seed, len(data), got, err, want)
		}
	}
}

func setAll(t *testing.T, tree *Tree, data []byte, cuts []Range) {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range cuts {
		wg.Go(func() {
			if err := tree.SetAt(c.Offset, data[c.Offset:c.Offset+c.Length]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func reload(t *testing.T, tree *Tree) *Tree {
	t.Helper()
	b, err := tree.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := LoadTree(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTreePatchAndDamage(t *testing.T) {
	data := counter("patch", 10*SlotRaw+77)
	tree := NewTree(int64(len(data)))
	if err := tree.SetAt(0, data); err != nil {
		t.Fatal(err)
	}
	old := reload(t, tree)
	data[5] ^= 1
	if err := tree.SetAt(0, data[:SlotRaw]); err != nil {
		t.Fatal(err)
	}
	if got, err := tree.Piece(); err != nil || got != pieceOfBytes(t, data) {
		t.Errorf("patched: %+v, %v", got, err)
	}
	data[len(data)-1] ^= 1
	_ = tree.SetAt(10*SlotRaw, data[10*SlotRaw:])
	bad, err := tree.Changed(old)
	want := []Range{{0, SlotRaw}, {10 * SlotRaw, 77}}
	if err != nil || len(bad) != 2 || bad[0] != want[0] || bad[1] != want[1] {
		t.Errorf("changed %v, %v, want %v", bad, err, want)
	}
	if _, err := tree.Changed(NewTree(3)); !errors.Is(err, ErrInput) {
		t.Errorf("trees of different data: %v", err)
	}
}

func TestTreeResize(t *testing.T) {
	data := counter("resize", 6*SlotRaw+500)
	for _, step := range []struct{ from, to int64 }{
		{0, 100}, {100, 0}, {100, SlotRaw}, {SlotRaw, 3 * SlotRaw}, {3*SlotRaw + 9, 5 * SlotRaw},
		{5*SlotRaw + 9, 2*SlotRaw + 1}, {6*SlotRaw + 500, 6*SlotRaw + 499}, {SlotRaw + 1, SlotRaw},
	} {
		tree := NewTree(step.from)
		if err := tree.SetAt(0, data[:step.from]); err != nil {
			t.Fatal(err)
		}
		if err := tree.Resize(step.to); err != nil {
			t.Fatal(err)
		}
		for _, m := range tree.Missing() {
			if m.Offset+m.Length <= min(step.from, step.to)/SlotRaw*SlotRaw {
				t.Errorf("%v: %v is missing though it did not change", step, m)
			}
			if err := tree.SetAt(m.Offset, data[m.Offset:m.Offset+m.Length]); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := tree.Piece(); err != nil || got != pieceOfBytes(t, data[:step.to]) {
			t.Errorf("%v: %+v, %v", step, got, err)
		}
	}
	if err := NewTree(1).Resize(-1); !errors.Is(err, ErrInput) {
		t.Errorf("negative size: %v", err)
	}
}

func TestTreeRefusesCutsInsideSlots(t *testing.T) {
	tree := NewTree(2*SlotRaw + 10)
	for _, c := range []Range{{-SlotRaw, SlotRaw}, {1, SlotRaw}, {0, SlotRaw - 1}, {0, 2*SlotRaw + 9}, {2 * SlotRaw, 11}, {3 * SlotRaw, 1}, {4 * SlotRaw, 0}} {
		if err := tree.SetAt(c.Offset, make([]byte, c.Length)); !errors.Is(err, ErrInput) {
			t.Errorf("SetAt %v: %v", c, err)
		}
	}
	if len(tree.Missing()) != 1 {
		t.Error("a refused SetAt set something")
	}
	if _, ok := tree.Root(0); ok {
		t.Error("slot 0 has a root")
	}
	if _, ok := tree.Root(9); ok {
		t.Error("slot 9 has a root")
	}
}

func TestParseCIDRefuses(t *testing.T) {
	for _, s := range []string{
		"", "x", "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
		"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
	} {
		if _, _, err := ParseCID(s); !errors.Is(err, ErrInput) {
			t.Errorf("ParseCID(%q): %v", s, err)
		}
	}
}

// The tree of zeros within a slot must be the one hashing gives.
func TestZerosAreHashed(t *testing.T) {
	e := newEngine(portable)
	nodes := e.quads(make([]byte, SlotRaw))
	for h := 1; h < slotHeight; h++ {
		if Node(nodes[:nodeSize]) != e.zero[h] {
			t.Fatalf("height %d", h)
		}
		nodes = e.halve(nodes, h)
	}
	for _, at := range []int{0, 1, 4095, 4096, 4097, SlotRaw - 1} {
		raw := make([]byte, SlotRaw)
		raw[at] = 1
		if allZero(raw) {
			t.Errorf("a byte at %d was not seen", at)
		}
	}
}

func TestReadFrom(t *testing.T) {
	data := counter("copy", 400_000)
	w := New()
	if n, err := io.Copy(w, bytes.NewReader(data)); err != nil || n != 400_000 || w.Size() != 400_000 {
		t.Fatalf("%d, %v", n, err)
	}
	if got, _ := w.Sum(); got != pieceOfBytes(t, data) {
		t.Error("differs")
	}
}

// A reader that fails leaves what it gave before, and the stream goes on.
func TestReadFromAReaderThatFails(t *testing.T) {
	data := counter("broken", 2*SlotRaw+99)
	w := New()
	broken := io.MultiReader(bytes.NewReader(data[:SlotRaw+7]), iotest.ErrReader(io.ErrClosedPipe))
	if n, err := w.ReadFrom(broken); n != SlotRaw+7 || !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := w.ReadFrom(iotest.OneByteReader(bytes.NewReader(data[SlotRaw+7:]))); n != SlotRaw+92 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if got, _ := w.Sum(); got != pieceOfBytes(t, data) {
		t.Error("differs")
	}
}

// A tree is the same whether its slots are hashed or set.
func TestSetRoot(t *testing.T) {
	raw := make([]byte, 3*SlotRaw+1000)
	for i := range raw {
		raw[i] = byte(i * 31)
	}
	whole := NewTree(int64(len(raw)))
	if err := whole.SetAt(0, raw); err != nil {
		t.Fatal(err)
	}
	half := NewTree(2 * SlotRaw)
	for slot := range 2 {
		root, _ := whole.Root(slot)
		if err := half.SetRoot(slot, root); err != nil {
			t.Fatal(err)
		}
	}
	if err := half.SetRoot(2, Node{}); !errors.Is(err, ErrInput) {
		t.Errorf("a slot it has not: %v", err)
	}
	if err := half.SetRoot(0, Node{31: 0xff}); !errors.Is(err, ErrInput) {
		t.Errorf("no node: %v", err)
	}
	if err := half.Resize(int64(len(raw))); err != nil {
		t.Fatal(err)
	}
	if err := half.SetAt(2*SlotRaw, raw[2*SlotRaw:]); err != nil {
		t.Fatal(err)
	}
	got, err := half.Piece()
	want, _ := whole.Piece()
	if err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
