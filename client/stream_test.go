package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firth-project/firth/client"
)

// zeros is a reader of n zero bytes that holds none of them.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAddFileStreams(t *testing.T) {
	const size = 64 << 20
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || r.URL.RawQuery != "name=big+file&profile=kubo" || r.Method != http.MethodPost {
			t.Errorf("%v, %s %s", err, r.Method, r.URL)
		}
		reply(w, http.StatusCreated, client.Content{ID: 1, Size: n})
	})
	got, err := c.AddFile(t.Context(), "big file", zeros(size), client.AddOptions{Profile: "kubo"})
	if err != nil || got.Size != size {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestAddFileEndsWithItsReader(t *testing.T) {
	broken := errors.New("disk on fire")
	c := node(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("a broken upload looked whole to the node")
		}
	})
	r := io.MultiReader(zeros(1<<20), errReader{broken})
	if _, err := c.AddFile(t.Context(), "x", r, client.AddOptions{}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// A refusal is heard although the body was never read.
func TestAddFileHearsARefusal(t *testing.T) {
	c := node(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	_, err := c.AddFile(t.Context(), "x", zeros(1<<30), client.AddOptions{})
	if client.KindOf(err) != client.KindForbidden {
		t.Errorf("%v", err)
	}
	_, err = c.AddTree(t.Context(), "x", client.LocalTree("."), client.AddOptions{})
	if client.KindOf(err) != client.KindForbidden {
		t.Errorf("%v", err)
	}
}

// part is a part of the form as the contract describes it.
type part struct{ path, media, body string }

func readForm(r *http.Request) (out []part, err error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	form := multipart.NewReader(r.Body, params["boundary"])
	for {
		p, err := form.NextPart()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		_, disposition, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if err != nil {
			return out, err
		}
		body, err := io.ReadAll(p)
		if err != nil {
			return out, err
		}
		out = append(out, part{disposition["filename"], p.Header.Get("Content-Type"), string(body)})
	}
}

func TestAddTreeKeepsPaths(t *testing.T) {
	awkward := []string{"a/b.txt", `qu"ote\back.txt`, "ü/naïve 名.txt", "new\nline", "semi;colon=1", "100%25", " lead", "tab\there"}
	var entries []client.Entry
	var want []part
	for _, p := range awkward {
		entries = append(entries, client.Entry{Path: p, Body: strings.NewReader("body of " + p)})
		want = append(want, part{p, "application/octet-stream", "body of " + p})
	}
	entries = append(entries, client.Entry{Path: "empty", Kind: client.Directory}, client.Entry{Path: "l", Kind: client.Symlink, Target: "a/b.txt"})
	want = append(want, part{"empty", client.DirectoryType, ""}, part{"l", client.SymlinkType, "a/b.txt"})
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := readForm(r)
		if err != nil || !slices.Equal(got, want) || r.URL.RawQuery != "name=n&tree=true" {
			t.Errorf("%v\n got %q\nwant %q", err, got, want)
		}
		reply(w, http.StatusCreated, client.Content{ID: 2})
	})
	if got, err := c.AddTree(t.Context(), "n", each(entries, nil), client.AddOptions{}); err != nil || got.ID != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
}

func each(entries []client.Entry, last error) iter.Seq2[client.Entry, error] {
	return func(yield func(client.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
		if last != nil {
			yield(client.Entry{}, last)
		}
	}
}

// An error among the entries must not look like the end of the tree.
func TestAddTreeEndsWithItsEntries(t *testing.T) {
	broken := errors.New("unreadable")
	c := node(t, func(_ http.ResponseWriter, r *http.Request) {
		if got, err := readForm(r); err == nil {
			t.Errorf("a broken tree looked whole to the node: %q", got)
		}
	})
	entries := []client.Entry{{Path: "a", Body: strings.NewReader("a")}}
	if _, err := c.AddTree(t.Context(), "n", each(entries, broken), client.AddOptions{}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	entries = append(entries, client.Entry{Path: "b", Body: errReader{broken}})
	_, err := c.AddTree(t.Context(), "n", each(entries, nil), client.AddOptions{})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "send b") {
		t.Errorf("%v", err)
	}
}

func TestLocalTree(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "d", "empty"), 0o755),
		os.WriteFile(filepath.Join(dir, "d", "f"), []byte("1"), 0o600),
		os.WriteFile(filepath.Join(dir, ".hidden"), []byte("2"), 0o600),
		os.Symlink("../nowhere", filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for e, err := range client.LocalTree(dir) {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprint(e.Path, " ", e.Kind, " ", e.Target)
		if e.Kind == client.File {
			body, err := io.ReadAll(e.Body)
			if err != nil {
				t.Fatal(err)
			}
			line += string(body)
		}
		got = append(got, line)
	}
	want := []string{".hidden 0 2", "d 1 ", "d/empty 1 ", "d/f 0 1", "link 2 ../nowhere"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range client.LocalTree(dir) {
		break
	}
	for _, err := range client.LocalTree(filepath.Join(dir, "absent")) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
}

// A file that is written to while it is read must not pass for a whole one.
func TestLocalTreeNoticesChange(t *testing.T) {
	whole := strings.Repeat("0123456789", 10_000)
	for name, change := range map[string]func(path string) error{
		"grows":      func(p string) error { return os.WriteFile(p, []byte(whole+"more"), 0o600) },
		"shrinks":    func(p string) error { return os.Truncate(p, 50) },
		"is emptied": func(p string) error { return os.Truncate(p, 0) },
		"is touched": func(p string) error { return os.Chtimes(p, timeZero, timeZero.AddDate(30, 0, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			for e, err := range client.LocalTree(filepath.Dir(path)) {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(e.Body, make([]byte, 10)); err != nil {
					t.Fatal(err)
				}
				if err := change(path); err != nil {
					t.Fatal(err)
				}
				_, err = io.Copy(io.Discard, e.Body)
				if !errors.Is(err, client.ErrChanged) || !strings.Contains(err.Error(), path) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

func TestContentCAR(t *testing.T) {
	body := bytes.Repeat([]byte("car"), 1<<20)
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/v1/contents/7/car?provider=any" {
			t.Errorf("asked for %s", r.RequestURI)
		}
		w.Header().Set("Trailer", "X-Firth-Provider")
		_, _ = w.Write(body)
		w.Header().Set("X-Firth-Provider", "f01001")
	})
	d, err := c.ContentCAR(t.Context(), "7", client.AnyProvider)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := io.ReadAll(d)
	if err != nil || !bytes.Equal(got, body) || d.Provider() != "f01001" {
		t.Errorf("%d bytes, %v, provider %q", len(got), err, d.Provider())
	}
}

// A node that dies in the middle must not look like one that finished.
func TestContentCARCutOff(t *testing.T) {
	c := node(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1<<16))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	d, err := c.ContentCAR(t.Context(), "7", "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := io.Copy(io.Discard, d); err == nil {
		t.Error("a cut-off download ended without an error")
	}
}

func TestPieceBytes(t *testing.T) {
	body := []byte("0123456789")
	honest := true
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		if !honest {
			r.Header.Del("Range")
		}
		http.ServeContent(w, r, "", timeZero, bytes.NewReader(body))
	})
	for _, tc := range []struct {
		off, n int64
		want   string
	}{{0, -1, "0123456789"}, {0, 4, "0123"}, {4, -1, "456789"}, {4, 2, "45"}, {9, 9, "9"}, {3, 0, ""}} {
		r, err := c.PieceBytes(t.Context(), "baga", tc.off, tc.n)
		if err != nil {
			t.Fatalf("%+v: %v", tc, err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(got) != tc.want {
			t.Errorf("%+v: %q, %v", tc, got, err)
		}
	}
	if _, err := c.PieceBytes(t.Context(), "baga", 10, -1); client.KindOf(err) != client.KindInvalid {
		t.Errorf("beyond the end: %v", err)
	}
	honest = false
	if _, err := c.PieceBytes(t.Context(), "baga", 4, 2); err == nil {
		t.Error("the whole piece was taken for a range of it")
	}
}
