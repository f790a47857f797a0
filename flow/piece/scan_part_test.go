package piece

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// longCAR is a CAR with sections of all kinds of sizes, one larger than windows
// are.
func longCAR(roots ...cid.Cid) []byte {
	car := dag.CARHeader(roots)
	for n := 1; len(car) < 3_000_000; n = n*3%50_000 + 17 {
		car = append(car, section1(n)...)
	}
	return append(append(car, section1(700_000)...), section1(3)...)
}

// wrapped puts a CAR into a CARv2 with an index behind it.
func wrapped(car []byte) []byte {
	b := append([]byte(pragmaV2), make([]byte, headV2)...)
	b[len(pragmaV2)+16], b[len(pragmaV2)+24] = byte(len(b)), byte(len(car))
	b[len(pragmaV2)+25], b[len(pragmaV2)+26] = byte(len(car)>>8), byte(len(car)>>16)
	return append(append(b, car...), "an index"...)
}

// partsOf collects parts as a scan makes them.
func partsOf(into *[][]byte) func(context.Context, *stretch) error {
	return func(_ context.Context, p *stretch) error {
		in := p.stream()
		defer in.Close()
		b, err := io.ReadAll(in)
		*into = append(*into, b)
		return err
	}
}

func indexBytes(t *testing.T, s *scan) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.spool.WriteIndex(t.Context(), &b, s.header, s.size, s.tree); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A scan that is torn anywhere goes on from its parts, reads what they have not
// and little more, and ends the same; the CAR that it copies, too.
func TestScanGoesOn(t *testing.T) {
	_, root, _ := cid.CidFromBytes(section1(1)[1:])
	plain := longCAR(root)
	for name, stream := range map[string][]byte{"CARv1": plain, "CARv2": wrapped(plain), "no root": longCAR()} {
		o := scanning{buffers: NewBuffers(3, 1), limit: 1 << 30, hint: int64(len(stream)), every: pace{bytes: 1, after: time.Hour}, clock: time.Now}
		if name == "no root" {
			o.want = root
		}
		whole, err := scanCAR(t.Context(), bytes.NewReader(stream), o)
		if err != nil {
			t.Fatal(err)
		}
		defer whole.Close()
		want := indexBytes(t, whole)
		for _, torn := range []int{100, commp.SlotRaw, 500_001, 2_999_999, 3_500_000} {
			var parts [][]byte
			var copied bytes.Buffer
			first := o
			first.keep, first.copy = partsOf(&parts), &copied
			_, err := scanCAR(t.Context(), io.MultiReader(bytes.NewReader(stream[:torn]), iotest.ErrReader(errTorn)), first)
			if !errors.Is(err, errTorn) {
				t.Fatal(err)
			}
			again, err := newScan(first)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range parts {
				if err := again.load(bytes.NewReader(p)); err != nil {
					t.Fatalf("%s, torn at %d: part %d of %d: %v", name, torn, i, len(parts), err)
				}
			}
			if left := int64(torn) - again.offset(); left > 2*commp.SlotRaw+720_000 || left < 0 {
				t.Errorf("%s, torn at %d: begins at %d", name, torn, again.offset())
			}
			copied.Truncate(int(again.read()))
			had := len(parts)
			if err := again.run(t.Context(), bytes.NewReader(stream[again.offset():])); err != nil {
				t.Fatalf("%s, torn at %d: %v", name, torn, err)
			}
			if !bytes.Equal(indexBytes(t, again), want) || again.root != whole.root || again.at != whole.at {
				t.Errorf("%s, torn at %d: another index or root", name, torn)
			}
			if car := stream[whole.at : whole.at+whole.size]; !bytes.Equal(copied.Bytes(), car) {
				t.Errorf("%s, torn at %d: another copy", name, torn)
			}
			if torn > commp.SlotRaw && (had == 0 || torn < 3_000_000 && len(parts) == had) {
				t.Errorf("%s, torn at %d: %d parts, then %d", name, torn, had, len(parts))
			}
			_ = again.Close()
		}
	}
}

// Where the root has to be found, links of blocks that were read before count.
func TestScanGoesOnToFindTheRoot(t *testing.T) {
	leaf := section1(200_000)
	_, c, _ := cid.CidFromBytes(leaf[3:])
	node := nodeOf(t, c)
	car := slices.Concat(dag.CARHeader(nil), node, leaf)
	o := scanning{buffers: NewBuffers(2, 1), limit: 1 << 30, hint: -1, every: pace{bytes: 1, after: time.Hour}, clock: time.Now}
	var parts [][]byte
	o.keep = partsOf(&parts)
	whole, err := scanCAR(t.Context(), bytes.NewReader(car), o)
	if err != nil || len(parts) != 1 {
		t.Fatalf("%v, %d parts", err, len(parts))
	}
	defer whole.Close()
	again, err := newScan(o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := errors.Join(again.load(bytes.NewReader(parts[0])), again.run(t.Context(), bytes.NewReader(car[again.offset():]))); err != nil {
		t.Fatal(err)
	}
	if again.root != whole.root || again.root == c {
		t.Errorf("root %s, was %s", again.root, whole.root)
	}
}

// Nothing damaged gets into a part: it is made of what was hashed.
func TestPartsHoldNoDamage(t *testing.T) {
	_, root, _ := cid.CidFromBytes(section1(1)[1:])
	car := longCAR(root)
	car[1_000_000]++
	var parts [][]byte
	o := scanning{buffers: NewBuffers(3, 1), limit: 1 << 30, hint: -1, every: pace{bytes: 1, after: time.Hour}, clock: time.Now, keep: partsOf(&parts)}
	if _, err := scanCAR(t.Context(), bytes.NewReader(car), o); !fault.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	s, err := newScan(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, p := range parts {
		if err := s.load(bytes.NewReader(p)); err != nil {
			t.Fatal(err)
		}
	}
	if s.next > 1_000_000 {
		t.Errorf("parts reach byte %d", s.next)
	}
}

// FuzzPart feeds parts that others made: they are taken or refused, in memory
// that their length bounds, and what is taken is taken again as it is written.
func FuzzPart(f *testing.F) {
	_, root, _ := cid.CidFromBytes(section1(1)[1:])
	car := longCAR(root)
	var parts [][]byte
	o := scanning{buffers: NewBuffers(2, 1), limit: 8 << 20, hint: -1, every: pace{bytes: 1, after: time.Hour}, clock: time.Now, keep: partsOf(&parts)}
	whole, err := scanCAR(f.Context(), bytes.NewReader(car), o)
	if err != nil {
		f.Fatal(err)
	}
	_ = whole.Close()
	f.Add(parts[0], parts[1])
	f.Add(parts[1], parts[0])
	f.Add(parts[0][:100], []byte(partMagic))
	o.keep = nil
	f.Fuzz(func(t *testing.T, one, two []byte) {
		s, err := newScan(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, b := range [][]byte{one, two} {
			begin, records, slot := s.next, s.spool.Records(), s.read()/commp.SlotRaw
			if err := s.load(bytes.NewReader(b)); err != nil {
				if !fault.Is(err, fault.Conflict) {
					t.Fatal(err)
				}
				return
			}
			p := &stretch{s: s, begin: begin, end: s.next, first: records, last: s.spool.Records(), slot: slot, slots: s.read()/commp.SlotRaw - slot}
			if begin > 0 {
				continue
			}
			var again bytes.Buffer
			if _, err := p.WriteTo(&again); err != nil {
				t.Fatal(err)
			}
			same, err := newScan(o)
			if err != nil {
				t.Fatal(err)
			}
			err = same.load(&again)
			if err != nil || same.offset() != s.offset() || same.next != s.next {
				t.Fatalf("%v: %d, then %d", err, s.offset(), same.offset())
			}
			_ = same.Close()
		}
	})
}

// nodeOf is the section of a node that links to c.
func nodeOf(t *testing.T, c cid.Cid) []byte {
	t.Helper()
	link := c.Bytes()
	data := append([]byte{0x12, byte(len(link) + 2), 0x0a, byte(len(link))}, link...) // PBNode{Links: {Hash}}
	data = append(data, 0x0a, 0x02, 0x08, 0x01)                                       // UnixFS directory
	sum := sha256.Sum256(data)
	node := cid.NewCidV1(cid.DagProtobuf, append([]byte{0x12, 32}, sum[:]...))
	return append(dag.CARSectionHeader(node, len(data)), data...)
}
