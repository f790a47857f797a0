package dag_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// What is written out and taken in again has the same CID: names that are no
// UTF-8, links that lead nowhere, outside and in circles, empty directories.
func TestExportAndAddPathMirror(t *testing.T) {
	for _, p := range dag.Profiles() {
		s := newStore()
		tr := dag.NewTree(s, small(t, p.Name))
		for _, name := range []string{"plain", "new\nline", "bad\xff\xfeutf8", " spaces  in ", "-dash", "sub/é/e\u0301", strings.Repeat("n", 255), ".hidden/.x"} {
			addTo(t, tr, name, generate(name, 1234))
		}
		for i := range 100 {
			addTo(t, tr, "many/"+seq(i), generate("x", int64(i)))
		}
		for name, target := range map[string]string{"loop/self": "self", "loop/up": "..", "out": "/etc/passwd", "far": "../../../x", "gone": "no\xffwhere"} {
			if _, err := tr.AddSymlink(t.Context(), name, target); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Mkdir("empty/er"); err != nil {
			t.Fatal(err)
		}
		root, err := tr.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "out")
		x, err := dag.Export(t.Context(), s, root.Cid, dir)
		want := dag.Exported{Files: 108, Dirs: 8, Symlinks: 5, Bytes: 8*1234 + 4950}
		if err != nil || x != want {
			t.Fatalf("%+v, %v, want %+v", x, err, want)
		}
		back, err := dag.AddPath(t.Context(), newStore(), dir, small(t, p.Name), dag.PathOptions{Hidden: true})
		if err != nil || back.Cid != root.Cid || back.TreeSize != root.TreeSize {
			t.Errorf("%s: came back as %+v, %v, want %+v", p.Name, back, err, root)
		}
		plain, err := dag.AddPath(t.Context(), newStore(), dir, small(t, p.Name), dag.PathOptions{})
		if err != nil || plain.Cid == root.Cid {
			t.Errorf("%s: hidden names were not left out (%v)", p.Name, err)
		}
	}
}

func TestExportOneFileOrLink(t *testing.T) {
	s, dir := newStore(), t.TempDir()
	e := add(t, s, []byte("hello"), profile(t, "kubo"))
	path := filepath.Join(dir, "f")
	if x, err := dag.Export(t.Context(), s, e.Cid, path); err != nil || x.Files != 1 || x.Bytes != 5 {
		t.Fatalf("%+v, %v", x, err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	_, err := dag.Export(t.Context(), s, e.Cid, path)
	wantKind(t, err, fault.Conflict)
	_, err = dag.Export(t.Context(), s, e.Cid, filepath.Join(dir, "no", "such"))
	wantKind(t, err, fault.NotFound)
	link, err := dag.AddSymlink(t.Context(), s, "f", profile(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dag.Export(t.Context(), s, link.Cid, filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]dag.Entry{"f": e, "l": link} {
		got, err := dag.AddPath(t.Context(), s, filepath.Join(dir, name), profile(t, map[bool]string{true: "kubo"}[name == "f"]), dag.PathOptions{})
		if err != nil || got.Cid != want.Cid {
			t.Errorf("%s: %s, %v, want %s", name, got.Cid, err, want.Cid)
		}
	}
}

// evil builds a plain directory of names no honest writer would use.
func evil(t *testing.T, s *store, links ...*ipld.Link) cid.Cid {
	t.Helper()
	n := merkledag.NodeWithData(unixfs.FolderPBData())
	for _, l := range links {
		if err := n.AddRawLink(l.Name, l); err != nil {
			t.Fatal(err)
		}
	}
	return block(t, s, cid.DagProtobuf, n.RawData())
}

func TestExportStaysInside(t *testing.T) {
	s := newStore()
	leaf := block(t, s, cid.Raw, []byte("evil"))
	sub := evil(t, s, &ipld.Link{Name: "planted", Cid: leaf})
	outside := t.TempDir()
	link, err := dag.AddSymlink(t.Context(), s, outside, profile(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	zero, err := dag.AddSymlink(t.Context(), s, "a\x00b", profile(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		root cid.Cid
		kind fault.Kind
	}{
		"dot dot":        {evil(t, s, &ipld.Link{Name: "..", Cid: sub}), fault.Invalid},
		"dot":            {evil(t, s, &ipld.Link{Name: ".", Cid: leaf}), fault.Invalid},
		"no name":        {evil(t, s, &ipld.Link{Name: "", Cid: leaf}), fault.Invalid},
		"path":           {evil(t, s, &ipld.Link{Name: "../planted", Cid: leaf}), fault.Invalid},
		"absolute":       {evil(t, s, &ipld.Link{Name: outside + "/planted", Cid: leaf}), fault.Invalid},
		"zero byte":      {evil(t, s, &ipld.Link{Name: "a\x00b", Cid: leaf}), fault.Invalid},
		"too long":       {evil(t, s, &ipld.Link{Name: strings.Repeat("n", 300), Cid: leaf}), fault.Invalid},
		"link to \\0":    {evil(t, s, &ipld.Link{Name: "x", Cid: zero.Cid}), fault.Invalid},
		"link, then dir": {evil(t, s, &ipld.Link{Name: "x", Cid: link.Cid}, &ipld.Link{Name: "x", Cid: sub}), fault.Conflict},
		"name twice":     {evil(t, s, &ipld.Link{Name: "x", Cid: leaf}, &ipld.Link{Name: "x", Cid: leaf}), fault.Conflict},
	} {
		dir := filepath.Join(t.TempDir(), "a", "b")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := dag.Export(t.Context(), s, tt.root, dir)
		if !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %v", name, err, tt.kind)
		}
		above, err := os.ReadDir(filepath.Dir(dir))
		if left, _ := os.ReadDir(outside); err != nil || len(above) != 1 || len(left) != 0 {
			t.Fatalf("%s: wrote outside", name)
		}
	}
}

// A link that was in the way before is not passed through either.
func TestExportDoesNotFollowOldLinks(t *testing.T) {
	s, dir, outside := newStore(), t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	tr := dag.NewTree(s, profile(t, ""))
	addTo(t, tr, "sub/f", bytes.NewReader([]byte("x")))
	root, err := tr.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = dag.Export(t.Context(), s, root.Cid, dir)
	wantKind(t, err, fault.Conflict)
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Error("wrote through a link")
	}
}

func TestExportLeavesNoHalfFile(t *testing.T) {
	s, dir := newStore(), t.TempDir()
	e := add(t, s, bytesOnce()[:1000], small(t, ""))
	delete(s.blocks, s.order[4])
	path := filepath.Join(dir, "f")
	_, err := dag.Export(t.Context(), s, e.Cid, path)
	wantKind(t, err, fault.NotFound)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("half a file remains (%v)", err)
	}
}

func TestAddPathRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := dag.AddPath(t.Context(), discard{}, filepath.Join(dir, "none"), profile(t, ""), dag.PathOptions{})
	wantKind(t, err, fault.NotFound)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "pipe")} {
		_, err = dag.AddPath(t.Context(), discard{}, path, profile(t, ""), dag.PathOptions{})
		wantKind(t, err, fault.Invalid)
	}
}
