package dataset_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/flow/dataset"
)

// What was exported is all that is needed: with the sources and the node gone,
// the index leads to every file, of earlier preparations too.
func TestIndexLeadsToFiles(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	dir := tree(t, map[string][]byte{
		"big": noise(1, 11*MiB+5), "a/one": noise(2, 200_000), "a/copy": noise(2, 200_000), "a/empty": {}, "b/two": noise(3, 3*MiB), "c": noise(4, 10), "none": nil,
	})
	must(t, os.Symlink("a/one", filepath.Join(dir, "link")))
	rules := small()
	rules.Export = t.TempDir()
	d := h.create("d", dir, rules)
	h.prepare(d)
	write(t, filepath.Join(dir, "a/new"), noise(5, 4*MiB+1))
	write(t, filepath.Join(dir, "c"), noise(6, 11))
	p := h.prepare(d)

	want := t.TempDir()
	must(t, os.CopyFS(want, os.DirFS(dir)))
	must(t, os.RemoveAll(dir))
	place := ok(indexdag.OpenPlace(rules.Export, nil))(t)
	f := ok(indexdag.NewFetcher([]indexdag.Place{place}, indexdag.FetchOptions{}))(t)
	r := ok(indexdag.Open(t.Context(), f, cid.MustParse(p.IndexRoot)))(t)
	if head := r.Header(); head.Root.String() != p.Root || head.Name != "d" || head.Files != p.Files || head.Bytes != p.Bytes {
		t.Errorf("header %+v", head)
	}
	out := t.TempDir()
	got, err := f.Fetch(t.Context(), r, "", out)
	if err != nil {
		t.Fatalf("%+v: %v", got, err)
	}
	same(t, want, out)

	one := t.TempDir()
	ok(f.Fetch(t.Context(), r, "big", one))(t)
	ok(f.Fetch(t.Context(), r, "a", one))(t)
	for _, name := range []string{"big", "a/new", "a/copy"} {
		if info := ok(os.Stat(filepath.Join(one, name)))(t); info.Size() == 0 {
			t.Errorf("%s is empty", name)
		}
	}
}

// What can never succeed ends in a failure with its reason, and goes on when
// somebody has mended it.
func TestFailureForGood(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	dir := tree(t, map[string][]byte{"a": noise(1, 3*MiB), "b": noise(2, 3*MiB), "c": noise(3, 3*MiB)})
	d := ok(h.data.Create(t.Context(), project, "d", small(), dataset.NewSource{URL: dir, Options: map[string]string{"retries": "1"}}))(t)
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	h.hireSealed(wrongSeal{})
	stop := h.run()
	until(t, func() bool { return h.preparation(p.ID).State == dataset.Failed })
	if now := h.preparation(p.ID); !strings.Contains(now.Reason, "secret") || now.NextAttempt != nil || now.Stage != dataset.Scanning {
		t.Errorf("preparation %+v", now)
	}
	stop()
	h.hireSealed(seal{})
	ok(h.data.Resume(t.Context(), project, p.ID))(t)
	h.scanOnly(p.ID)()

	h.hireSealed(wrongSeal{})
	stop = h.run()
	until(t, func() bool { return h.preparation(p.ID).State == dataset.Failed })
	stop()
	h.hireSealed(seal{})
	failed := 0
	for _, c := range h.chunks(p.ID) {
		if c.State == dataset.ChunkFailed {
			failed++
			ok(h.data.RetryChunk(t.Context(), project, c.ID))(t)
		}
	}
	if failed == 0 {
		t.Errorf("no chunk has failed: %+v", h.chunks(p.ID))
	}
	h.run()
	if p = h.complete(p.ID); p.Root != rootOf(t, dir) || p.Skipped != 0 {
		t.Errorf("preparation %+v", p)
	}
}
