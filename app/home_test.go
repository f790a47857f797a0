package app

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

func openHome(t *testing.T, dir string) *Home {
	t.Helper()
	h, err := OpenHome(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestHomeIsForOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "home")
	h := openHome(t, dir)
	if _, err := OpenHome(dir); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a home in use was opened: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	openHome(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestHomeMustBeADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHome(file); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestSecretIsKept(t *testing.T) {
	dir := t.TempDir()
	h := openHome(t, dir)
	first, err := h.secret("")
	if err != nil || len(first) < 16 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	if again, err := secretIn(dir, ""); err != nil || string(again) != string(first) {
		t.Errorf("another secret the second time: %v", err)
	}
	if given, err := h.secret("configured"); err != nil || string(given) != "configured" {
		t.Errorf("%q, %v", given, err)
	}
	private(t, h.Path("secret"))
	other, err := secretIn(t.TempDir(), "")
	if err != nil || string(other) == string(first) {
		t.Errorf("two homes share a secret: %v", err)
	}
	if err := os.WriteFile(h.Path("secret"), []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.secret(""); !fault.Is(err, fault.Invalid) {
		t.Errorf("a secret cut short was taken: %v", err)
	}
}

func private(t *testing.T, path string) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
}

func TestAccess(t *testing.T) {
	dir := t.TempDir()
	h := openHome(t, dir)
	if _, err := ReadAccess(dir); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "firth serve") {
		t.Errorf("%v", err)
	}
	if err := h.writeAccess("http://127.0.0.1:1", "firth_first"); err != nil {
		t.Fatal(err)
	}
	private(t, h.Path(accessFile))
	if err := h.writeAccess("http://127.0.0.1:2", ""); err != nil { // a later start knows no token
		t.Fatal(err)
	}
	if a, err := ReadAccess(dir); err != nil || a != (Access{API: "http://127.0.0.1:2", Token: "firth_first"}) {
		t.Errorf("%+v, %v", a, err)
	}
	if err := os.WriteFile(h.Path(accessFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAccess(dir); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("%v", err)
	}
}

// A file is replaced whole, and nothing is left lying about.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"long enough", "short"} {
		if err := writeFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != text {
			t.Errorf("%q, %v", raw, err)
		}
	}
	if err := writeFile(filepath.Join(dir, "absent", "f"), nil); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	if names, err := fs.Glob(os.DirFS(dir), "*"); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestOpenKeystoreOfTheHome(t *testing.T) {
	c := Config{Home: filepath.Join(t.TempDir(), "new")}
	if _, err := OpenKeystore(c); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeystore(c); err != nil { // the secret was kept
		t.Fatal(err)
	}
	c.Secret = "another secret altogether"
	if _, err := OpenKeystore(c); !fault.Is(err, fault.Forbidden) {
		t.Errorf("%v", err)
	}
}
