package block

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
)

// TestAppendRoundTheCache mixes small and large appends at any offset with
// readers, cuts and later appends, and compares with a slice.
func TestAppendRoundTheCache(t *testing.T) {
	t.Parallel()
	files := osFiles{dir: t.TempDir()}
	f, err := files.create("x")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	fill := rand.NewChaCha8([32]byte{1})
	var want []byte
	sizes := []int{1, 100, 4095, 4096, 4097, 600 << 10, 2 << 20, 3<<20 + 5, 5 << 20}
	for n := range 40 {
		var bufs [][]byte
		for rest := sizes[rng.IntN(len(sizes))]; rest > 0; {
			b := make([]byte, min(rest, 1+rng.IntN(300_000)))
			_, _ = fill.Read(b) // never fails
			bufs, rest = append(bufs, b), rest-len(b)
		}
		off := int64(len(want))
		if err := f.append(bufs, off); err != nil {
			t.Fatal(err)
		}
		want = append(want, bytes.Join(bufs, nil)...)
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want)-max(0, int(off)-10_000))
		if _, err := f.ReadAt(got, int64(len(want)-len(got))); err != nil || !bytes.Equal(got, want[len(want)-len(got):]) {
			t.Fatalf("append %d: other bytes come back: %v", n, err)
		}
		if n%7 == 6 { // a commit that failed is cut off
			want = want[:len(want)-rng.IntN(len(want)/2)]
			if err := f.truncate(int64(len(want))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(files.path("x")); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the file has %d other bytes: %v", len(got), err)
	}
}
