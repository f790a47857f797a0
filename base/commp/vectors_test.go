package commp

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// vector is one entry of testdata/vectors.json and testdata/frc0069.json.
type vector struct {
	Name      string `json:"name"`
	Size      uint64 `json:"size"`
	Generator struct {
		Kind string `json:"kind"`
		Seed string `json:"seed"`
		Byte byte   `json:"byte"`
	} `json:"generator"`
	SHA256        string `json:"sha256_of_bytes"`
	CIDv1         string `json:"piece_cid_v1"`
	CIDv2         string `json:"piece_cid_v2"`
	Padded        uint64 `json:"padded_size"`
	Root          string `json:"commitment_hex"`
	Target        uint64 `json:"target_padded_size"`
	CIDv1AtTarget string `json:"piece_cid_v1_at_target"`
	RootAtTarget  string `json:"commitment_at_target_hex"`
}

func readVectors(t testing.TB, file string) []vector {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// counter gives the first n bytes of SHA-256(seed, 0), SHA-256(seed, 1), …
func counter(seed string, n uint64) []byte {
	out := make([]byte, 0, n+sha256.Size)
	in := append([]byte(seed), make([]byte, 8)...)
	for i := uint64(0); uint64(len(out)) < n; i++ {
		binary.BigEndian.PutUint64(in[len(seed):], i)
		sum := sha256.Sum256(in)
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func (v vector) bytes(t testing.TB) []byte {
	switch v.Generator.Kind {
	case "sha256ctr":
		return counter(v.Generator.Seed, v.Size)
	case "zero":
		return make([]byte, v.Size)
	case "byte":
		return bytes.Repeat([]byte{v.Generator.Byte}, int(v.Size))
	}
	t.Fatalf("unknown generator %q", v.Generator.Kind)
	return nil
}

func (v vector) compare(t *testing.T, how string, got Piece) {
	t.Helper()
	if got.CIDv1.String() != v.CIDv1 || got.CIDv2.String() != v.CIDv2 ||
		got.PaddedSize != v.Padded || got.RawSize != v.Size || got.Root().String() != v.Root {
		t.Errorf("%s: got %+v root %s", how, got, got.Root())
	}
}

func TestVectors(t *testing.T) {
	vectors := readVectors(t, "testdata/vectors.json")
	if len(vectors) != 70 {
		t.Fatalf("%d vectors, want 70", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			if v.Size > 64<<20 && !long() {
				t.Skip("more than 64 MiB: set FIRTH_TEST_LONG=1")
			}
			t.Parallel()
			data := v.bytes(t)
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != v.SHA256 {
				t.Fatal("the generator is wrong")
			}
			w := New()
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			got, err := w.Sum()
			if err != nil {
				t.Fatal(err)
			}
			v.compare(t, "stream", got)
			tree := NewTree(int64(v.Size))
			if err := tree.SetAt(0, data); err != nil {
				t.Fatal(err)
			}
			got, err = tree.Piece()
			if err != nil {
				t.Fatal(err)
			}
			v.compare(t, "tree", got)
			if v.Target != 0 {
				v.compareAtTarget(t, w, tree)
			}
			v.compareParsed(t)
		})
	}
}

func (v vector) compareAtTarget(t *testing.T, w *Writer, tree *Tree) {
	t.Helper()
	stream, err := w.SumPadded(v.Target)
	if err != nil {
		t.Fatal(err)
	}
	if stream.CIDv1.String() != v.CIDv1AtTarget || stream.Root().String() != v.RootAtTarget || stream.PaddedSize != v.Target {
		t.Errorf("padded to %d: %+v", v.Target, stream)
	}
	if got, err := tree.PiecePadded(v.Target); err != nil || got != stream {
		t.Errorf("tree padded to %d: %+v, %v", v.Target, got, err)
	}
	if got, err := FromCIDv2(stream.CIDv2); err != nil || got != stream {
		t.Errorf("parsed %s: %+v, %v", stream.CIDv2, got, err)
	}
}

func (v vector) compareParsed(t *testing.T) {
	t.Helper()
	v1, version, err := ParseCID(v.CIDv1)
	if err != nil || version != 1 {
		t.Fatalf("ParseCID v1: version %d, %v", version, err)
	}
	p, err := FromCIDv1(v1, v.Size)
	if err != nil {
		t.Fatal(err)
	}
	v.compare(t, "from v1", p)
	v2, version, err := ParseCID(v.CIDv2)
	if err != nil || version != 2 {
		t.Fatalf("ParseCID v2: version %d, %v", version, err)
	}
	if p, err = FromCIDv2(v2); err != nil {
		t.Fatal(err)
	}
	v.compare(t, "from v2", p)
	if got, padded, err := CIDv1(v2); err != nil || got != v1 || padded != v.Padded {
		t.Errorf("CIDv1 = %s, %d, %v", got, padded, err)
	}
}

// frcWrite writes the data that the text of FRC-0069 describes; its pieces of
// zeros are written as zeros.
func frcWrite(t *testing.T, w *Writer, v vector) {
	t.Helper()
	var head []byte
	if v.Name[0] == '1' && v.Name[:4] != "127 " && v.Name[:4] != "128 " {
		for i := range byte(4) {
			head = append(head, bytes.Repeat([]byte{i}, 127)...)
		}
	}
	if _, err := w.Write(head); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteZeros(v.Size - uint64(len(head))); err != nil {
		t.Fatal(err)
	}
}

func TestFRC0069(t *testing.T) {
	vectors := readVectors(t, "testdata/frc0069.json")
	if len(vectors) != 9 {
		t.Fatalf("%d vectors, want 9", len(vectors))
	}
	w := New()
	for _, v := range vectors {
		w.Reset()
		frcWrite(t, w, v)
		got, err := w.Sum()
		if err != nil {
			t.Fatal(err)
		}
		v.compare(t, v.Name, got)
	}
}

// long reports whether the tests may take minutes.
func long() bool { return os.Getenv("FIRTH_TEST_LONG") != "" }
