package commp

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/ipfs/go-cid"
)

// Whatever is written, however it is cut: the reference's root.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("firth"), uint16(1), uint16(3))
	f.Add(make([]byte, 300), uint16(400), uint16(127))
	f.Add(counter("fuzz", 1000), uint16(300), uint16(2032))
	f.Fuzz(func(t *testing.T, data []byte, repeat, cut uint16) {
		data = bytes.Repeat(data, 1+int(repeat)%512)
		data = data[:min(len(data), 600_000)]
		w := New()
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+int(cut))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		got, err := w.Sum()
		if err != nil {
			t.Fatal(err)
		}
		if root, padded := reference(t, data); got.Root() != root || got.PaddedSize != padded {
			t.Fatalf("%d bytes: %s of %d, want %s of %d", len(data), got.Root(), got.PaddedSize, root, padded)
		}
	})
}

func FuzzParseCID(f *testing.F) {
	for _, file := range []string{"testdata/vectors.json", "testdata/frc0069.json"} {
		for _, v := range readVectors(f, file) {
			f.Add(v.CIDv1)
			f.Add(v.CIDv2)
		}
	}
	f.Add("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
	f.Fuzz(func(t *testing.T, s string) {
		c, version, err := ParseCID(s)
		if err != nil {
			if c != cid.Undef || version != 0 {
				t.Fatal("an error with a result")
			}
			return
		}
		if version == 2 {
			p, err := FromCIDv2(c)
			if err != nil || !p.CIDv2.Equals(c) {
				t.Fatalf("%s became %s, %v", c, p.CIDv2, err)
			}
			if q, err := FromCIDv1Padded(p.CIDv1, p.RawSize, p.PaddedSize); err != nil || q != p {
				t.Fatalf("%+v became %+v, %v", p, q, err)
			}
		}
	})
}

func FuzzTreeUnmarshal(f *testing.F) {
	for _, n := range []int64{0, 1, SlotRaw, 9*SlotRaw + 1} {
		tree := NewTree(n)
		_ = tree.SetAt(0, make([]byte, min(n, SlotRaw)))
		b, _ := tree.MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, in := range [][]byte{data, sealed(data)} {
			tree, err := LoadTree(in)
			if err != nil {
				continue
			}
			if out, _ := tree.MarshalBinary(); !bytes.Equal(out, in) {
				t.Fatalf("%x became %x", in, out)
			}
		}
	})
}

// sealed gives data the checksum that lets it past the first gate.
func sealed(data []byte) []byte {
	if len(data) < 4 {
		return data
	}
	sum := checksum(data[:len(data)-4])
	return append(bytes.Clone(data[:len(data)-4]), byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
}

// A proof that verifies after any change must be the proof it was.
func FuzzProof(f *testing.F) {
	data := counter("fuzz", 2*SlotRaw+50)
	tree := treeOf(f, data)
	piece, _ := tree.Piece()
	content := data[SlotRaw-300 : SlotRaw+400]
	p, err := tree.Proof(SlotRaw-300, 700, bytes.NewReader(data))
	if err != nil {
		f.Fatal(err)
	}
	good, _ := json.Marshal(p)
	f.Add(good)
	f.Add([]byte(`{"offset":0,"length":1,"height":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var q Proof
		if json.Unmarshal(text, &q) != nil || q.Verify(piece, bytes.NewReader(content)) != nil {
			return
		}
		if again, _ := json.Marshal(q); !bytes.Equal(again, good) {
			t.Fatalf("forged: %s", again)
		}
	})
}
