package source_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// Paths that are longer than the system takes at once are walked and read all
// the same.
func TestLocalLongPaths(t *testing.T) {
	root := t.TempDir()
	r, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 250)+"/", 35), "/")
	if err := r.MkdirAll(long, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteFile(long+"/deep down", []byte("found"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Symlink("deep down", long+"/link"); err != nil {
		t.Fatal(err)
	}
	s := open(t, root, nil)
	items := walk(t, s, "", source.Filter{})
	last := items[len(items)-2:]
	if len(items) != 37 || last[0].Path != long+"/deep down" || last[1].Target != "deep down" {
		t.Fatalf("%d items, the last %.100q", len(items), last[1].Path)
	}
	if got := readAll(t, s, last[0]); string(got) != "found" {
		t.Errorf("read %q", got)
	}
	if got := walk(t, s, last[0].Path, source.Filter{}); len(got) != 1 {
		t.Errorf("behind it: %d items", len(got))
	}
	// No step of the way is through a link.
	up := long[:251*20-1]
	if err := r.Rename(up, "moved"); err != nil {
		t.Fatal(err)
	}
	if err := r.Symlink(strings.Repeat("../", 19)+"moved", up); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), last[0].Path, ""); !fault.Is(err, fault.Conflict) {
		t.Errorf("through a link: %v", err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Error(err)
	}
}

// A tree without end is walked to a limit that is told.
func TestLocalEndlessTree(t *testing.T) {
	root := t.TempDir()
	r, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.MkdirAll(strings.TrimSuffix(strings.Repeat("d/", 2010), "/"), 0o755); err != nil {
		t.Fatal(err)
	}
	items := walk(t, open(t, root, nil), "", source.Filter{})
	last := items[len(items)-1]
	if len(items) != 2001 || !strings.Contains(last.Unreadable, "deeper than 2000") {
		t.Errorf("%d items, the last is unreadable: %q", len(items), last.Unreadable)
	}
}

// Files of the kernel do not say how long they are: none passes for empty.
func TestLocalSizeLies(t *testing.T) {
	for _, root := range []string{"/proc/sys/kernel/random", "/proc/self", "/sys/kernel"} {
		if _, err := os.Stat(root); err != nil {
			continue
		}
		s := open(t, root, nil)
		items, said := 0, 0
		err := s.Walk(t.Context(), "", source.Filter{Exclude: []string{"*/*/**", "mem", "pagemap", "clear_refs"}}, func(i source.Item) error {
			if i.Kind != source.KindFile || i.Unreadable != "" || strings.Contains(i.Path, "/") {
				return nil
			}
			items++
			f, err := s.Open(t.Context(), i.Path, i.ID())
			if err != nil {
				said++
				return nil
			}
			defer f.Close()
			body, _ := os.ReadFile(filepath.Join(root, i.Path))
			b := make([]byte, i.Size+1)
			n, err := f.ReadAt(b, 0)
			if err == io.EOF && int64(n) == i.Size && len(body) != n {
				return fmt.Errorf("%s: has %d bytes and passes for %d", i.Path, len(body), n)
			}
			return nil
		})
		if err != nil || strings.HasPrefix(root, "/proc") && said == 0 {
			t.Errorf("%s: %d files, %d refused: %v", root, items, said, err)
		}
	}
	s := open(t, "/proc/sys/kernel", nil)
	if _, err := s.Open(t.Context(), "ostype", ""); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "says that it is empty") {
		t.Errorf("ostype: %v", err)
	}
}

// Directories that come and go while the tree is walked.
func TestLocalTreeMoves(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"a/x": "x", "b/y": "y", "c/z": "z", "d": "file"})
	var told []string
	err := open(t, root, nil).Walk(t.Context(), "", source.Filter{}, func(i source.Item) error {
		told = append(told, i.Key())
		if i.Unreadable != "" {
			told[len(told)-1] += ": " + i.Unreadable
		}
		if i.Path == "a/x" {
			plant(t, root, map[string]string{"c/more": "", "a/x2": "too late"})
			return os.RemoveAll(filepath.Join(root, "b"))
		}
		return nil
	})
	want := []string{"a/", "a/x", "b/: gone: no such file or directory", "c/", "c/more", "c/z", "d"}
	if err != nil || !slices.Equal(told, want) {
		t.Errorf("told %q, %v", told, err)
	}
}

// A mount point in a tree that holds the tree itself is walked once.
func TestLocalMountLoop(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"a/loop/": "", "f": "f"})
	loop := filepath.Join(root, "a", "loop")
	if err := syscall.Mount(root, loop, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(loop, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	want := []string{"a/", "a/loop/", "a/loop/a/", "a/loop/a/loop/", "a/loop/f", "f"}
	if got := keys(walk(t, open(t, root, nil), "", source.Filter{})); !slices.Equal(got, want) {
		t.Errorf("keys %q", got)
	}
}

// A mount whose server does not answer costs its own name, and time.
func TestLocalMountHangs(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"a": "1", "dir/hangs/": "", "dir/z": "2", "z": "3"})
	at := filepath.Join(root, "dir", "hangs")
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	how := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server.Fd())
	if err := syscall.Mount("silent", at, "fuse", 0, how); err != nil {
		server.Close()
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		server.Close() // whoever waits gets an error now
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	options := map[string]string{"timeout": "100ms"}
	s := open(t, root, options)
	items := walk(t, s, "", source.Filter{})
	if got, want := keys(items), []string{"a", "dir/", "dir/hangs", "dir/z", "z"}; !slices.Equal(got, want) {
		t.Fatalf("keys %q", got)
	}
	if why := items[2].Unreadable; !strings.Contains(why, "no answer for 100ms") {
		t.Errorf("unreadable: %q", why)
	}
	began := time.Now()
	if _, err := source.Open(t.Context(), source.Spec{URL: at, Options: options}); !fault.Is(err, fault.Unavailable) || time.Since(began) > time.Minute {
		t.Errorf("as a source: %v", err)
	}
}
