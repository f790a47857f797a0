package dag_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// small settings make deep DAGs of few bytes.
func small(t testing.TB, name string) dag.Profile {
	p := profile(t, name)
	p.ChunkSize, p.MaxLinks, p.HAMTThreshold = 100, 3, 1000
	return p
}

func TestOpenFileReadsBack(t *testing.T) {
	data := bytesOnce()[:20011]
	for _, p := range dag.Profiles() {
		prof := small(t, p.Name)
		for _, size := range []int{0, 1, 99, 100, 101, 300, 301, 20011} {
			s := newStore()
			e := add(t, s, data[:size], prof)
			r, n, err := dag.OpenFile(t.Context(), s, e.Cid)
			if err != nil || n != int64(size) {
				t.Fatalf("%s, %d bytes: opened %d, %v", p.Name, size, n, err)
			}
			if err := iotest.TestReader(r, data[:size]); err != nil {
				t.Errorf("%s, %d bytes: %v", p.Name, size, err)
			}
			readAtRandom(t, r, data[:size])
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("read after close: %v", err)
			}
		}
	}
}

func readAtRandom(t *testing.T, r io.ReadSeeker, want []byte) {
	t.Helper()
	for range 50 {
		off := rand.IntN(len(want) + 5)
		if _, err := r.Seek(int64(off), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		rest := want[min(off, len(want)):]
		if off%2 == 0 {
			rest = rest[:min(len(rest), 150)]
		}
		got := make([]byte, len(rest))
		if _, err := io.ReadFull(r, got); (err != nil && len(rest) > 0) || !bytes.Equal(got, rest) {
			t.Fatalf("%d bytes at %d: differ (%v)", len(rest), off, err)
		}
	}
	if _, err := r.Seek(-1, io.SeekStart); !fault.Is(err, fault.Invalid) {
		t.Errorf("seek before the start: %v", err)
	}
	if _, err := r.Seek(0, 7); !fault.Is(err, fault.Invalid) {
		t.Errorf("seek from nowhere: %v", err)
	}
}

func TestReadFetchesOnlyWhatItNeeds(t *testing.T) {
	s := newStore()
	prof := small(t, "")
	e := add(t, s, bytesOnce()[:20011], prof)
	s.gets = map[cid.Cid]int{}
	r, _, err := dag.OpenFile(t.Context(), s, e.Cid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Seek(12345, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if n := len(s.gets); n > 7 { // 201 leaves under nodes of 3 links: 5 levels and the root
		t.Errorf("%d blocks read for five bytes", n)
	}
}

// proto builds a UnixFS file node from parts, honest or not.
func proto(t *testing.T, s *store, data []byte, declared int64, sizes []uint64, links ...cid.Cid) cid.Cid {
	t.Helper()
	fs := unixfs.NewFSNode(unixfs.TFile)
	fs.SetData(data)
	for _, n := range sizes {
		fs.AddBlockSize(n)
	}
	if declared >= 0 {
		fs.UpdateFilesize(declared - int64(fs.FileSize()))
	}
	raw, err := fs.GetBytes()
	if err != nil {
		t.Fatal(err)
	}
	n := merkledag.NodeWithData(raw)
	for _, l := range links {
		if err := n.AddRawLink("", &ipld.Link{Cid: l}); err != nil {
			t.Fatal(err)
		}
	}
	return block(t, s, cid.DagProtobuf, n.RawData())
}

func TestOpenFileRefusesLies(t *testing.T) {
	s := newStore()
	leaf := block(t, s, cid.Raw, []byte("0123456789"))
	dir, err := dag.AddDirectory(t.Context(), s, nil, profile(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	deep := proto(t, s, nil, -1, []uint64{10}, leaf)
	for range 80 {
		deep = proto(t, s, nil, -1, []uint64{10}, deep)
	}
	for name, c := range map[string]cid.Cid{
		"sizes without links":     proto(t, s, nil, -1, []uint64{10}),
		"links without sizes":     proto(t, s, nil, -1, nil, leaf),
		"declares more":           proto(t, s, []byte("abc"), 10, nil),
		"overflow":                proto(t, s, nil, 0, []uint64{1 << 63, 1 << 63}, leaf, leaf),
		"child is shorter":        proto(t, s, nil, -1, []uint64{11}, leaf),
		"child is longer":         proto(t, s, nil, -1, []uint64{9}, leaf),
		"child is a directory":    proto(t, s, nil, -1, []uint64{9}, dir.Cid),
		"too deep":                deep,
		"directory":               dir.Cid,
		"not dag-pb":              block(t, s, cid.DagProtobuf, []byte("\xff\xff")),
		"not UnixFS":              block(t, s, cid.DagProtobuf, nil),
		"another codec":           block(t, s, cid.DagCBOR, []byte{0xa0}),
		"a block above the limit": block(t, s, cid.Raw, make([]byte, dag.MaxBlockSize+1)),
	} {
		r, _, err := dag.OpenFile(t.Context(), s, c)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Children of no bytes could be without end; they are never entered.
func TestOpenFileSkipsEmptyChildren(t *testing.T) {
	s := newStore()
	leaf, nothing := block(t, s, cid.Raw, []byte("x")), proto(t, s, nil, -1, nil)
	for range 60 {
		nothing = proto(t, s, nil, -1, make([]uint64, 3), nothing, nothing, nothing)
	}
	c := proto(t, s, []byte("ab"), -1, []uint64{0, 1, 0, 1}, nothing, leaf, nothing, leaf)
	r, _, err := dag.OpenFile(t.Context(), s, c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "abxx" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMissingBlockIsNamed(t *testing.T) {
	s := newStore()
	e := add(t, s, bytesOnce()[:1000], small(t, ""))
	lost := s.order[4]
	delete(s.blocks, lost)
	r, _, err := dag.OpenFile(t.Context(), s, e.Cid)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		func() error { _, err := io.Copy(io.Discard, r); return err }(),
		dag.Walk(t.Context(), s, e.Cid, func(cid.Cid, []byte) error { return nil }),
		dag.Complete(t.Context(), s, e.Cid),
		dag.Complete(t.Context(), sized{s}, e.Cid),
	} {
		if !fault.Is(err, fault.NotFound) || !bytes.Contains([]byte(err.Error()), []byte(lost.String())) || !ipld.IsNotFound(unwrapAll(err)) {
			t.Errorf("%v does not name %s", err, lost)
		}
	}
}

func unwrapAll(err error) error {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err
}

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

// The order of blocks in a CAR, written out for a file and a tree.
func TestWalkOrder(t *testing.T) {
	s := newStore()
	tr := dag.NewTree(s, small(t, ""))
	addTo(t, tr, "b/big", generate("big", 1000)) // 10 leaves, 3 a node: 4 + 2 + 1 nodes
	addTo(t, tr, "a/one", generate("one", 10))
	addTo(t, tr, "a/two", generate("one", 10)) // the same block
	root, err := tr.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := map[cid.Cid]int{}
	var order []cid.Cid
	err = dag.Walk(t.Context(), s, root.Cid, func(c cid.Cid, data []byte) error {
		if _, twice := at[c]; twice || !bytes.Equal(data, s.blocks[c].RawData()) {
			t.Errorf("%s: twice, or other bytes", c)
		}
		at[c] = len(order)
		order = append(order, c)
		return nil
	})
	if err != nil || len(order) != len(s.blocks) {
		t.Fatalf("%d of %d blocks, %v", len(order), len(s.blocks), err)
	}
	var leaves bytes.Buffer
	for _, c := range order {
		if c.Type() == cid.Raw {
			leaves.Write(s.blocks[c].RawData())
			continue
		}
		n, err := merkledag.DecodeProtobuf(s.blocks[c].RawData())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range n.Links() {
			if at[l.Cid] >= at[c] {
				t.Errorf("%s comes before %s below it", c, l.Cid)
			}
		}
	}
	want, err := io.ReadAll(io.MultiReader(generate("one", 10), generate("big", 1000)))
	if err != nil || !bytes.Equal(leaves.Bytes(), want) {
		t.Error("leaves are not in source order")
	}
	if order[len(order)-1] != root.Cid {
		t.Error("the root is not last")
	}
	var sizes []cid.Cid
	err = dag.NewWalker(sized{s}).Sizes(t.Context(), root.Cid, func(c cid.Cid, n int) error {
		if n != len(s.blocks[c].RawData()) {
			t.Errorf("%s: %d bytes", c, n)
		}
		sizes = append(sizes, c)
		return nil
	})
	if err != nil || !slices.Equal(sizes, order) {
		t.Errorf("Sizes walks another way (%v)", err)
	}
}

func TestWalkerSharesWhatItSaw(t *testing.T) {
	s := newStore()
	a := add(t, s, bytesOnce()[:1000], small(t, ""))
	b := add(t, s, bytesOnce()[:900], small(t, ""))
	w, n := dag.NewWalker(s), 0
	visit := func(cid.Cid, []byte) error { n++; return nil }
	for _, root := range []cid.Cid{a.Cid, b.Cid, a.Cid} {
		if err := w.Walk(t.Context(), root, visit); err != nil {
			t.Fatal(err)
		}
	}
	if n != len(s.blocks) {
		t.Errorf("%d visits for %d blocks", n, len(s.blocks))
	}
	if err := dag.Walk(t.Context(), s, a.Cid, func(cid.Cid, []byte) error { return errBroken }); err != errBroken {
		t.Errorf("the visitor's error came back as %v", err)
	}
}

func TestWalkKeepsLittle(t *testing.T) {
	s := newStore()
	pad := bytes.Repeat([]byte("p"), 3<<20)
	c := block(t, s, cid.Raw, []byte("leaf"))
	for i := range 5 { // a path of 15 MiB: nodes above the second are read twice
		c = proto(t, s, pad, -1, []uint64{uint64(4 + i*len(pad))}, c)
	}
	s.gets = map[cid.Cid]int{}
	if err := dag.Walk(t.Context(), s, c, func(cid.Cid, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	twice := 0
	for _, n := range s.gets {
		if n == 2 {
			twice++
		}
	}
	if twice != 4 {
		t.Errorf("%d nodes read twice, want 4", twice)
	}
}

func TestDeepTrees(t *testing.T) {
	s := newStore()
	names := slices.Repeat([]string{"a directory with quite a long name, so that the path has no end"}, 200)
	path := names[0]
	for _, n := range names[1:] {
		path += "/" + n
	}
	tr := dag.NewTree(s, profile(t, ""))
	addTo(t, tr, path+"/file", generate("x", 10))
	root, err := tr.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e, err := dag.Resolve(t.Context(), s, root.Cid, path+"/file"); err != nil || e.Size != 10 {
		t.Errorf("%+v, %v", e, err)
	}
	if err := dag.Complete(t.Context(), s, root.Cid); err != nil {
		t.Error(err)
	}
	dir := t.TempDir() + "/out"
	if x, err := dag.Export(t.Context(), s, root.Cid, dir); err != nil || x.Dirs != 201 || x.Files != 1 {
		t.Fatalf("%+v, %v", x, err)
	}
	back, err := dag.AddPath(t.Context(), newStore(), dir, profile(t, ""), dag.PathOptions{})
	if err != nil || back.Cid != root.Cid {
		t.Errorf("%s, %v, want %s", back.Cid, err, root.Cid)
	}
}

func TestWalkLimits(t *testing.T) {
	s := newStore()
	chain := func(n int) cid.Cid {
		c := block(t, s, cid.Raw, []byte("leaf"))
		for range n {
			c = proto(t, s, nil, -1, []uint64{4}, c)
		}
		return c
	}
	if err := dag.Complete(t.Context(), s, chain(dag.MaxDepth)); err != nil {
		t.Error(err)
	}
	wantKind(t, dag.Complete(t.Context(), s, chain(dag.MaxDepth+1)), fault.Invalid)
	wantKind(t, dag.Complete(t.Context(), s, block(t, s, 0x78, nil)), fault.Invalid)
	big := block(t, s, cid.Raw, make([]byte, dag.MaxBlockSize+1))
	wantKind(t, dag.Complete(t.Context(), s, big), fault.Invalid)
	wantKind(t, dag.Complete(t.Context(), sized{s}, big), fault.Invalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := dag.Complete(ctx, s, chain(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Links of the other codecs, an identity CID among them.
func TestWalkOtherCodecs(t *testing.T) {
	s := newStore()
	leaf := block(t, s, cid.Raw, []byte("leaf"))
	id, err := mh.Sum(append([]byte{0x81, 0xd8, 0x2a, 0x58, 0x25, 0}, leaf.Bytes()...), mh.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	inner := cid.NewCidV1(cid.DagCBOR, id) // [leaf], in the CID itself
	js := block(t, s, cid.DagJSON, fmt.Appendf(nil, `{"a":{"/":%q}}`, inner))
	cb := block(t, s, cid.DagCBOR, append([]byte{0xa1, 0x61, 'x', 0xd8, 0x2a, 0x58, byte(js.ByteLen() + 1), 0}, js.Bytes()...))
	var got []cid.Cid
	if err := dag.Walk(t.Context(), s, cb, func(c cid.Cid, _ []byte) error { got = append(got, c); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []cid.Cid{leaf, js, cb}) {
		t.Errorf("visited %v", got)
	}
}

// Any bytes as a UnixFS node: every reading path ends, without a panic, in a
// result or an error of a kind.
func FuzzNode(f *testing.F) {
	s := newStore()
	prof := small(f, "kubo")
	add(f, s, bytesOnce()[:1000], prof)
	var entries []dag.Entry
	for i := range 100 {
		entries = append(entries, dag.Entry{Name: seq(i), Cid: s.order[0], TreeSize: 1})
	}
	for _, n := range []int{0, 3, 100} {
		if _, err := dag.AddDirectory(f.Context(), s, entries[:n], prof); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := dag.AddSymlink(f.Context(), s, "../x", prof); err != nil {
		f.Fatal(err)
	}
	for _, c := range s.order {
		f.Add(s.blocks[c].RawData(), uint16(cid.DagProtobuf))
	}
	f.Add([]byte{0x81, 0xd8, 0x2a, 0x42, 0, 1}, uint16(cid.DagCBOR))
	f.Add([]byte(`{"/":{"bytes":"AA"}}`), uint16(cid.DagJSON))
	f.Fuzz(func(t *testing.T, data []byte, codec uint16) {
		c := block(t, s, uint64(codec), data)
		defer delete(s.blocks, c)
		known := func(err error) {
			if err != nil && fault.Is(err, fault.Internal) {
				t.Fatalf("no kind: %v", err)
			}
		}
		_, err := dag.Stat(t.Context(), s, c)
		known(err)
		if r, n, err := dag.OpenFile(t.Context(), s, c); err == nil {
			_, err = io.CopyN(io.Discard, r, min(n, 1<<20))
			known(err)
		} else {
			known(err)
		}
		for e, err := range dag.List(t.Context(), s, c) {
			if known(err); err == nil {
				_, err = dag.Resolve(t.Context(), s, c, e.Name)
				known(err)
			}
		}
		known(dag.Complete(t.Context(), s, c))
	})
}
