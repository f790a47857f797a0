package dag_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

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
