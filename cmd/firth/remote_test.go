package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// command runs a command line in this process.
func command(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, []string{"FIRTH_HOME=" + t.TempDir()}, stdio{strings.NewReader("from stdin"), &stdout, &stderr})
	return stdout.String(), stderr.String(), code
}

// answering is a node that answers everything with h.
func answering(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// A file that changes while it is sent ends the command, whose error is about
// the file and not about the node; the node does not see the upload end well.
func TestAddNoticesChange(t *testing.T) {
	for name, tree := range map[string]bool{"a file": false, "a tree": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "log")
			if err := os.WriteFile(path, make([]byte, 8<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			whole := false
			api := answering(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
				if err := os.Truncate(path, 9<<20); err != nil {
					t.Error(err)
				}
				_, err := io.Copy(io.Discard, r.Body)
				whole = err == nil
			})
			what := path
			if tree {
				what = dir
			}
			out, errs, code := command(t, "add", what, "--api", api, "--token", "x")
			if code != fault.Conflict.ExitCode() || out != "" || whole || strings.Contains(errs, api) ||
				!strings.Contains(errs, path+": changed while it was read") {
				t.Errorf("code %d, out %q, err %q, whole %v", code, out, errs, whole)
			}
		})
	}
}

// What a node, or something that is none, may do to a caller.
func TestNodeFaults(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
		say    string
	}{
		"unknown token": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, fault.Forbidden, "--token"},
		"no node": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello</html>") },
			fault.Unavailable, "no Firth node"},
		"breaks off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable, "broke off"},
		"is full":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(507) }, fault.Exhausted, "Insufficient Storage"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs, code := command(t, "ls", "--api", answering(t, c.answer), "--token", "x")
			if code != c.kind.ExitCode() || !strings.Contains(errs, c.say) {
				t.Errorf("code %d, %q", code, errs)
			}
		})
	}
}

// No word of a node moves the cursor or adds a line to a table.
func TestTextFromElsewhereIsPlain(t *testing.T) {
	api := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"items":[{"id":1,"name":"a\u001b[2Jb\nc","state":"failed","reason":"tab\there"}]}`)
	})
	out, _, code := command(t, "ls", "--api", api, "--token", "x")
	if code != 0 || strings.Count(out, "\n") != 2 || strings.ContainsAny(out, "\x1b\t") || !strings.Contains(out, `a\x1b[2Jb\nc`) {
		t.Errorf("%d %q", code, out)
	}
}

// carOf stores two files in a directory and returns root and blocks.
func carOf(t *testing.T) (cid.Cid, []blocks.Block) {
	t.Helper()
	store, err := block.Open(t.Context(), t.TempDir(), block.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	profile, err := dag.ProfileNamed("")
	if err != nil {
		t.Fatal(err)
	}
	tree := dag.NewTree(store, profile)
	for _, name := range []string{"one", "two"} {
		if _, err := tree.AddFile(t.Context(), name, strings.NewReader("this is "+name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := tree.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []blocks.Block
	if err := dag.Walk(t.Context(), store, root.Cid, func(c cid.Cid, data []byte) error {
		b, err := blocks.NewBlockWithCid(bytes.Clone(data), c)
		all = append(all, b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return root.Cid, all
}

// What comes back is whole and true, or nothing of it is there.
func TestGetTrustsNothing(t *testing.T) {
	root, all := carOf(t)
	car := func(bs []blocks.Block) []byte {
		var b bytes.Buffer
		err := dag.WriteCAR(context.Background(), &b, []cid.Cid{root}, func(yield func(blocks.Block, error) bool) {
			for _, x := range bs {
				if !yield(x, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	good := car(all)
	bad := bytes.Replace(good, []byte("this is two"), []byte("this is too"), 1)
	other := "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	for name, c := range map[string]struct {
		car       []byte
		root, ref string
		cut       bool
		code      int
	}{
		"true":           {good, root.String(), "1", false, 0},
		"altered":        {bad, root.String(), "1", false, fault.Invalid.ExitCode()},
		"a block short":  {car(all[1:]), root.String(), "1", false, fault.Unavailable.ExitCode()},
		"the root short": {car(all[:len(all)-1]), root.String(), "1", false, fault.Unavailable.ExitCode()},
		"cut off":        {good[:len(good)-20], root.String(), "1", true, fault.Unavailable.ExitCode()},
		"another's root": {good, root.String(), other, false, fault.Unavailable.ExitCode()},
		"another's CAR":  {good, other, other, false, fault.Unavailable.ExitCode()},
		"no CID":         {good, "../../etc", "1", false, fault.Unavailable.ExitCode()},
	} {
		t.Run(name, func(t *testing.T) {
			api := answering(t, func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, "/car") {
					fmt.Fprintf(w, `{"id":1,"name":"../../x","cid":%q,"state":"stored"}`, c.root)
					return
				}
				_, _ = w.Write(c.car)
				if c.cut {
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
			})
			dir := t.TempDir()
			_, errs, code := command(t, "get", c.ref, "-o", dir, "--api", api, "--token", "x")
			if code != c.code {
				t.Errorf("code %d, %q", code, errs)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || (len(entries) == 1) != (c.code == 0) {
				t.Errorf("left behind: %v, %v", entries, err)
			}
			if c.code == 0 && entries[0].Name() != "x" {
				t.Errorf("written as %q", entries[0].Name())
			}
		})
	}
}

// A place that fills up between the first look and the end stays as it is.
func TestPlaceOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, p := range []string{from, to} {
		if err := os.WriteFile(p, []byte(p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := place(from, to); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if raw, err := os.ReadFile(to); err != nil || string(raw) != to {
		t.Errorf("%q, %v", raw, err)
	}
	if err := place(from, filepath.Join(dir, "new")); err != nil {
		t.Error(err)
	}
}
