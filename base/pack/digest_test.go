package pack

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// What digests are compared with is go-multihash.
func TestDigests(t *testing.T) {
	var all []Form
	for i := range 200 {
		all = append(all, Form(i%len(forms)), Raw, Form(i*i%len(forms)))
	}
	msgs, sums := make([][]byte, len(all)), make([][32]byte, len(all))
	for i := range all {
		if msgs[i] = noise(uint64(i), i*7); all[i] >= firstIdentity {
			msgs[i] = noise(uint64(i), i%33)
		}
	}
	for _, n := range []int{0, 1, 2, len(all)} {
		clear(sums)
		Digests(sums[:n], msgs[:n], func(i int) Form { return all[i] })
		for i := range n {
			want := ok(forms[all[i]].Sum(msgs[i]))(t)
			r := ok(NewRecord(want, 0, len(msgs[i])))(t)
			if r.Digest != sums[i] || !r.Is(msgs[i]) || r.Is(append(msgs[i], 0)) {
				t.Fatalf("message %d, form %d: %x, want %s", i, all[i], sums[i], want)
			}
		}
	}
}

// Blocks of every form are read from a file, found by their own hash alone, and
// noticed when a byte of them changed.
func TestForeignForms(t *testing.T) {
	const leaf = 5000
	l := layCAR(t, NewSpool())
	hashed := int(firstIdentity)
	data := noise(7, 3*leaf*hashed)
	l.foreign("own.car", data, leaf, func(i int) Form { return Form(i / 2 % hashed) })
	x := l.index()
	for i := range x.Records() {
		r := ok(x.At(i))(t)
		c := ok(r.Cid())(t)
		if got, found, err := x.Find(c.Hash()); err != nil || !found || got != r {
			t.Fatalf("%s is found as %+v, %v", c, got, err)
		}
		for _, code := range []uint64{mh.SHA2_256, blake2b256, mh.BLAKE3, mh.SHA3_256} {
			other := ok(mh.Encode(r.Digest[:], code))(t)
			if _, found, err := x.Find(other); err != nil || found != bytes.Equal(other, c.Hash()) {
				t.Fatalf("%s as %x: found %v, %v", c, code, found, err)
			}
		}
	}
	read := func() ([]byte, error) {
		r := NewReader(t.Context(), x, l.held, nil, nil)
		defer r.Close()
		return io.ReadAll(r)
	}
	if got := ok(read())(t); !bytes.Equal(got, l.car) {
		t.Fatal("other bytes than the CAR's")
	}
	path := filepath.Join(l.held.dir, "own.car")
	info := ok(os.Stat(path))(t)
	for i := range 3 * hashed {
		bad := slices.Clone(data)
		bad[i*leaf+i] ^= 1
		must(t, os.WriteFile(path, bad, 0o600))
		must(t, os.Chtimes(path, info.ModTime(), info.ModTime())) // the same to look at
		got, err := read()
		if err == nil || !strings.Contains(err.Error(), "own.car") || !bytes.HasPrefix(l.car, got) {
			t.Fatalf("leaf %d: %d bytes, %v", i, len(got), err)
		}
	}
}

// Blocks that stand in their CIDs are as long as these, and told apart by that.
func TestIdentityForms(t *testing.T) {
	l := layCAR(t, NewSpool())
	l.foreign("own.car", noise(7, 32*7), 32, func(i int) Form { return firstIdentity + Form(i%3) })
	l.foreign("short.car", make([]byte, 3), 3, func(int) Form { return firstIdentity })
	l.foreign("shorter.car", make([]byte, 2), 2, func(int) Form { return firstIdentity })
	x := l.index()
	for i := range x.Records() {
		r := ok(x.At(i))(t)
		c := ok(r.Cid())(t)
		if got, found, err := x.Find(c.Hash()); err != nil || !found || got != r {
			t.Errorf("%s is found as %+v, %v", c, got, err)
		}
	}
	r := NewReader(t.Context(), x, l.held, nil, nil)
	defer r.Close()
	if got := ok(io.ReadAll(r))(t); !bytes.Equal(got, l.car) {
		t.Error("other bytes than the CAR's")
	}
	long := ok(mh.Sum(make([]byte, 33), mh.IDENTITY, -1))(t)
	for c, size := range map[cid.Cid]int{cid.NewCidV1(cid.Raw, long): 33, ok(ok(x.At(0))(t).Cid())(t): 31} {
		if _, err := NewRecord(c, 0, size); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s of %d bytes: %v", c, size, err)
		}
	}
}

// Indexes are stored: a form means for ever what it means now.
func TestFormsStay(t *testing.T) {
	const sum = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
	digest := [32]byte(ok(hex.DecodeString(sum))(t))
	want := []string{
		"01551220", "01701220", "1220", "01711220", "01a9021220",
		"0155a0e40220", "0170a0e40220", "0171a0e40220", "01a902a0e40220",
		"01551e20", "01701e20", "01711e20", "01a9021e20",
		"01550020", "01700020", "01710020",
	}
	for form, head := range want {
		c := ok(Record{Form: Form(form), Digest: digest, Size: 32}.Cid())(t)
		if got := hex.EncodeToString(c.Bytes()); got != head+sum {
			t.Errorf("form %d: %s", form, got)
		}
	}
	if _, err := (Record{Form: Form(len(want))}).Cid(); err == nil {
		t.Errorf("form %d is known, and not here", len(want))
	}
}
