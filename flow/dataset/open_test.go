package dataset_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/flow/dataset"
)

// A node that runs on prepares what the path of a source names then: a disk that
// was mounted, a tree that was put in place of another, a link that was turned.
func TestSourceIsWhatItsPathNames(t *testing.T) {
	h := build(t, dbtest.SQLite)
	defer h.run()()
	top := t.TempDir()
	at := filepath.Join(top, "data")
	tree := func(name string) string {
		dir := filepath.Join(top, name)
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), noise(uint64(len(name)), 1000), 0o600))
		return dir
	}
	found := func(p dataset.Preparation) (names []string) {
		for _, r := range h.files(p.ID, dataset.Query{}) {
			names = append(names, r.Path)
		}
		return names
	}
	must(t, os.Rename(tree("one"), at))
	d := h.create("d", at, small())
	for _, name := range []string{"", "moved", "a link", "another link"} {
		want := []string{"one"}
		if name != "" {
			dir := tree(name)
			must(t, os.Rename(at, filepath.Join(top, "before "+name)))
			if name == "moved" {
				must(t, os.Rename(dir, at))
			} else {
				must(t, os.Symlink(dir, at))
			}
			want = []string{name}
		}
		if got := found(h.prepare(d)); !slices.Equal(got, want) {
			t.Errorf("%q: found %v, want %v", name, got, want)
		}
	}
}

// A disk that is mounted is read at once, by whoever had found its mount point
// empty a moment before.
func TestSourceComesBack(t *testing.T) {
	h := build(t, dbtest.SQLite)
	defer h.run()()
	at := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(at, 0o700))
	must(t, os.WriteFile(filepath.Join(at, "a"), noise(1, 300_000), 0o600))
	d := h.create("d", at, small())
	pieces := h.dataPieces(h.prepare(d).ID)
	must(t, os.Rename(at, at+".away"))
	must(t, os.MkdirAll(filepath.Join(at, "other"), 0o700))
	h.prepare(d)
	must(t, os.RemoveAll(at))
	must(t, os.Rename(at+".away", at))
	shelf{}.read(h, pieces...)
}

// A mount point whose disk is away is waited for: nothing would take the place
// of everything. A directory that is empty on purpose says so by another in it.
func TestEmptySourceIsWaitedFor(t *testing.T) {
	t.Run("all of the dataset", func(t *testing.T) { emptySource(t, "") })
	t.Run("a directory of it", func(t *testing.T) { emptySource(t, "videos/new") })
}

func emptySource(t *testing.T, in string) {
	h := build(t, dbtest.SQLite)
	defer h.run()()
	at := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(at, 0o700))
	d := ok(h.data.Create(t.Context(), project, "d", small(), dataset.NewSource{At: in, URL: at}))(t)
	if p := h.prepare(d); p.Files != 0 {
		t.Errorf("%+v", p)
	}
	must(t, os.WriteFile(filepath.Join(at, "a"), noise(1, 300_000), 0o600))
	h.prepare(d)
	must(t, os.Rename(at, at+".away"))
	must(t, os.Mkdir(at, 0o700))
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	until(t, func() bool {
		p = h.preparation(p.ID)
		return p.State == dataset.Complete || p.Attempt > 2 && strings.Contains(p.Reason, "before: its disk is not mounted")
	})
	if p.State == dataset.Complete {
		t.Fatalf("complete without the disk: %+v", p)
	}
	must(t, os.Remove(at))
	must(t, os.Rename(at+".away", at))
	if p = h.complete(p.ID); p.Files != 1 {
		t.Errorf("%+v", p)
	}
	must(t, os.Remove(filepath.Join(at, "a")))
	must(t, os.Mkdir(filepath.Join(at, "nothing"), 0o700))
	if p := h.prepare(d); p.Files != 0 {
		t.Errorf("%+v", p)
	}
}

// A source is read by many while others find something else in its place, and
// its directory is let go of when nobody reads: its disk can be unmounted then.
func TestSourceIsLetGo(t *testing.T) {
	h := build(t, dbtest.SQLite)
	h.hire(h.dir, func(s *dataset.Settings) { s.KeptOpen = time.Millisecond })
	defer h.run()()
	at := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(at, 0o700))
	for i := range 20 {
		must(t, os.WriteFile(filepath.Join(at, string(rune('a'+i))), noise(uint64(i), 300_000), 0o600))
	}
	d := h.create("d", at, small())
	pieces := h.dataPieces(h.prepare(d).ID)
	for range 3 {
		must(t, os.Rename(at, at+".away"))
		must(t, os.MkdirAll(filepath.Join(at, "other"), 0o700))
		h.prepare(d) // which looks
		must(t, os.RemoveAll(at))
		must(t, os.Rename(at+".away", at))
		var reading sync.WaitGroup
		for range 4 {
			reading.Go(func() {
				for _, one := range pieces {
					shelf{}.read(h, one)
				}
			})
		}
		h.prepare(d)
		reading.Wait()
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return // another system, whose open files nobody tells
	}
	until(t, func() bool {
		for _, fd := range ok(os.ReadDir("/proc/self/fd"))(t) {
			if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, at) {
				return false
			}
		}
		return true
	})
}
