// Package blobtest is the conformance suite of blob.Store. Every
// implementation, and every stand-in for one, runs it.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// Run holds the stores that open returns to the contract of blob.Store. Each
// call of open gives an empty store.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	cases := []struct {
		name string
		test func(t *testing.T, s blob.Store)
	}{
		{"put then get", putGet},
		{"ranges", ranges},
		{"replace", replace},
		{"absent", absent},
		{"failed reader leaves what was there", failedReader},
		{"ended context", endedContext},
		{"list in key order", list},
		{"list stops when told", listStops},
		{"a key may lead to another", nestedKeys},
		{"keys that are none", badKeys},
		{"reader outlives its object", readerOutlives},
		{"concurrent writers of one key", concurrentPut},
		{"put and delete in one folder", churn},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, key, text string) blob.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, strings.NewReader(text))
	if err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
	return info
}

func get(t *testing.T, s blob.Store, key string, off, n int64) string {
	t.Helper()
	r, err := s.Get(t.Context(), key, off, n)
	if err != nil {
		t.Fatalf("Get(%q, %d, %d): %v", key, off, n, err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(data)
}

func keys(t *testing.T, s blob.Store, prefix, after string) []string {
	t.Helper()
	var got []string
	for info, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatalf("List(%q, %q): %v", prefix, after, err)
		}
		got = append(got, info.Key)
	}
	return got
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("error = %v, want the kind %v", err, kind)
	}
}

func putGet(t *testing.T, s blob.Store) {
	for _, text := range []string{"", "x", strings.Repeat("0123456789abcdef", 1<<16)} {
		info := put(t, s, "a/b.car", text)
		if info.Key != "a/b.car" || info.Size != int64(len(text)) || info.ModTime.IsZero() {
			t.Errorf("Put of %d bytes = %+v", len(text), info)
		}
		if get(t, s, "a/b.car", 0, -1) != text {
			t.Errorf("%d bytes came back different", len(text))
		}
		st, err := s.Stat(t.Context(), "a/b.car")
		if err != nil || st.Size != int64(len(text)) || st.Key != "a/b.car" {
			t.Errorf("Stat = %+v, %v", st, err)
		}
	}
}

func ranges(t *testing.T, s blob.Store) {
	put(t, s, "k", "0123456789")
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, -1, "0123456789"}, {0, 3, "012"}, {4, 2, "45"}, {9, 1, "9"}, {8, 100, "89"}, {5, -1, "56789"}, {3, 0, ""}, {10, -1, ""}, {10, 5, ""}} {
		if got := get(t, s, "k", c.off, c.n); got != c.want {
			t.Errorf("Get(%d, %d) = %q, want %q", c.off, c.n, got, c.want)
		}
	}
	for _, off := range []int64{-1, 11, 1 << 40} {
		_, err := s.Get(t.Context(), "k", off, 1)
		wantKind(t, err, fault.Invalid)
	}
}

func replace(t *testing.T, s blob.Store) {
	put(t, s, "k", "the first, and longer")
	put(t, s, "k", "the second")
	if got := get(t, s, "k", 0, -1); got != "the second" {
		t.Errorf("after replacing: %q", got)
	}
	if got := keys(t, s, "", ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("List = %q", got)
	}
}

func absent(t *testing.T, s blob.Store) {
	for _, key := range []string{"nothing", "no/thing"} {
		_, err := s.Get(t.Context(), key, 0, -1)
		wantKind(t, err, fault.NotFound)
		_, err = s.Stat(t.Context(), key)
		wantKind(t, err, fault.NotFound)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete of an absent key: %v", err)
		}
	}
	put(t, s, "k", "x")
	for range 2 {
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	_, err := s.Stat(t.Context(), "k")
	wantKind(t, err, fault.NotFound)
	_, err = s.Stat(t.Context(), "k/below")
	wantKind(t, err, fault.NotFound)
	if got := keys(t, s, "", ""); len(got) != 0 {
		t.Errorf("List of an empty store = %q", got)
	}
}

func failedReader(t *testing.T, s blob.Store) {
	broken := fault.New(fault.Forbidden, "the source broke")
	for _, before := range []string{"", "what was there"} {
		if before != "" {
			put(t, s, "k", before)
		}
		r := io.MultiReader(strings.NewReader(strings.Repeat("half ", 50_000)), errorReader{broken})
		_, err := s.Put(t.Context(), "k", r)
		if !errors.Is(err, broken) || !fault.Is(err, fault.Forbidden) {
			t.Errorf("Put from a broken reader: %v, want its error", err)
		}
		if before == "" {
			_, err := s.Stat(t.Context(), "k")
			wantKind(t, err, fault.NotFound)
		} else if got := get(t, s, "k", 0, -1); got != before {
			t.Errorf("after a failed Put the key holds %.20q", got)
		}
	}
	if got := keys(t, s, "", ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("List = %q", got)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func endedContext(t *testing.T, s blob.Store) {
	put(t, s, "k", "x")
	ctx, cancel := context.WithCancel(t.Context())
	endless := readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	_, err := s.Put(ctx, "k", endless)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Put with a context that ends: %v", err)
	}
	if got := get(t, s, "k", 0, -1); got != "x" {
		t.Errorf("the key holds %.20q", got)
	}
	var last error
	for _, err := range s.List(ctx, "", "") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List with an ended context: %v", last)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func list(t *testing.T, s blob.Store) {
	all := []string{
		"a", "a-b", "a.b", "a/b", "a/b-c", "a/b/c", "a/b0", "a0", "a_b", "block/1.car", "block/1.idx",
		"block/2.car", "blocks", "z/y/x/w",
	}
	slices.Sort(all)
	for _, key := range slices.Backward(all) {
		put(t, s, key, key)
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "block/", "block/1", "z/y", "zz", "b"} {
		for _, after := range append([]string{"", "a/", "block/1~", "zzz"}, all...) {
			var want []string
			for _, key := range all {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			if got := keys(t, s, prefix, after); !slices.Equal(got, want) {
				t.Errorf("List(%q, %q) = %q, want %q", prefix, after, got, want)
			}
		}
	}
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil || info.Size != int64(len(info.Key)) || info.ModTime.IsZero() {
			t.Errorf("List yields %+v, %v", info, err)
		}
	}
}

func listStops(t *testing.T, s blob.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprintf("d/%d", i), "x")
	}
	n := 0
	for range s.List(t.Context(), "", "") {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("saw %d", n)
	}
}

func nestedKeys(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "inner")
	put(t, s, "a", "outer")
	put(t, s, "a/b/c", "innermost")
	for key, want := range map[string]string{"a": "outer", "a/b": "inner", "a/b/c": "innermost"} {
		if got := get(t, s, key, 0, -1); got != want {
			t.Errorf("%s holds %q", key, got)
		}
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s, "", ""); !slices.Equal(got, []string{"a/b", "a/b/c"}) {
		t.Errorf("List = %q", got)
	}
}

func badKeys(t *testing.T, s blob.Store) {
	bad := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "A", "a b", "a\\b", "a\x00b", "a+b", "é",
		strings.Repeat("a", blob.MaxPartBytes+1), strings.Repeat("a/", blob.MaxKeyBytes/2) + "a",
	}
	for _, key := range bad {
		_, err := s.Put(t.Context(), key, strings.NewReader("x"))
		wantKind(t, err, fault.Invalid)
		_, err = s.Get(t.Context(), key, 0, -1)
		wantKind(t, err, fault.Invalid)
		_, err = s.Stat(t.Context(), key)
		wantKind(t, err, fault.Invalid)
		wantKind(t, s.Delete(t.Context(), key), fault.Invalid)
	}
	long := strings.Repeat("a", blob.MaxPartBytes) + "/" + strings.Repeat("b", blob.MaxPartBytes)
	put(t, s, long, "the longest parts")
	put(t, s, "..a/b..c/...", "dots within are fine")
	if got := keys(t, s, "", ""); !slices.Equal(got, []string{"..a/b..c/...", long}) {
		t.Errorf("List = %q", got)
	}
}

func readerOutlives(t *testing.T, s blob.Store) {
	text := strings.Repeat("0123456789", 100_000)
	put(t, s, "k", text)
	r, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	put(t, s, "k", "another")
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err == nil && string(data) != text {
		t.Errorf("the reader saw %d bytes of another version", len(data))
	}
}

func concurrentPut(t *testing.T, s blob.Store) {
	const writers, rounds = 4, 5
	texts := map[string]bool{}
	for w := range writers {
		texts[strings.Repeat(string(rune('a'+w)), 10_000)] = true
	}
	put(t, s, "k", strings.Repeat("a", 10_000))
	var wg sync.WaitGroup
	for text := range texts {
		wg.Go(func() {
			for range rounds {
				if _, err := s.Put(t.Context(), "k", strings.NewReader(text)); err != nil {
					t.Errorf("Put: %v", err)
				}
			}
		})
	}
	for range rounds {
		if got := get(t, s, "k", 0, -1); !texts[got] {
			t.Errorf("a reader saw a mixture of %d bytes", len(got))
		}
	}
	wg.Wait()
	if got := get(t, s, "k", 0, -1); !texts[got] {
		t.Errorf("the key holds a mixture of %d bytes", len(got))
	}
}

func churn(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			key := fmt.Sprintf("deep/er/%d", w)
			for i := range 10 {
				text := []byte(fmt.Sprint(w, i))
				if _, err := s.Put(t.Context(), key, bytes.NewReader(text)); err != nil {
					t.Errorf("Put(%s): %v", key, err)
				}
				if got := get(t, s, key, 0, -1); got != string(text) {
					t.Errorf("%s holds %q, want %q", key, got, text)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete(%s): %v", key, err)
				}
			}
		})
	}
	wg.Wait()
	if got := keys(t, s, "", ""); len(got) != 0 {
		t.Errorf("List = %q", got)
	}
}
