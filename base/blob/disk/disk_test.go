package disk_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/blob/blobtest"
	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/fault"
)

func open(t *testing.T, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestConformanceOfTemporary(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s, err := disk.OpenTemporary(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// files returns the names of all files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNothingIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Put(t.Context(), "a/b", io.MultiReader(strings.NewReader("half"), brokenReader{})); err == nil {
		t.Fatal("a broken reader was stored")
	}
	if _, err := s.Put(t.Context(), "c/d/e", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "c/d/e"); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files left: %q", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("folders left: %v", entries)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOpenSweepsTheDeadNotTheLiving(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	dead := filepath.Join(dir, "+temp", "put-1")
	if err := os.WriteFile(dead, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Put(t.Context(), "alive", r)
		done <- err
	}()
	if _, err := w.Write([]byte("first ")); err != nil { // the file is open once this is read
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("the dead file is still there: %v", err)
	}
	_, _ = w.Write([]byte("second"))
	_ = w.Close()
	if err := <-done; err != nil {
		t.Fatalf("a Put during another process's Open: %v", err)
	}
	if st, err := s.Stat(t.Context(), "alive"); err != nil || st.Size != 12 {
		t.Errorf("Stat = %+v, %v", st, err)
	}
}

func TestFullDiskNamesKeyAndDirectory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	full := readErr{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}}
	_, err := s.Put(t.Context(), "piece/1.car", full)
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "piece/1.car") || !strings.Contains(err.Error(), dir) {
		t.Errorf("error = %v", err)
	}
}

type readErr struct{ err error }

func (r readErr) Read([]byte) (int, error) { return 0, r.err }

func TestLocalPath(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Put(t.Context(), "a/b", strings.NewReader("text")); err != nil {
		t.Fatal(err)
	}
	path, ok := s.LocalPath("a/b")
	if data, err := os.ReadFile(path); !ok || err != nil || string(data) != "text" {
		t.Errorf("LocalPath = %q, %v: %q, %v", path, ok, data, err)
	}
	if _, ok := s.LocalPath("../b"); ok {
		t.Error("a path outside was given")
	}
}

func FuzzKeyStaysInside(f *testing.F) {
	for _, key := range []string{"a", "a/b", "../a", "a/../../b", "a/./b", "..", "+temp/x", "a\x00"} {
		f.Add(key)
	}
	s, err := disk.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	root, _ := s.LocalPath("x")
	root = filepath.Dir(root) + string(filepath.Separator)
	f.Fuzz(func(t *testing.T, key string) {
		path, ok := s.LocalPath(key)
		if ok && (!strings.HasPrefix(filepath.Clean(path), root) || strings.HasPrefix(path, root+"+temp")) {
			t.Errorf("key %q leads to %q", key, path)
		}
	})
}

func TestMove(t *testing.T) {
	s := open(t, t.TempDir())
	for _, key := range []string{"a/1", "b"} {
		if _, err := s.Put(t.Context(), key, strings.NewReader(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Move(t.Context(), "a/1", "b"); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "b", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "a/1" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.Move(t.Context(), "a/1", "c"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an absent object: %v", err)
	}
}
