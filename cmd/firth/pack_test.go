package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packed runs `firth pack --json` and returns its exit code, its last line and
// what it says of errors.
func packed(t *testing.T, args ...string) (code int, last packedDataset, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"pack", "--json"}, args...), nil, stdio{strings.NewReader(""), &out, &errs})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var line struct{ Dataset packedDataset }
	if code == 0 || code == skippedCode {
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
			t.Fatalf("last line %q: %v", lines[len(lines)-1], err)
		}
	}
	return code, line.Dataset, errs.String()
}

// write makes files of a folder.
func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What cannot be packed as asked is refused at once, with the code that the
// help promises and words that name the remedy.
func TestPackRefused(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := write(t, t.TempDir(), map[string]string{"a": "1"})
	inside, link := filepath.Join(dir, "cars"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{dir, "--piece-size", "0"}, 2, "piece size 0: must be a power of two from 4 MiB to 64 GiB"},
		{[]string{dir, "--piece-size", "3GiB"}, 2, "near are 2 GiB and 4 GiB"},
		{[]string{dir, "--include", "["}, 2, "is not closed"},
		{[]string{dir, "--exclude", ""}, 2, "matches nothing"},
		{[]string{dir, "--out", inside}, 2, "lies in what is packed"},
		{[]string{dir, "--out", filepath.Join(link, "x", "y")}, 2, "lies in what is packed"},
		{[]string{dir, "--home", inside}, 2, "lies in what is packed"},
		{[]string{dir, "--out", filepath.Join(dir, "a")}, 2, "not a directory"},
		{[]string{filepath.Join(dir, "none")}, 3, "there is no such file"},
	} {
		code, _, said := packed(t, test.args...)
		if code != test.code || !strings.Contains(said, test.says) {
			t.Errorf("pack %q: code %d, %q", test.args[1:], code, said)
		}
	}
}

// A source that holds the temporary directory is packed without the home that
// is in it.
func TestPackAroundHome(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{"a": "1", "t[m]p/b": "22"})
	t.Setenv("TMPDIR", filepath.Join(dir, "t[m]p"))
	code, last, said := packed(t, dir, "--piece-size", "4MiB")
	if code != 0 || last.Files != 2 || last.Bytes != 3 {
		t.Errorf("code %d, %+v, %q", code, last, said)
	}
}

// The sums at the end are of what is packed, not of what was found.
func TestPackSums(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := write(t, t.TempDir(), map[string]string{"a": "1", "b/c": "22"})
	t.Chdir(dir) // the names of sockets are short
	socket, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	code, last, said := packed(t, dir, "--piece-size", "4MiB")
	if code != skippedCode || last.Files != 2 || last.Bytes != 3 || len(last.Skipped) != 1 || last.Skipped[0].Reason != "is a socket" {
		t.Errorf("code %d, %+v, %q", code, last, said)
	}
}

func TestNameOf(t *testing.T) {
	for url, want := range map[string]string{
		"/": "root", "/a/b": "b", "/data/2024": "dataset 2024", "/a/ b ": "b", "/a/x\ny": "x_y", "/a/\xff": "_",
		"/" + strings.Repeat("ä", 127): strings.Repeat("ä", 100), "s3:bucket/pre": "pre", "s3:bucket": "s3:bucket", "/a/\n": "_",
	} {
		if got := nameOf(url); got != want {
			t.Errorf("%q: %q", url, got)
		}
	}
}

// Bytes that are no text would be taken for marks by the table's writer.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a", "a\tb": `a\tb`, "\xff\xfe": `\xff\xfe`, "x\x80é": `x\x80é`, "\uFFFD": "\uFFFD", "\x1b[m\xff": `\x1b[m\xff`,
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
