package indexdag_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
)

func TestFetch(t *testing.T) {
	d := newDataset(t)
	good := d.serve(nil)
	t.Run("faults", func(t *testing.T) { testFaults(t, d, good.URL) })
	t.Run("whole from a server", func(t *testing.T) {
		d := d.in(t)
		f, r := d.fetcher(indexdag.FetchOptions{}, good.URL)
		before, dir := good.requests.Load(), t.TempDir()
		got, err := f.Fetch(t.Context(), r, "", dir)
		must(t, err)
		if got.Files != int64(len(d.files)) || got.Symlinks != 2 || got.Dirs != 3 || got.Kept != 0 || got.Bytes != r.Header().Bytes {
			t.Errorf("%+v", got)
		}
		d.sameAs(dir, "")
		if n := good.requests.Load() - before; n > 80 {
			t.Errorf("%d requests for %d files", n, len(d.files))
		}
		again, err := f.Fetch(t.Context(), r, "", dir)
		must(t, err)
		if again.Kept != again.Files || again.Files != got.Files || again.Bytes != got.Bytes {
			t.Errorf("again: %+v", again)
		}
		info, err := os.Stat(filepath.Join(dir, "big"))
		if err != nil || !info.ModTime().Equal(time.Unix(1_600_000_000, 123456789)) {
			t.Errorf("time %v, %v", info, err)
		}
	})
	t.Run("whole from CARs", func(t *testing.T) {
		d := d.in(t)
		f, r := d.fetcher(indexdag.FetchOptions{}, d.store())
		dir := t.TempDir()
		_, err := f.Fetch(t.Context(), r, "", dir)
		must(t, err)
		d.sameAs(dir, "")
	})
	t.Run("paths", func(t *testing.T) {
		d := d.in(t)
		f, r := d.fetcher(indexdag.FetchOptions{}, d.store())
		dir := t.TempDir()
		for _, path := range []string{"split", "zeros", "empty", "odd\xffname"} {
			_, err := f.Fetch(t.Context(), r, path, dir)
			must(t, err)
			data, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil || !bytes.Equal(data, d.files[path]) {
				t.Errorf("%q: %d bytes, %v", path, len(data), err)
			}
		}
		_, err := f.Fetch(t.Context(), r, "/wide/", dir)
		must(t, err)
		d.sameAs(filepath.Join(dir, "wide"), "wide")
		if _, err := f.Fetch(t.Context(), r, "no such", dir); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
	})
	t.Run("index damaged in one directory", func(t *testing.T) {
		d := d.in(t)
		where := d.store()
		damaged := 0
		for _, c := range d.index.order {
			if c == d.root || !bytes.Contains(d.index.blocks[c], []byte("small-050")) {
				continue
			}
			path := filepath.Join(where, d.names[len(d.names)-1].String()+".car")
			car, err := os.ReadFile(path)
			must(t, err)
			at := bytes.Index(car, d.index.blocks[c])
			car[at+1] ^= 1
			must(t, os.WriteFile(path, car, 0o600))
			damaged++
		}
		f, r := d.fetcher(indexdag.FetchOptions{}, where)
		dir := t.TempDir()
		got, err := f.Fetch(t.Context(), r, "", dir)
		if damaged != 1 || !fault.Is(err, fault.NotFound) || got.Failed != 1 || got.Failures[0].Path != "a" {
			t.Errorf("%d blocks damaged: %v, %+v", damaged, err, got)
		}
		d.sameAs(filepath.Join(dir, "wide"), "wide")
		if data, err := os.ReadFile(filepath.Join(dir, "zeros")); err != nil || !bytes.Equal(data, d.files["zeros"]) {
			t.Errorf("the rest: %d bytes, %v", len(data), err)
		}
	})
	t.Run("in the way", func(t *testing.T) {
		d := d.in(t)
		dir, outside := t.TempDir(), t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "empty"), []byte("mine"), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "big"), make([]byte, len(d.files["big"])), 0o600))
		must(t, os.Mkdir(filepath.Join(dir, "odd\xffname"), 0o700))
		must(t, os.Symlink(outside, filepath.Join(dir, "a")))
		must(t, os.Symlink(filepath.Join(outside, "x"), filepath.Join(dir, "split")))
		must(t, os.Symlink("elsewhere", filepath.Join(dir, "link")))
		f, r := d.fetcher(indexdag.FetchOptions{}, good.URL)
		got, err := f.Fetch(t.Context(), r, "", dir)
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("%v", err)
		}
		if want := int64(5 + 1 + 100 + 1); got.Failed != want || len(got.Failures) != 100 {
			t.Errorf("%d failed, want %d; %d told", got.Failed, want, len(got.Failures))
		}
		if left := tree(t, outside); len(left) > 0 {
			t.Errorf("written through a link: %v", left)
		}
		must(t, os.Remove(filepath.Join(dir, "odd\xffname")))
		must(t, os.Remove(filepath.Join(dir, "a")))
		f, r = d.fetcher(indexdag.FetchOptions{Overwrite: true}, good.URL)
		_, err = f.Fetch(t.Context(), r, "", dir)
		must(t, err)
		d.sameAs(dir, "")
		if left := tree(t, outside); len(left) > 0 {
			t.Errorf("written through a link: %v", left)
		}
	})
}

// in is the dataset for a test below.
func (d *dataset) in(t *testing.T) *dataset {
	c := *d
	c.t = t
	return &c
}

// spoiling flips a byte of every write.
type spoiling struct{ http.ResponseWriter }

func (s spoiling) Write(b []byte) (int, error) {
	wrong := bytes.Clone(b)
	wrong[len(wrong)/2] ^= 0x55
	return s.ResponseWriter.Write(wrong)
}

// cutting breaks off after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(b []byte) (int, error) {
	if len(b) > c.left {
		_, _ = c.ResponseWriter.Write(b[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

func isPiece(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/piece/") }

func testFaults(t *testing.T, d *dataset, good string) {
	part := func(t *testing.T, where ...string) {
		t.Helper()
		d := d.in(t)
		f, r := d.fetcher(indexdag.FetchOptions{}, where...)
		dir := t.TempDir()
		for _, path := range []string{"big", "a"} {
			_, err := f.Fetch(t.Context(), r, path, dir)
			must(t, err)
		}
		d.sameAs(filepath.Join(dir, "a"), "a")
		if data, err := os.ReadFile(filepath.Join(dir, "big")); err != nil || !bytes.Equal(data, d.files["big"]) {
			t.Errorf("big: %d bytes, %v", len(data), err)
		}
	}
	whole := func(t *testing.T, where ...string) {
		t.Helper()
		d := d.in(t)
		f, r := d.fetcher(indexdag.FetchOptions{}, where...)
		dir := t.TempDir()
		got, err := f.Fetch(t.Context(), r, "", dir)
		if err != nil {
			t.Fatalf("%v; %+v", err, got.Failed)
		}
		d.sameAs(dir, "")
	}
	t.Run("a place of wrong bytes", func(t *testing.T) {
		wrong := d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(spoiling{w}, r) }).URL
		whole(t, wrong, good)
		f, r := d.in(t).fetcher(indexdag.FetchOptions{}, good)
		bad, err := indexdag.OpenPlace(wrong, nil)
		must(t, err)
		alone, err := indexdag.NewFetcher([]indexdag.Place{bad}, indexdag.FetchOptions{})
		must(t, err)
		dir := t.TempDir()
		got, err := alone.Fetch(t.Context(), r, "big", dir)
		if !fault.Is(err, fault.Unavailable) || got.Failed != 1 || len(tree(t, dir)) != 0 {
			t.Errorf("%+v, %v, %d left", got, err, len(tree(t, dir)))
		}
		_, err = f.Fetch(t.Context(), r, "big", dir)
		must(t, err)
	})
	t.Run("cut connections", func(t *testing.T) {
		whole(t, d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isPiece(r) {
				w = &cutting{w, 700_000}
			}
			next.ServeHTTP(w, r)
		}).URL)
	})
	t.Run("no ranges", func(t *testing.T) {
		part(t, d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isPiece(r) {
				r.Header.Del("Range")
			}
			next.ServeHTTP(w, r)
		}).URL, good)
	})
	t.Run("wrong ranges", func(t *testing.T) {
		part(t, d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isPiece(r) && r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=7-")
			}
			next.ServeHTTP(w, r)
		}).URL, good)
	})
	t.Run("a place that is gone", func(t *testing.T) {
		gone := d.serve(nil)
		gone.Close()
		part(t, gone.URL, good)
	})
	t.Run("a place that is busy", func(t *testing.T) {
		var n atomic.Int64
		part(t, d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isPiece(r) && n.Add(1)%3 == 1 {
				http.Error(w, "come again", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		}).URL)
	})
	t.Run("an old server", func(t *testing.T) {
		part(t, d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isPiece(r) && !strings.HasPrefix(r.URL.Path, "/piece/baga") {
				http.Error(w, "what is this CID?", http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, r)
		}).URL)
	})
	t.Run("one rotten block", func(t *testing.T) {
		d := d.in(t)
		dir := d.store()
		file := filepath.Join(dir, d.names[1].String()+".car")
		car := bytes.Clone(d.pieces[d.names[1].String()])
		car[bytes.Index(car, d.files["big"][5*mib:5*mib+64])] ^= 1
		must(t, os.WriteFile(file, car, 0o600))
		f, r := d.fetcher(indexdag.FetchOptions{}, dir)
		out := t.TempDir()
		got, err := f.Fetch(t.Context(), r, "", out)
		if got.Failed != 2 || !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "wrong bytes") {
			t.Errorf("%d failed: %v", got.Failed, err)
		}
		_, err = os.Stat(filepath.Join(out, "big"))
		if err == nil {
			t.Error("a file with a rotten block is there")
		}
		part(t, dir, good)
	})
	t.Run("a missing piece", func(t *testing.T) {
		d := d.in(t)
		dir := d.store()
		must(t, os.Remove(filepath.Join(dir, d.names[2].String()+".car")))
		f, r := d.fetcher(indexdag.FetchOptions{}, dir)
		got, err := f.Fetch(t.Context(), r, "", t.TempDir())
		if got.Failed == 0 || got.Files == 0 || got.Failed+got.Files != int64(len(d.files)) || !fault.Is(err, fault.NotFound) {
			t.Errorf("%d failed, %d there: %v", got.Failed, got.Files, err)
		}
		for _, failure := range got.Failures {
			if !strings.Contains(failure.Err.Error(), "no ") {
				t.Errorf("%q: %v", failure.Path, failure.Err)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		var n atomic.Int64
		ctx, stop := contextWithCancel(t)
		url := d.serve(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if n.Add(1) == 12 {
				stop()
			}
			next.ServeHTTP(w, r)
		}).URL
		d := d.in(t)
		f, r := d.fetcher(indexdag.FetchOptions{}, url)
		dir := t.TempDir()
		if _, err := f.Fetch(ctx, r, "", dir); err == nil {
			t.Error("complete although it was interrupted")
		}
		for path := range tree(t, dir) {
			if strings.Contains(path, ".firth-get-") {
				t.Errorf("%q is left", path)
			}
		}
		_, err := f.Fetch(t.Context(), r, "", dir)
		must(t, err)
		d.sameAs(dir, "")
	})
}
