package test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noise is n bytes that follow from the seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(b) // never fails
	return b
}

// plant writes files, by path: a path that ends in / is a directory, a text
// that begins with -> is a symlink.
func plant(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	made := map[string]bool{}
	for name, text := range files {
		path := filepath.Join(dir, name)
		parent := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			parent = path
		}
		var err error
		if !made[parent] {
			err, made[parent] = os.MkdirAll(parent, 0o755), true
		}
		switch target, link := strings.CutPrefix(text, "->"); {
		case err != nil || parent == path:
		case link:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// curious is a tree with everything that a careless tool trips over.
func curious(t *testing.T) string {
	t.Helper()
	return plant(t, filepath.Join(t.TempDir(), "curious tree"), map[string]string{
		"empty":                         "",
		"empty directory/":              "",
		".hidden/.file":                 "seen",
		"a name with  spaces ":          "1",
		"line\nbreak\tand tab":          "2",
		"invalid \xff\xfe UTF-8":        "3",
		"\"quotes\" 'and' \\backslash%": "4",
		"=?utf-8?q?not_mail?=":          "5",
		"ünïcödé 文件":                    "6",
		"u\u0308 decomposed":            "7",
		strings.Repeat("n", 255):        "8",
		"large":                         string(noise(1, 3<<20+17)),
		"same":                          string(noise(1, 3<<20+17)),
		"loop/self":                     "->.",
		"loop/up":                       "->../loop",
		"loop/me":                       "->me",
		"dangling":                      "->nowhere/\xff",
		"absolute":                      "->/etc/hostname",
		"-rf":                           "9",
		"con: aux? <|>*":                "10",
	})
}

// deep is a directory in a directory, depth times, with a file at the end.
func deep(t *testing.T, depth int) string {
	t.Helper()
	return plant(t, filepath.Join(t.TempDir(), "deep"), map[string]string{strings.Repeat("d/", depth) + "bottom": "found"})
}

// wide is a directory of many small files.
func wide(t *testing.T, entries int) string {
	t.Helper()
	files := map[string]string{}
	for i := range entries {
		files[fmt.Sprintf("entry %05d", i)] = fmt.Sprint(i)
	}
	return plant(t, filepath.Join(t.TempDir(), "wide"), files)
}

// snapshot reads a file or tree: kind and bytes by path.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch mode := d.Type(); {
		case mode.IsDir():
			seen[rel] = "directory"
		case mode&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			seen[rel] = "->" + target
			return err
		default:
			raw, err := os.ReadFile(path)
			seen[rel] = "file " + string(raw)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// sameTree compares two files or trees in everything we promise to keep.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	a, b := snapshot(t, want), snapshot(t, got)
	for path, was := range a {
		if is, ok := b[path]; !ok || !bytes.Equal([]byte(is), []byte(was)) {
			t.Errorf("%q: was %.60q, came back (%v) as %.60q", path, was, ok, is)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			t.Errorf("%q: came back and never was", path)
		}
	}
}
