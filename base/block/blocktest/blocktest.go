// Package blocktest is the conformance suite of block.Store over each of its
// homes, and makes blocks for tests.
package blocktest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/fault"
)

// Raw makes n blocks of size bytes each, the same ones for the same seed.
func Raw(seed uint64, n, size int) []blocks.Block {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(size), byte(size >> 8)})
	out := make([]blocks.Block, n)
	for i := range out {
		data := make([]byte, size)
		_, _ = rng.Read(data) // never fails
		out[i] = Of(cid.Raw, mh.SHA2_256, data)
	}
	return out
}

// Of makes a block of data with a codec and hash function.
func Of(codec, hash uint64, data []byte) blocks.Block {
	c, err := cid.V1Builder{Codec: codec, MhType: hash}.Sum(data)
	if err != nil {
		panic(err) // the test named a function that does not exist
	}
	b, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		panic(err)
	}
	return b
}

// Run holds a home to the contract of block.Store. Each call of home gives an
// empty one, as a function that opens a store on it; a store is closed before
// the next one is opened. The cases run in parallel.
func Run(t *testing.T, home func(t *testing.T) (open func() *block.Store)) {
	cases := []struct {
		name string
		test func(t *testing.T, open func() *block.Store)
	}{
		{"put then get", putGet},
		{"missing", missingBlock},
		{"one multihash, every CID", byMultihash},
		{"every hash function", hashFunctions},
		{"identity", identity},
		{"limits", limits},
		{"duplicates are not written again", duplicates},
		{"delete", deletion},
		{"deleted and put again", again},
		{"all keys", allKeys},
		{"all keys stops", allKeysStops},
		{"reopen", reopen},
		{"compact", compact},
		{"compact beside readers and writers", compactBusy},
		{"concurrent writers", concurrent},
		{"ended context", endedContext},
		{"closed", closed},
		{"scrub of a sound store", scrubSound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, home(t))
		})
	}
}

// Put stores blocks or fails the test.
func Put(t *testing.T, s *block.Store, bs ...blocks.Block) {
	t.Helper()
	if err := s.PutMany(t.Context(), bs); err != nil {
		t.Fatalf("PutMany of %d: %v", len(bs), err)
	}
}

// Held fails the test unless the store gives back each block by every way of
// reading.
func Held(t *testing.T, s *block.Store, bs ...blocks.Block) {
	t.Helper()
	for _, b := range bs {
		got, err := s.Get(t.Context(), b.Cid())
		if err != nil {
			t.Errorf("Get(%s): %v", b.Cid(), err)
			continue
		}
		if !bytes.Equal(got.RawData(), b.RawData()) || got.Cid() != b.Cid() {
			t.Errorf("Get(%s) gives other bytes", b.Cid())
		}
		if n, err := s.GetSize(t.Context(), b.Cid()); err != nil || n != len(b.RawData()) {
			t.Errorf("GetSize(%s) = %d, %v", b.Cid(), n, err)
		}
		if ok, err := s.Has(t.Context(), b.Cid()); err != nil || !ok {
			t.Errorf("Has(%s) = %v, %v", b.Cid(), ok, err)
		}
		err = s.View(t.Context(), b.Cid(), func(data []byte) error {
			if !bytes.Equal(data, b.RawData()) {
				t.Errorf("View(%s) shows other bytes", b.Cid())
			}
			return nil
		})
		if err != nil {
			t.Errorf("View(%s): %v", b.Cid(), err)
		}
	}
}

// Missing fails the test unless the store has none of the blocks.
func Missing(t *testing.T, s *block.Store, bs ...blocks.Block) {
	t.Helper()
	for _, b := range bs {
		_, err := s.Get(t.Context(), b.Cid())
		_, sizeErr := s.GetSize(t.Context(), b.Cid())
		viewErr := s.View(t.Context(), b.Cid(), func([]byte) error { return nil })
		for _, err := range []error{err, sizeErr, viewErr} {
			if !ipld.IsNotFound(err) || !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v, want not found", b.Cid(), err)
			}
		}
		if ok, err := s.Has(t.Context(), b.Cid()); err != nil || ok {
			t.Errorf("Has(%s) = %v, %v", b.Cid(), ok, err)
		}
	}
}

// Close closes the store or fails the test.
func Close(t *testing.T, s *block.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func putGet(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	all := slices.Concat(Raw(1, 20, 4096), Raw(2, 2, 1<<20), Raw(3, 5, 1), []blocks.Block{Of(cid.Raw, mh.SHA2_256, nil)})
	Put(t, s, all...)
	Held(t, s, all...)
	if err := s.Put(t.Context(), Raw(4, 1, 100)[0]); err != nil {
		t.Fatal(err)
	}
	Held(t, s, Raw(4, 1, 100)...)
	if err := s.PutMany(t.Context(), nil); err != nil {
		t.Errorf("PutMany of nothing: %v", err)
	}
	broke := errors.New("the caller's own")
	if err := s.View(t.Context(), all[0].Cid(), func([]byte) error { return broke }); !errors.Is(err, broke) {
		t.Errorf("View hides its function's error: %v", err)
	}
	if got := s.Stats().Blocks; got != int64(len(all)+1) {
		t.Errorf("Stats().Blocks = %d, want %d", got, len(all)+1)
	}
}

func missingBlock(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	Missing(t, s, Raw(1, 2, 10)...)
	Put(t, s, Raw(2, 2, 10)...)
	Missing(t, s, Raw(1, 2, 10)...)
	if err := s.DeleteBlock(t.Context(), Raw(1, 1, 10)[0].Cid()); err != nil {
		t.Errorf("DeleteBlock of a missing one: %v", err)
	}
	if ok, err := s.Has(t.Context(), cid.Undef); ok || err != nil {
		t.Errorf("Has of no CID = %v, %v", ok, err)
	}
}

func byMultihash(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	data := []byte("the same bytes")
	pb := Of(cid.DagProtobuf, mh.SHA2_256, data)
	v0, err := blocks.NewBlockWithCid(data, cid.NewCidV0(pb.Cid().Hash()))
	if err != nil {
		t.Fatal(err)
	}
	Put(t, s, pb)
	Held(t, s, pb, v0, Of(cid.Raw, mh.SHA2_256, data))
	Put(t, s, v0)
	if n := s.Stats().Blocks; n != 1 {
		t.Errorf("%d blocks, want 1", n)
	}
}

func hashFunctions(t *testing.T, open func() *block.Store) {
	s := open()
	data := []byte("hash me")
	var all []blocks.Block
	for _, h := range []uint64{mh.SHA2_256, mh.SHA2_512, mh.SHA1, mh.BLAKE2B_MIN + 31, mh.BLAKE3, mh.DBL_SHA2_256, mh.SHA3_256, mh.MURMUR3X64_64} {
		all = append(all, Of(cid.DagCBOR, h, data))
	}
	short, err := mh.Sum(data, mh.SHA2_256, 20)
	if err != nil {
		t.Fatal(err)
	}
	cut, err := blocks.NewBlockWithCid(data, cid.NewCidV1(cid.Raw, short))
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, cut)
	Put(t, s, all...)
	Held(t, s, all...)
	Close(t, s)
	s = open()
	defer Close(t, s)
	Held(t, s, all...)
	if got := keys(t, s); len(got) != len(all) {
		t.Errorf("%d keys, want %d", len(got), len(all))
	} else {
		for _, b := range all {
			if !got[string(b.Cid().Hash())] {
				t.Errorf("no key for %s", b.Cid())
			}
		}
	}
	if err := s.DeleteMany(t.Context(), []cid.Cid{all[1].Cid(), all[3].Cid()}); err != nil {
		t.Fatal(err)
	}
	Missing(t, s, all[1], all[3])
	Held(t, s, all[0], all[2], all[4])
}

func identity(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	b := Of(cid.Raw, mh.IDENTITY, []byte("all in the name"))
	Held(t, s, b)
	Put(t, s, b)
	if err := s.DeleteBlock(t.Context(), b.Cid()); err != nil {
		t.Fatal(err)
	}
	Held(t, s, b)
	if st := s.Stats(); st.Blocks != 0 || len(keys(t, s)) != 0 {
		t.Errorf("an identity block was stored: %+v", st)
	}
}

func limits(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	Put(t, s, Raw(1, 1, block.MaxBlockBytes)...)
	Held(t, s, Raw(1, 1, block.MaxBlockBytes)...)
	big := Raw(2, 1, block.MaxBlockBytes+1)[0]
	if err := s.Put(t.Context(), big); !fault.Is(err, fault.Invalid) {
		t.Errorf("Put of a block over the limit: %v", err)
	}
	unknown := append(mh.Multihash{0x99, 0x7f, 4}, 1, 2, 3, 4)
	odd, err := blocks.NewBlockWithCid([]byte("x"), cid.NewCidV1(cid.Raw, unknown))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), odd); !fault.Is(err, fault.Invalid) {
		t.Errorf("Put with an unknown hash function: %v", err)
	}
	Missing(t, s, big, odd)
}

func duplicates(t *testing.T, open func() *block.Store) {
	s := open()
	all := Raw(1, 50, 1000)
	Put(t, s, slices.Concat(all, all)...)
	first := s.Stats()
	if first.Blocks != 50 || first.SegmentBytes > 60*1000 {
		t.Errorf("after putting each twice at once: %+v", first)
	}
	Put(t, s, all...)
	if again := s.Stats(); again.SegmentBytes != first.SegmentBytes || again.Blocks != first.Blocks {
		t.Errorf("putting again wrote: %+v then %+v", first, again)
	}
	Close(t, s)
	s = open()
	defer Close(t, s)
	Put(t, s, all...)
	Held(t, s, all...)
	if again := s.Stats(); again.Blocks != 50 || again.SegmentBytes != first.SegmentBytes {
		t.Errorf("putting again after reopening wrote: %+v then %+v", first, again)
	}
}

func deletion(t *testing.T, open func() *block.Store) {
	s := open()
	all := Raw(1, 20, 500)
	Put(t, s, all...)
	var cids []cid.Cid
	for _, b := range all[:10] {
		cids = append(cids, b.Cid())
	}
	if err := s.DeleteMany(t.Context(), append(cids, cids...)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		Missing(t, s, all[:10]...)
		Held(t, s, all[10:]...)
		if n := s.Stats().Blocks; n != 10 || len(keys(t, s)) != 10 {
			t.Errorf("%d blocks, %d keys, want 10", n, len(keys(t, s)))
		}
		Close(t, s)
		s = open()
	}
	Close(t, s)
}

func again(t *testing.T, open func() *block.Store) {
	s := open()
	b := Raw(1, 3, 100)
	for range 3 {
		Put(t, s, b...)
		Held(t, s, b...)
		if err := s.DeleteBlock(t.Context(), b[0].Cid()); err != nil {
			t.Fatal(err)
		}
		Missing(t, s, b[0])
	}
	Close(t, s)
	s = open()
	Missing(t, s, b[0])
	Put(t, s, b[0])
	Close(t, s)
	s = open()
	defer Close(t, s)
	Held(t, s, b...)
}

func keys(t *testing.T, s *block.Store) map[string]bool {
	t.Helper()
	ch, err := s.AllKeysChan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for c := range ch {
		if c.Prefix().Codec != cid.Raw || c.Version() != 1 {
			t.Errorf("key %s is not a raw CIDv1", c)
		}
		if got[string(c.Hash())] {
			t.Errorf("key %s comes twice", c)
		}
		got[string(c.Hash())] = true
	}
	return got
}

func allKeys(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	all := Raw(1, 300, 50)
	for part := range slices.Chunk(all, 50) {
		Put(t, s, part...)
	}
	got := keys(t, s)
	for _, b := range all {
		if !got[string(b.Cid().Hash())] {
			t.Errorf("no key for %s", b.Cid())
		}
	}
	if len(got) != len(all) {
		t.Errorf("%d keys, want %d", len(got), len(all))
	}
}

func allKeysStops(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	Put(t, s, Raw(1, 500, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := s.AllKeysChan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	<-ch
	cancel()
	n := 0
	for range ch { // ends, or the test times out
		n++
	}
	if n > 200 {
		t.Errorf("%d keys after the context ended", n)
	}
}

func reopen(t *testing.T, open func() *block.Store) {
	var all []blocks.Block
	for i := range 4 {
		s := open()
		Held(t, s, all...)
		part := Raw(uint64(i), 30, 200)
		Put(t, s, part...)
		all = append(all, part...)
		Close(t, s)
		if err := s.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	}
	s := open()
	defer Close(t, s)
	Held(t, s, all...)
	if n := s.Stats().Blocks; n != int64(len(all)) {
		t.Errorf("%d blocks, want %d", n, len(all))
	}
}

func compact(t *testing.T, open func() *block.Store) {
	s := open()
	all := Raw(1, 200, 1000)
	for part := range slices.Chunk(all, 20) {
		Put(t, s, part...)
	}
	var cids []cid.Cid
	var gone, kept []blocks.Block
	for i, b := range all {
		if i%4 != 0 {
			gone, cids = append(gone, b), append(cids, b.Cid())
		} else {
			kept = append(kept, b)
		}
	}
	if err := s.DeleteMany(t.Context(), cids); err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	rep, err := s.Compact(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	if rep.Segments == 0 || rep.FreedBytes <= 0 || rep.Kept != 0 || after.SegmentBytes >= before.SegmentBytes {
		t.Errorf("Compact = %+v, from %+v to %+v", rep, before, after)
	}
	for range 2 {
		Held(t, s, kept...)
		Missing(t, s, gone...)
		if n := s.Stats().Blocks; n != int64(len(kept)) {
			t.Errorf("%d blocks, want %d", n, len(kept))
		}
		Close(t, s)
		s = open()
	}
	defer Close(t, s)
	rep, err = s.Compact(t.Context())
	if err != nil || rep.MovedBytes != 0 {
		t.Errorf("Compact of a compact store = %+v, %v", rep, err)
	}
	Held(t, s, kept...)
}

func compactBusy(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	stay, leave := Raw(1, 40, 700), Raw(2, 120, 700)
	Put(t, s, slices.Concat(leave, stay)...)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			Held(t, s, stay...)
		}
	})
	for i := range 4 {
		var cids []cid.Cid
		for _, b := range leave {
			cids = append(cids, b.Cid())
		}
		if err := s.DeleteMany(t.Context(), cids); err != nil {
			t.Error(err)
		}
		if _, err := s.Compact(t.Context()); err != nil {
			t.Error(err)
		}
		Missing(t, s, leave[:5]...)
		leave = Raw(uint64(10+i), 120, 700)
		Put(t, s, leave...)
	}
	cancel()
	wg.Wait()
	Held(t, s, stay...)
	Held(t, s, leave...)
}

func concurrent(t *testing.T, open func() *block.Store) {
	s := open()
	const writers = 8
	same := Raw(99, 10, 300)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range 5 {
				own := Raw(uint64(w*100+i), 5, 300)
				if err := s.PutMany(t.Context(), slices.Concat(own, same)); err != nil {
					t.Error(err)
				}
				Held(t, s, own...)
				Held(t, s, same...)
			}
		})
	}
	wg.Wait()
	want := int64(writers*5*5 + len(same))
	for range 2 {
		if n := s.Stats().Blocks; n != want {
			t.Errorf("%d blocks, want %d", n, want)
		}
		Close(t, s)
		s = open()
	}
	defer Close(t, s)
	for w := range writers {
		Held(t, s, Raw(uint64(w*100), 5, 300)...)
	}
}

func endedContext(t *testing.T, open func() *block.Store) {
	s := open()
	defer Close(t, s)
	b := Raw(1, 1, 10)[0]
	Put(t, s, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, b.Cid())
	_, keysErr := s.AllKeysChan(ctx)
	for op, err := range map[string]error{
		"Get": err, "AllKeysChan": keysErr, "PutMany": s.PutMany(ctx, Raw(2, 1, 10)), "DeleteBlock": s.DeleteBlock(ctx, b.Cid()),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's error", op, err)
		}
	}
	Held(t, s, b)
}

func closed(t *testing.T, open func() *block.Store) {
	s := open()
	b := Raw(1, 1, 10)[0]
	Put(t, s, b)
	Close(t, s)
	_, err := s.Get(t.Context(), b.Cid())
	_, hasErr := s.Has(t.Context(), b.Cid())
	_, compactErr := s.Compact(t.Context())
	for op, err := range map[string]error{
		"Get": err, "Has": hasErr, "Compact": compactErr, "PutMany": s.PutMany(t.Context(), Raw(2, 1, 10)), "DeleteBlock": s.DeleteBlock(t.Context(), b.Cid()),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s on a closed store: %v", op, err)
		}
	}
}

func scrubSound(t *testing.T, open func() *block.Store) {
	s := open()
	Put(t, s, slices.Concat(Raw(1, 30, 100), []blocks.Block{Of(cid.Raw, mh.SHA2_512, []byte("x"))})...)
	Close(t, s)
	s = open()
	defer Close(t, s)
	for bad, err := range s.Scrub(t.Context()) {
		t.Errorf("Scrub yields %v, %v", bad, err)
	}
	Put(t, s, Raw(1, 30, 100)...)
	Held(t, s, Raw(1, 30, 100)...)
	if n := s.Stats().Blocks; n != 31 {
		t.Errorf("%d blocks after a scrub", n)
	}
}
