package source_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/base/source/sourcetest"
)

func TestS3(t *testing.T) {
	url, options, put := sourcetest.S3(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	files := map[string][]byte{
		"data/a-b": []byte("dash sorts before slash"), "data/a/b": []byte("hello"), "data/a/c d+e%20ü": []byte("odd but fine"),
		"data/a.txt": big, "data/Case": nil, "data/case": []byte("lower"), "data/deep/er/still/x": []byte("x"), "else/where": []byte("not ours"),
	}
	for key, body := range files {
		put(key, body)
	}
	s := open(t, url+"/data", options)
	items := walk(t, s, "", source.Filter{})
	want := []string{"Case", "a-b", "a.txt", "a/", "a/b", "a/c d+e%20ü", "case", "deep/", "deep/er/", "deep/er/still/", "deep/er/still/x"}
	if got := keys(items); !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	for _, i := range items {
		if i.Kind != source.KindFile {
			continue
		}
		body := files["data/"+i.Path]
		sum := md5.Sum(body)
		if i.Size != int64(len(body)) || i.Hash != "md5:"+hex.EncodeToString(sum[:]) || i.ModTime.IsZero() || i.Unreadable != "" {
			t.Errorf("%q: %+v", i.Path, i)
		}
		if got := readAll(t, s, i); !bytes.Equal(got, body) {
			t.Errorf("%q: other bytes", i.Path)
		}
	}
	resumes(t, s)

	// From the middle, by several at once.
	f, err := s.Open(t.Context(), "a.txt", "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	readsAnywhere(t, f, big)
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}

	i := items[slices.IndexFunc(items, func(i source.Item) bool { return i.Path == "a/b" })]
	put("data/a/b", []byte("other"))
	if _, err := s.Open(t.Context(), "a/b", i.ID()); !fault.Is(err, fault.Conflict) {
		t.Errorf("a changed object opens: %v", err)
	}
	if _, err := s.Open(t.Context(), "a/none", ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("a missing object: %v", err)
	}
	one := open(t, url+"/data/a.txt", options)
	if got := walk(t, one, "", source.Filter{}); len(got) != 1 || got[0].Path != "a.txt" || !bytes.Equal(readAll(t, one, got[0]), big) {
		t.Errorf("a single object: %v", got)
	}
	refused := map[string]string{}
	for k, v := range options {
		refused[k] = v
	}
	refused["secret_access_key"] = "wrong"
	if _, err := source.Open(t.Context(), source.Spec{URL: url, Options: refused}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("wrong secret: %v", err)
	}
	for _, missing := range []string{"-none", "/dat", "/data/a/bb/"} {
		if _, err := source.Open(t.Context(), source.Spec{URL: url + missing, Options: options}); !fault.Is(err, fault.NotFound) {
			t.Errorf("missing %s: %v", missing, err)
		}
	}
}

// open opens a source for the length of the test.
func open(t testing.TB, url string, options map[string]string) *source.Source {
	t.Helper()
	s, err := source.Open(t.Context(), source.Spec{URL: url, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func walk(t testing.TB, s *source.Source, after string, f source.Filter) (out []source.Item) {
	t.Helper()
	if err := s.Walk(t.Context(), after, f, func(i source.Item) error {
		out = append(out, i)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func keys(items []source.Item) (out []string) {
	for _, i := range items {
		out = append(out, i.Key())
	}
	return out
}

func readAll(t testing.TB, s *source.Source, i source.Item) []byte {
	t.Helper()
	b, err := tryRead(t.Context(), s, i)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tryRead reads a file in odd steps and checks it.
func tryRead(ctx context.Context, s *source.Source, i source.Item) (out []byte, err error) {
	f, err := s.Open(ctx, i.Path, i.ID())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := make([]byte, 100_003)
	for {
		n, err := f.ReadAt(p, int64(len(out)))
		out = append(out, p[:n]...)
		if err == io.EOF {
			return out, f.Check(ctx)
		}
		if err != nil {
			return out, err
		}
	}
}

// resumes proves that a walk behind every key gives the rest of the whole.
func resumes(t testing.TB, s *source.Source) {
	t.Helper()
	all := keys(walk(t, s, "", source.Filter{}))
	if !slices.IsSorted(all) {
		t.Errorf("not in order: %q", all)
	}
	for n, after := range all {
		if got := keys(walk(t, s, after, source.Filter{})); !slices.Equal(got, all[n+1:]) {
			t.Fatalf("behind %q: %q, want %q", after, got, all[n+1:])
		}
	}
}

// readsAnywhere reads pieces of a file from several goroutines.
func readsAnywhere(t testing.TB, f *source.File, want []byte) {
	t.Helper()
	errs := make(chan error, 6)
	for g := range cap(errs) {
		go func() {
			for k := range 12 {
				off := (g*7919 + k*104729*(g%3+1)) % len(want)
				p := make([]byte, min(70_000, len(want)-off))
				if _, err := f.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
					errs <- fmt.Errorf("at %d: %v, or other bytes", off, err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	p := make([]byte, 10)
	if n, err := f.ReadAt(p, int64(len(want)-3)); n != 3 || err != io.EOF || !strings.HasSuffix(string(want), string(p[:3])) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p, int64(len(want)+100)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}
