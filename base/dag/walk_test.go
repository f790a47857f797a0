package dag_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

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
