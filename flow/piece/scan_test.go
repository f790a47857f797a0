package piece

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

func section1(size int) []byte {
	data := bytes.Repeat([]byte{byte(size), byte(size >> 8), 7}, size/3+1)[:size]
	sum := sha256.Sum256(data)
	c := cid.NewCidV1(cid.Raw, append([]byte{mh.SHA2_256, 32}, sum[:]...))
	return append(dag.CARSectionHeader(c, size), data...)
}

// scanCAR scans a whole CAR.
func scanCAR(ctx context.Context, r io.Reader, o scanning) (*scan, error) {
	s, err := newScan(o)
	if err == nil {
		if err = s.run(ctx, r); err != nil {
			_ = s.Close()
		}
	}
	return s, err
}

// The way a CAR falls into windows changes nothing, nor does its size being
// unknown or announced wrongly, nor the padding of a piece behind it.
func TestScanWindows(t *testing.T) {
	root := section1(10)
	_, c, err := cid.CidFromBytes(root[1:])
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []int{1000, commp.SlotRaw - 1, commp.SlotRaw, commp.SlotRaw + 1, 5 * commp.SlotRaw, 6*commp.SlotRaw + 4711} {
		car := append(dag.CARHeader([]cid.Cid{c}), root...)
		for n := 1; len(car)+1000+n < end; n = n*3%50_000 + 17 {
			car = append(car, section1(n)...)
		}
		if rest := end - len(car) - 39; rest > 0 {
			car = append(car, section1(rest)...)
		}
		w := commp.New()
		_, _ = w.Write(car)
		want, _ := w.Sum()
		padded := append(bytes.Clone(car), make([]byte, int(commp.MaxRawSize(2*commp.PaddedSize(uint64(end))))-len(car))...)
		for _, hint := range []int64{-1, int64(len(padded)), int64(len(car)), 5, int64(len(car)) * 3} {
			for _, slots := range []int{1, 3} {
				var copied bytes.Buffer
				in := car
				if hint == int64(len(padded)) {
					in = padded
				}
				got, err := scanCAR(t.Context(), iotest.HalfReader(bytes.NewReader(in)), scanning{
					buffers: NewBuffers(3, slots), limit: 1 << 30, hint: hint, copy: &copied, padding: true,
				})
				if err != nil {
					t.Fatal(err)
				}
				p, err := got.tree.Piece()
				if err != nil || p != want || got.root != c || !bytes.Equal(copied.Bytes(), car) {
					t.Errorf("%d bytes, windows of %d, hint %d: %v, %v", len(car), slots, hint, p, err)
				}
				if err := got.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

var errTorn = fault.New(fault.Unavailable, "torn")

// A stream that breaks keeps its error, and damage before the break is named
// first.
func TestScanKeepsErrors(t *testing.T) {
	root := section1(200_000)
	_, c, _ := cid.CidFromBytes(root[3:])
	car := append(dag.CARHeader([]cid.Cid{c}), root...)
	broken := func() io.Reader { return io.MultiReader(bytes.NewReader(car), iotest.ErrReader(errTorn)) }
	o := scanning{buffers: NewBuffers(2, 1), limit: 1 << 30, hint: -1}
	if _, err := scanCAR(t.Context(), broken(), o); !errors.Is(err, errTorn) {
		t.Errorf("%v", err)
	}
	car[1000]++
	car = append(car, section1(300_000)...)
	var damage *dag.CARError
	if _, err := scanCAR(t.Context(), broken(), o); !errors.As(err, &damage) || damage.Section != 1 {
		t.Errorf("%v", err)
	}
}

// FuzzScan holds the scan to the reader that takes one block after the other:
// what it takes, that takes with the same blocks at the same places.
func FuzzScan(f *testing.F) {
	root := section1(10)
	_, c, _ := cid.CidFromBytes(root[1:])
	car := append(append(dag.CARHeader([]cid.Cid{c}), root...), section1(300)...)
	f.Add(car)
	f.Add(car[:len(car)-1])
	f.Add(append(dag.CARHeader(nil), root...))
	f.Add([]byte("\x0a\xa1\x67version\x02"))
	f.Add(append(bytes.Clone(car), 0))
	f.Add(append(bytes.Clone(car), 9, 1, cid.Raw, mh.IDENTITY, 2, 'h', 'i', 'h', 'i'))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := scanCAR(t.Context(), bytes.NewReader(b), scanning{buffers: NewBuffers(2, 1), limit: 1 << 20, hint: int64(len(b))})
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		defer got.Close()
		r, err := dag.NewCARReader(bytes.NewReader(b), dag.CAROptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range got.spool.Records() {
			want, off, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			rec, err := got.spool.At(i)
			if err != nil {
				t.Fatal(err)
			}
			if c, _ := rec.Cid(); !c.Equals(want.Cid()) || got.at+rec.Position != off {
				t.Fatalf("record %d is %s at %d, want %s at %d", i, c, rec.Position, want.Cid(), off)
			}
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Fatalf("more than %d blocks: %v", got.spool.Records(), err)
		}
	})
}
