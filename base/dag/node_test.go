package dag_test

import (
	"io"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

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
