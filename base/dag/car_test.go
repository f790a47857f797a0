package dag_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

type carVector struct {
	File     string
	SHA256   string
	Expected struct{ Outcome, Kind string }
}

// decided is what we do where the vectors leave the choice; doc.go says why.
var decided = map[string]dag.CARFault{
	"carv2-data-size-too-big.car": dag.CARTruncated,
	"no-roots-key.car":            dag.CARBadHeader,
	"trailing-zeros.car":          dag.CARZeroSection,
	"zero-length-section.car":     dag.CARZeroSection,
}

func carVectors(t testing.TB) map[string]carVector {
	var list []carVector
	readJSON(t, "testdata/car/expected.json", &list)
	out := map[string]carVector{}
	for _, v := range list {
		out[v.File] = v
	}
	if len(out) != 43 {
		t.Fatalf("%d CAR vectors", len(out))
	}
	return out
}

func carBytes(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/car/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drain reads a CAR to its end and checks that every offset is true.
func drain(in []byte, r io.Reader, o dag.CAROptions) (*dag.CARReader, []blocks.Block, error) {
	car, err := dag.NewCARReader(r, o)
	if err != nil {
		return nil, nil, err
	}
	var out []blocks.Block
	for {
		b, at, err := car.Next()
		if err == io.EOF {
			return car, out, nil
		}
		if err != nil {
			if _, _, again := car.Next(); again != err {
				return car, out, errors.New("the error did not last")
			}
			return car, out, err
		}
		head := dag.CARSectionHeader(b.Cid(), len(b.RawData()))
		if !bytes.HasPrefix(in[at:], b.RawData()) || !bytes.HasSuffix(in[:at], head) {
			return car, out, errors.New("a block's offset is wrong")
		}
		out = append(out, b)
	}
}

func TestCARVectors(t *testing.T) {
	readers := map[string]func(io.Reader) io.Reader{
		"whole":      func(r io.Reader) io.Reader { return r },
		"byte":       iotest.OneByteReader,
		"half":       iotest.HalfReader,
		"data+error": iotest.DataErrReader,
	}
	for name, v := range carVectors(t) {
		in := carBytes(t, name)
		if sum := sha256.Sum256(in); hex.EncodeToString(sum[:]) != v.SHA256 {
			t.Fatalf("%s: not the recorded file", name)
		}
		for how, wrap := range readers {
			t.Run(name+"/"+how, func(t *testing.T) {
				car, _, err := drain(in, wrap(bytes.NewReader(in)), dag.CAROptions{})
				checkCAR(t, v, car, err)
			})
		}
		t.Run(name+"/add", func(t *testing.T) {
			sum, err := dag.AddCAR(t.Context(), newStore(), bytes.NewReader(in), dag.CAROptions{})
			if want := wantFault(v); want != "" {
				wantCARFault(t, err, want)
			} else if err != nil || (len(sum.MissingRoots) > 0) != (v.Expected.Kind == "root_missing") {
				t.Errorf("%+v, %v", sum, err)
			}
		})
	}
}

func wantFault(v carVector) dag.CARFault {
	switch v.Expected.Outcome {
	case "error":
		return dag.CARFault(v.Expected.Kind)
	case "choice":
		return decided[v.File]
	}
	return ""
}

func checkCAR(t *testing.T, v carVector, car *dag.CARReader, err error) {
	t.Helper()
	if want := wantFault(v); want != "" {
		wantCARFault(t, err, want)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := len(car.MissingRoots()) > 0; got != (v.Expected.Kind == "root_missing") {
		t.Errorf("missing roots %v", car.MissingRoots())
	}
	if (len(car.Roots) == 0) != (v.Expected.Kind == "no_roots") {
		t.Errorf("roots %v", car.Roots)
	}
	if v2 := strings.HasPrefix(v.File, "carv2"); v2 != (car.Version == 2) || car.Version > 2 {
		t.Errorf("version %d", car.Version)
	}
}

func wantCARFault(t *testing.T, err error, want dag.CARFault) *dag.CARError {
	t.Helper()
	var ce *dag.CARError
	if !errors.As(err, &ce) || ce.Fault != want || !fault.Is(err, fault.Invalid) {
		t.Fatalf("%v, want Invalid with %s", err, want)
	}
	return ce
}

func TestCARErrorSaysWhere(t *testing.T) {
	for name, want := range map[string]dag.CARError{
		"wrong-digest.car":           {Section: 2, Offset: 108},
		"truncated-after-length.car": {Section: 2, Offset: 108},
		"truncated-header.car":       {Section: 0, Offset: 0},
		"zero-length-section.car":    {Section: 2, Offset: 108},
	} {
		in := carBytes(t, name)
		_, _, err := drain(in, bytes.NewReader(in), dag.CAROptions{})
		var got *dag.CARError
		if !errors.As(err, &got) || got.Section != want.Section || got.Offset != want.Offset {
			t.Errorf("%s: %v, want section %d at %d", name, err, want.Section, want.Offset)
		}
	}
}

// Every length that lies must be refused before anything is allocated for it.
func TestCARLengthsAllocateNothing(t *testing.T) {
	for _, name := range []string{"header-length-4gib.car", "huge-header-length.car", "huge-section-length.car", "header-length-varint-overflow.car"} {
		in := carBytes(t, name)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := drain(in, bytes.NewReader(in), dag.CAROptions{})
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; err == nil || grown > 256<<10 {
			t.Errorf("%s: %d bytes allocated, error %v", name, grown, err)
		}
	}
}

func TestCARZeroPadding(t *testing.T) {
	o := dag.CAROptions{ZeroPadded: true}
	in := carBytes(t, "trailing-zeros.car")
	if _, got, err := drain(in, bytes.NewReader(in), o); err != nil || len(got) != 2 {
		t.Errorf("%d blocks, %v", len(got), err)
	}
	in = carBytes(t, "zero-length-section.car")
	_, _, err := drain(in, bytes.NewReader(in), o)
	wantCARFault(t, err, dag.CARZeroSection)
}

func TestCARLimits(t *testing.T) {
	in := carBytes(t, "kubo-dag-export-file.car") // its leaves have 1024 bytes
	_, _, err := drain(in, bytes.NewReader(in), dag.CAROptions{MaxBlock: 1023})
	wantCARFault(t, err, dag.CARTooLarge)
	if _, _, err := drain(in, bytes.NewReader(in), dag.CAROptions{MaxBlock: 1024}); err != nil {
		t.Error(err)
	}
	_, _, err = drain(in, bytes.NewReader(in), dag.CAROptions{MaxHeader: 20})
	wantCARFault(t, err, dag.CARTooLarge)
}

// An error of the stream below is not the CAR's fault.
func TestCARKeepsReadErrors(t *testing.T) {
	in := carBytes(t, "kubo-dag-export-file.car")
	for _, n := range []int{0, 1, 30, 59, 60, 100, 2000} {
		_, _, err := drain(in, io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(errBroken)), dag.CAROptions{})
		if !errors.Is(err, errBroken) || fault.Is(err, fault.Invalid) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// Cut anywhere but between sections, a CAR is truncated or, cut to nothing, empty.
func TestCARCutAnywhere(t *testing.T) {
	for _, name := range []string{"kubo-dag-export-tree.car", "carv2-no-index.car"} {
		in := carBytes(t, name)
		accepted := 0
		for n := range in {
			_, got, err := drain(in[:n], bytes.NewReader(in[:n]), dag.CAROptions{})
			if err == nil {
				accepted++
				if !sectionsEnd(in, n, len(got)) {
					t.Fatalf("%s cut to %d bytes: accepted", name, n)
				}
				continue
			}
			if n > 0 {
				wantCARFault(t, err, dag.CARTruncated)
			}
		}
		if want := map[string]int{"kubo-dag-export-tree.car": 25, "carv2-no-index.car": 0}[name]; accepted != want {
			t.Errorf("%s: %d cuts accepted, want %d", name, accepted, want)
		}
	}
}

// sectionsEnd reports whether byte n of a CARv1 is where its k-th section ends.
func sectionsEnd(in []byte, n, k int) bool {
	car, err := dag.NewCARReader(bytes.NewReader(in), dag.CAROptions{})
	if err != nil {
		return false
	}
	end := int64(len(dag.CARHeader(car.Roots)))
	for range k {
		b, at, err := car.Next()
		if err != nil {
			return false
		}
		end = at + int64(len(b.RawData()))
	}
	return end == int64(n)
}

func TestWriteCARIsKubos(t *testing.T) {
	for _, name := range []string{"kubo-dag-export-tree.car", "kubo-dag-export-file.car", "kubo-dag-export-cidv0.car", "two-roots.car", "no-roots.car", "identity-block.car"} {
		in := carBytes(t, name)
		car, got, err := drain(in, bytes.NewReader(in), dag.CAROptions{})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := dag.WriteCAR(t.Context(), &out, car.Roots, each(got)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), in) {
			t.Errorf("%s: not written as it was read", name)
		}
	}
}

func TestCARHeaderWithManyRoots(t *testing.T) {
	s := newStore()
	for _, n := range []int{0, 1, 23, 24, 255, 256, 20000} {
		roots := make([]cid.Cid, n)
		for i := range roots {
			roots[i] = block(t, s, cid.Raw, []byte(seq(i)))
		}
		car, err := dag.NewCARReader(bytes.NewReader(dag.CARHeader(roots)), dag.CAROptions{})
		if err != nil || len(car.Roots) != n || len(car.MissingRoots()) != n {
			t.Fatalf("%d roots: %v", n, err)
		}
	}
}

func TestWriteCARRefuses(t *testing.T) {
	big := blocks.NewBlock(make([]byte, dag.MaxBlockSize+1))
	wantKind(t, dag.WriteCAR(t.Context(), io.Discard, nil, each([]blocks.Block{big})), fault.Invalid)
	bad := func(yield func(blocks.Block, error) bool) { yield(nil, errBroken) }
	if err := dag.WriteCAR(t.Context(), io.Discard, nil, bad); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

func each(bs []blocks.Block) iter.Seq2[blocks.Block, error] {
	return func(yield func(blocks.Block, error) bool) {
		for _, b := range bs {
			if !yield(b, nil) {
				return
			}
		}
	}
}

func TestAddCARStoresWholeDAGs(t *testing.T) {
	for _, name := range []string{"kubo-dag-export-tree.car", "carv2-indexed.car", "identity-root-no-section.car"} {
		s := newStore()
		sum, err := dag.AddCAR(t.Context(), s, bytes.NewReader(carBytes(t, name)), dag.CAROptions{})
		if err != nil || sum.Blocks == 0 || sum.Bytes == 0 || len(sum.MissingRoots) > 0 {
			t.Fatalf("%s: %+v, %v", name, sum, err)
		}
		for _, root := range sum.Roots {
			if err := dag.Complete(t.Context(), s, root); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Whatever the bytes, reading ends without a panic, and what is accepted can
// be written and read again.
func FuzzCARReader(f *testing.F) {
	for name := range carVectors(f) {
		f.Add(carBytes(f, name), false)
	}
	f.Add(carBytes(f, "trailing-zeros.car"), true)
	f.Fuzz(func(t *testing.T, in []byte, padded bool) {
		car, err := dag.NewCARReader(bytes.NewReader(in), dag.CAROptions{ZeroPadded: padded, MaxBlock: 1 << 16})
		if err != nil {
			return
		}
		var got []blocks.Block
		for {
			b, at, err := car.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if !fault.Is(err, fault.Invalid) {
					t.Fatalf("kind of %v", err)
				}
				return
			}
			if !bytes.HasPrefix(in[at:], b.RawData()) {
				t.Fatal("a block's offset is wrong")
			}
			got = append(got, b)
		}
		var out bytes.Buffer
		if err := dag.WriteCAR(t.Context(), &out, car.Roots, each(got)); err != nil {
			t.Fatal(err)
		}
		if _, again, err := drain(out.Bytes(), &out, dag.CAROptions{}); err != nil || len(again) != len(got) {
			t.Fatalf("read again: %d blocks, %v", len(again), err)
		}
	})
}
