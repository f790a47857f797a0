package dag_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// wide has n entries and comes out sharded for the small profiles.
func wide(t *testing.T, s *store, n int, prof dag.Profile) (dag.Entry, map[string]string) {
	t.Helper()
	tr, want := dag.NewTree(s, prof), map[string]string{}
	for i := range n {
		name := fmt.Sprintf("entry \n\xff %d", i)
		want[name] = seq(i)
		addTo(t, tr, name, bytes.NewReader([]byte(want[name])))
	}
	e, err := tr.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e, want
}

func TestListAndResolveWideDirectories(t *testing.T) {
	for _, name := range []string{"", "kubo"} {
		for _, n := range []int{0, 1, 7, 10000} {
			s := newStore()
			root, want := wide(t, s, n, small(t, name))
			got := 0
			for e, err := range dag.List(t.Context(), s, root.Cid) {
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := want[e.Name]; !ok || e.Size != 5 || e.Dir {
					t.Fatalf("listed %+v", e)
				}
				got++
			}
			if got != n {
				t.Errorf("%d listed, want %d", got, n)
			}
			for _, i := range rand.Perm(n)[:min(n, 200)] {
				path := fmt.Sprintf("entry \n\xff %d", i)
				e, err := dag.Resolve(t.Context(), s, root.Cid, path)
				if err != nil {
					t.Fatal(err)
				}
				r, _, err := dag.OpenFile(t.Context(), s, e.Cid)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(r); err != nil || string(b) != want[path] || e.Name != path {
					t.Fatalf("%q: %q, %v", path, b, err)
				}
			}
			_, err := dag.Resolve(t.Context(), s, root.Cid, "entry")
			wantKind(t, err, fault.NotFound)
			for range dag.List(t.Context(), s, root.Cid) {
				break // stopping early must not panic
			}
		}
	}
}

func TestResolve(t *testing.T) {
	s := newStore()
	tr := dag.NewTree(s, profile(t, ""))
	addTo(t, tr, "a/b/c", generate("x", 3))
	if _, err := tr.AddSymlink(t.Context(), "a/link", "b"); err != nil {
		t.Fatal(err)
	}
	root, err := tr.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path, name := range map[string]string{"": "", "/": "", "a": "a", "/a//b/": "b", "a/b/c": "c"} {
		e, err := dag.Resolve(t.Context(), s, root.Cid, path)
		if err != nil || e.Name != name || e.Dir == (name == "c") {
			t.Errorf("%q: %+v, %v", path, e, err)
		}
	}
	if e, err := dag.Resolve(t.Context(), s, root.Cid, "a/link"); err != nil || e.Target != "b" || !e.Symlink {
		t.Errorf("%+v, %v", e, err)
	}
	for _, path := range []string{"x", "a/x", "a/b/c/d", "a/link/c", "..", "a/.."} {
		_, err := dag.Resolve(t.Context(), s, root.Cid, path)
		wantKind(t, err, fault.NotFound)
	}
	st, err := dag.Stat(t.Context(), s, root.Cid)
	if err != nil || !st.Dir || st.TreeSize != root.TreeSize {
		t.Errorf("%+v, %v, want %d", st, err, root.TreeSize)
	}
	file, err := dag.Resolve(t.Context(), s, root.Cid, "a/b/c")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range dag.List(t.Context(), s, file.Cid) {
		wantKind(t, err, fault.Invalid)
	}
}

// A shard that is used twice would list for ever.
func TestListRefusesShardBombs(t *testing.T) {
	s := newStore()
	leaf := block(t, s, cid.Raw, []byte("x"))
	below := shard(t, s, map[string]cid.Cid{"00x": leaf, "01y": leaf})
	for range 7 {
		links := map[string]cid.Cid{}
		for i := range 256 {
			links[fmt.Sprintf("%02X", i)] = below
		}
		below = shard(t, s, links)
	}
	n := 0
	var last error
	for _, err := range dag.Links(t.Context(), s, below) {
		last = err
		n++
	}
	wantKind(t, last, fault.Invalid)
	if n > 1 {
		t.Errorf("%d entries before the bomb was noticed", n)
	}
}

func shard(t *testing.T, s *store, links map[string]cid.Cid) cid.Cid {
	t.Helper()
	used := make([]byte, 32)
	n := new(merkledag.ProtoNode)
	i := 0
	for name, c := range links {
		used[i/8] |= 1 << (i % 8)
		i++
		if err := n.AddRawLink(name, &ipld.Link{Cid: c}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := unixfs.HAMTShardData(used, 256, 0x22)
	if err != nil {
		t.Fatal(err)
	}
	n.SetData(data)
	return block(t, s, cid.DagProtobuf, n.RawData())
}
