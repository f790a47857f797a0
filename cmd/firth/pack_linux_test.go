package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A full disk has the exit code of one, nothing is left on it, and with a home
// the same command goes on once there is room.
func TestPackFull(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, out := t.TempDir(), t.TempDir()
	if err := os.Truncate(write(t, dir, map[string]string{"zeros": ""})+"/zeros", 8<<20); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", out, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(out, 0); err != nil {
			t.Error(err)
		}
	})
	args := []string{dir, "--piece-size", "16MiB", "--no-dedup", "--out", out}
	code, _, said := packed(t, args...)
	if left, err := filepath.Glob(filepath.Join(out, ".*")); code != 6 || !strings.Contains(said, "no space left") || len(left) != 0 || err != nil {
		t.Errorf("code %d, %q; left: %q, %v", code, said, left, err)
	}
	args = append(args, "--home", t.TempDir())
	if code, _, said := packed(t, args...); code != 6 || !strings.Contains(said, "the same command goes on") {
		t.Errorf("code %d, %q", code, said)
	}
	if err := syscall.Mount("none", out, "", syscall.MS_REMOUNT, "size=40m"); err != nil {
		t.Fatal(err)
	}
	if code, last, said := packed(t, args...); code != 0 || last.Bytes != 8<<20 {
		t.Errorf("code %d, %+v, %q", code, last, said)
	}
	if left, err := filepath.Glob(filepath.Join(out, ".*")); len(left) != 0 || err != nil {
		t.Errorf("left: %q, %v", left, err)
	}
}

// A home without room, temporary or not, ends the run with one line that says
// which place it is and what helps, even where not so much as that could be
// written down; and a temporary one is gone.
func TestPackHomeFull(t *testing.T) {
	files, source := map[string]string{}, t.TempDir()
	for i := range 3000 {
		files[fmt.Sprintf("d%02d/a-name-of-some-length-%06d", i/100, i)] = fmt.Sprint(i)
	}
	write(t, source, files)
	place := t.TempDir()
	if err := syscall.Mount("none", place, "tmpfs", 0, "size=1200k"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(place, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", place)
	code, _, said := packed(t, source, "--piece-size", "4MiB")
	if code != 6 || strings.Count(said, "\n") != 1 || !strings.Contains(said, place) || !strings.Contains(said, "set TMPDIR") || strings.Contains(said, "level=") {
		t.Errorf("code %d, %q", code, said)
	}
	if left, err := os.ReadDir(place); len(left) != 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	home := filepath.Join(place, "home")
	code, _, said = packed(t, source, "--piece-size", "4MiB", "--home", home)
	if code != 6 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "--home "+home) || !strings.Contains(said, "make room") {
		t.Errorf("code %d, %q", code, said)
	}
	if err := syscall.Mount("none", place, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if code, last, said := packed(t, source, "--piece-size", "4MiB", "--home", home); code != 0 || last.Files != 3000 {
		t.Errorf("with room: code %d, %+v, %q", code, last, said)
	}
}
