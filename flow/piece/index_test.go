package piece

import (
	"bytes"
	"context"
	"io"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// shelf is the blocks behind an index.
type shelf map[string]blocks.Block

func (s shelf) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	if b, ok := s[string(c.Hash())]; ok {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "block %s", c)
}

func (s shelf) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	b, err := s.Get(ctx, c)
	if err != nil {
		return 0, err
	}
	return len(b.RawData()), nil
}

func (s shelf) PutMany(_ context.Context, bs []blocks.Block) error {
	for _, b := range bs {
		s[string(b.Cid().Hash())] = b
	}
	return nil
}

// indexed lays n blocks out.
func indexed(tb testing.TB, n int) (shelf, []byte, []byte) {
	held, car := shelf{}, dag.CARHeader([]cid.Cid{cid.NewCidV1(cid.DagProtobuf, blocks.NewBlock(nil).Cid().Hash())})
	header := bytes.Clone(car)
	var records []record
	for i := range n {
		b := blocks.NewBlock(bytes.Repeat([]byte{byte(i)}, i*3))
		c := b.Cid() // version 0
		if i%2 == 1 {
			c = cid.NewCidV1(cid.Raw, c.Hash())
		}
		held[string(c.Hash())] = b
		r, err := newRecord(c, int64(len(car)), len(b.RawData()))
		if err != nil {
			tb.Fatal(err)
		}
		records = append(records, r)
		car = append(append(car, dag.CARSectionHeader(c, r.size)...), b.RawData()...)
	}
	return held, encodeIndex(header, records, int64(len(car))), car
}

func TestIndexGivesTheCARBack(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		held, index, car := indexed(t, n)
		x, err := openIndex(bytes.NewReader(index), int64(len(index)))
		if err != nil {
			t.Fatal(err)
		}
		r := newReader(t.Context(), held, x, func() error { return nil })
		for off := 0; off <= len(car); off += 1 + off/9 {
			if _, err := r.Seek(int64(off), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, min(50, len(car)-off))
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, car[off:off+len(got)]) {
				t.Fatalf("%d blocks, at %d: %v", n, off, err)
			}
		}
	}
}

func TestRecordRefusesWhatItCannotRebuild(t *testing.T) {
	for _, c := range []string{"bafkqaaa", "zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA"} {
		_, err := newRecord(cid.MustParse(c), 0, 0)
		form := cid.MustParse(c).Prefix()
		if known := form.MhType == 0x12 && form.MhLength == 32; known != (err == nil) {
			t.Errorf("%s: %v", c, err)
		}
	}
}

func TestNamesAreHandedOutOnce(t *testing.T) {
	s, seen := newNames(), map[string]bool{}
	for i := range 20_000 { // as many again would take as long again
		name := s.take([]string{"a", "a (2)", "", "x/y", "a"}[i%5], "fallback")
		if seen[name] || name == "" || len(name) > 255 {
			t.Fatalf("%q twice", name)
		}
		seen[name] = true
	}
	if got := s.take("b", "f"); got != "b" {
		t.Errorf("a free name became %q", got)
	}
	if got := s.take("b", "f"); got != "b (2)" {
		t.Errorf("the second became %q", got)
	}
}

// FuzzIndex reads a CAR by whatever index a disk may hand back: it ends, with
// the bytes or an error, and takes no more memory than a block.
func FuzzIndex(f *testing.F) {
	for _, n := range []int{0, 1, 7} {
		_, index, _ := indexed(f, n)
		f.Add(index, int64(0))
		f.Add(index[:len(index)-1], int64(3))
		for _, at := range []int{8, 12, 16, 24, len(index) / 2, len(index) - 3} {
			bad := bytes.Clone(index)
			bad[at] ^= 0xff
			f.Add(bad, int64(90))
		}
	}
	held, _, _ := indexed(f, 7)
	f.Fuzz(func(t *testing.T, index []byte, off int64) {
		x, err := openIndex(bytes.NewReader(index), int64(len(index)))
		if err != nil {
			return
		}
		r := newReader(context.Background(), held, x, func() error { return nil })
		if _, err := r.Seek(off, io.SeekStart); err != nil {
			return
		}
		n, err := io.Copy(io.Discard, r)
		if want := max(0, x.carSize-off); err == nil && n != want {
			t.Fatalf("%d bytes of %d", n, want)
		}
		_, _, _ = x.find([32]byte{1})
	})
}
