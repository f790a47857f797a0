package source_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/source"
)

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
