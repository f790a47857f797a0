package indexdag_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/indexdag"
)

// cborOf encodes DAG-JSON as another implementation does.
func cborOf(t *testing.T, text string) blocks.Block {
	t.Helper()
	nb := basicnode.Prototype.Any.NewBuilder()
	must(t, dagjson.Decode(nb, bytes.NewReader([]byte(text))))
	var out bytes.Buffer
	must(t, dagcbor.Encode(nb.Build(), &out))
	c, err := cid.Prefix{Version: 1, Codec: cid.DagCBOR, MhType: mh.SHA2_256, MhLength: -1}.Sum(out.Bytes())
	must(t, err)
	b, err := blocks.NewBlockWithCid(out.Bytes(), c)
	must(t, err)
	return b
}

// TestSingularityIndex reads an index of Singularity v1: files by a way from
// the root of a CAR, one of them cut in two.
func TestSingularityIndex(t *testing.T) {
	ctx, m := t.Context(), newMemory()
	prof, err := dag.ProfileNamed("")
	must(t, err)
	one, two := dag.NewTree(m, prof), dag.NewTree(m, prof)
	big := bytesOf(9, 2*mib+5)
	_, err = one.AddFile(ctx, "dir/a.txt", bytes.NewReader([]byte("hello")))
	must(t, err)
	_, err = one.AddFile(ctx, "dir/big", bytes.NewReader(big[:mib]))
	must(t, err)
	first, err := one.Finish(ctx)
	must(t, err)
	_, err = two.AddFile(ctx, "big", bytes.NewReader(big[mib:]))
	must(t, err)
	second, err := two.Finish(ctx)
	must(t, err)

	apart := cborOf(t, `{"__type":"dir","__size":2097157,"big":{"__type":"file","__size":2097157,"__source":[
		{"cid":"`+first.Cid.String()+`","selector":"Links/0/Hash/Links/1/Hash","offset":0,"length":1048576},
		{"cid":"`+second.Cid.String()+`","selector":[0],"offset":1048576,"length":1048581}]}}`)
	must(t, m.put(apart))
	root := cborOf(t, `{"__type":"dir","__size":2097162,"__source":[],"dir":{"/":"`+apart.Cid().String()+`"},
		"top":{"__type":"dir","__size":5,"a.txt":{"__type":"file","__size":5,"__source":[{"cid":"`+first.Cid.String()+`","selector":"0/0","offset":0,"length":5}]}}}`)
	must(t, m.put(root))

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := cid.Decode(r.URL.Path[len("/ipfs/"):])
		if data, ok := m.blocks[c]; ok {
			_, _ = w.Write(data)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	place, err := indexdag.OpenPlace(server.URL, nil)
	must(t, err)
	f, err := indexdag.NewFetcher([]indexdag.Place{place}, indexdag.FetchOptions{})
	must(t, err)
	r, err := indexdag.Open(ctx, f, root.Cid())
	must(t, err)
	var paths []string
	for _, e := range walked(t, r, "") {
		paths = append(paths, key(e))
	}
	if want := "/ dir/ dir/big top/ top/a.txt"; join(paths) != want {
		t.Errorf("walk %q, want %q", join(paths), want)
	}
	if e, err := r.Lookup(ctx, "dir/big"); err != nil || e.Size != int64(len(big)) {
		t.Errorf("%+v, %v", e, err)
	}
	dir := t.TempDir()
	_, err = f.Fetch(ctx, r, "", dir)
	must(t, err)
	got := tree(t, dir)
	if got["dir/big"] != string(big) || got["top/a.txt"] != "hello" || len(got) != 4 {
		t.Errorf("%d things came back", len(got))
	}
}

func join(s []string) (out string) {
	for i, x := range s {
		if i > 0 {
			out += " "
		}
		out += x
	}
	return out
}
