package block_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/block/blocktest"
	"github.com/firth-project/firth/base/fault"
)

// three opens three stores, as three processes would, over one blob store.
func three(t *testing.T, o block.Options) (blob.Store, []*block.Store) {
	t.Helper()
	blobs := blobsIn(t, t.TempDir())
	var all []*block.Store
	for range 3 {
		s := sharedOver(t, blobs, o)
		t.Cleanup(func() { blocktest.Close(t, s) })
		all = append(all, s)
	}
	return blobs, all
}

func remove(t *testing.T, s *block.Store, bs ...blocks.Block) {
	t.Helper()
	var cids []cid.Cid
	for _, b := range bs {
		cids = append(cids, b.Cid())
	}
	if err := s.DeleteMany(t.Context(), cids); err != nil {
		t.Fatal(err)
	}
}

func TestSharedIsFoundByOthersAtOnce(t *testing.T) {
	t.Parallel()
	_, s := three(t, block.Options{})
	for i := range 20 {
		b := blocktest.Raw(uint64(i), 3, 100)
		blocktest.Missing(t, s[(i+1)%3], b...)
		blocktest.Put(t, s[i%3], b...)
		blocktest.Held(t, s[(i+1)%3], b...)
		blocktest.Held(t, s[(i+2)%3], b...)
	}
}

func TestSharedPutAfterAnothersDelete(t *testing.T) {
	t.Parallel()
	_, s := three(t, block.Options{})
	b := blocktest.Raw(1, 4, 100)
	for i := range 6 {
		blocktest.Put(t, s[i%3], b...)
		blocktest.Held(t, s[(i+1)%3], b...)
		remove(t, s[(i+1)%3], b...)
		blocktest.Missing(t, s[(i+1)%3], b...)
	}
	blocktest.Put(t, s[2], b...) // s[2] has not heard of the last deletion
	for _, one := range s {
		blocktest.Held(t, one, b...)
	}
}

func TestSharedCompactUnderReaders(t *testing.T) {
	t.Parallel()
	_, s := three(t, block.Options{})
	stay := blocktest.Raw(1, 30, 300)
	for i, b := range stay {
		blocktest.Put(t, s[i%2], b, blocktest.Raw(uint64(100+i), 1, 900)[0])
	}
	blocktest.Held(t, s[2], stay...)
	for i := range stay {
		remove(t, s[i%3], blocktest.Raw(uint64(100+i), 1, 900)...)
	}
	var wg sync.WaitGroup
	for _, one := range s[:2] {
		wg.Go(func() {
			if _, err := one.Compact(t.Context()); err != nil {
				t.Errorf("Compact: %v", err)
			}
		})
	}
	blocktest.Held(t, s[2], stay...)
	wg.Wait()
	for range 2 {
		for i, one := range s {
			blocktest.Held(t, one, stay...)
			blocktest.Missing(t, one, blocktest.Raw(uint64(100+i), 1, 900)...)
			if _, err := one.Compact(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestSharedAgainstAMap lets three processes do random things one after the
// other; each must see what the others were acknowledged, as must a newcomer.
func TestSharedAgainstAMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 2))
		blobs, s := three(t, block.Options{SegmentBytes: 3000})
		all, held := blocktest.Raw(7, 40, 120), map[int]bool{}
		for n := range 60 {
			one := s[rng.IntN(3)]
			i := rng.IntN(len(all) - 5)
			part := all[i : i+1+rng.IntN(5)]
			switch r := rng.IntN(10); {
			case r < 5:
				blocktest.Put(t, one, part...)
				for j := range part {
					held[i+j] = true
				}
			case r < 9:
				// A deletion acts on what was acknowledged, wherever it was.
				remove(t, one, part...)
				for j := range part {
					delete(held, i+j)
				}
			default:
				if _, err := one.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n%15 == 14 {
				check := func(who string, s *block.Store) {
					for i, b := range all {
						if _, err := s.Get(t.Context(), b.Cid()); err != nil && held[i] {
							t.Fatalf("seed %d, step %d: %s lacks block %d: %v", seed, n, who, i, err)
						}
					}
				}
				check("an old one", s[rng.IntN(3)])
				fresh := sharedOver(t, blobs, block.Options{})
				check("a newcomer", fresh)
				if got := fresh.Stats().Blocks; got != int64(len(held)) {
					t.Fatalf("seed %d, step %d: a newcomer has %d blocks, want %d", seed, n, got, len(held))
				}
				for i, b := range all {
					if ok, err := fresh.Has(t.Context(), b.Cid()); err != nil || ok != held[i] {
						t.Fatalf("seed %d, step %d: block %d: %v, %v, held %v", seed, n, i, ok, err, held[i])
					}
				}
				blocktest.Close(t, fresh)
			}
		}
	}
}

// moody is a blob store that fails when told to, before or after it has done
// what it was asked for.
type moody struct {
	blob.Store
	before, after atomic.Pointer[error]
	calls         atomic.Int64
}

func (m *moody) Put(ctx context.Context, key string, r io.Reader) (blob.Info, error) {
	m.calls.Add(1)
	if err := m.before.Load(); err != nil {
		return blob.Info{}, *err
	}
	info, err := m.Store.Put(ctx, key, r)
	if e := m.after.Load(); e != nil && strings.HasSuffix(key, ".idx") {
		return blob.Info{}, *e
	}
	return info, err
}

func TestSharedStoreThatFails(t *testing.T) {
	t.Parallel()
	blobs := &moody{Store: blobsIn(t, t.TempDir())}
	s := sharedOver(t, blobs, block.Options{})
	defer blocktest.Close(t, s)
	kept := blocktest.Raw(1, 3, 100)
	blocktest.Put(t, s, kept...)

	full := fault.Mark(fault.Exhausted, syscall.ENOSPC)
	blobs.before.Store(&full)
	if err := s.PutMany(t.Context(), blocktest.Raw(2, 2, 100)); !fault.Is(err, fault.Exhausted) {
		t.Errorf("PutMany on a full store: %v", err)
	}
	blobs.before.Store(nil)
	lost := fault.New(fault.Unavailable, "the answer was lost")
	blobs.after.Store(&lost)
	if err := s.DeleteBlock(t.Context(), kept[0].Cid()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("DeleteBlock whose answer is lost: %v", err)
	}
	blobs.after.Store(nil)

	other := sharedOver(t, blobs, block.Options{})
	defer blocktest.Close(t, other)
	for _, one := range []*block.Store{s, other} {
		blocktest.Held(t, one, kept...)
		blocktest.Missing(t, one, blocktest.Raw(2, 2, 100)...)
	}
	blocktest.Put(t, s, blocktest.Raw(2, 2, 100)...)
	blocktest.Held(t, other, blocktest.Raw(2, 2, 100)...)
}

// rewrite changes the bytes of objects whose key has an ending.
func rewrite(t *testing.T, blobs blob.Store, ending string, change func([]byte) []byte) {
	t.Helper()
	for info, err := range blobs.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(info.Key, ending) {
			continue
		}
		r, err := blobs.Get(t.Context(), info.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := blobs.Put(t.Context(), info.Key, bytes.NewReader(change(data))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSharedIndexObjectIsCorrupt(t *testing.T) {
	t.Parallel()
	blobs, s := three(t, block.Options{})
	all := blocktest.Raw(1, 10, 200)
	blocktest.Put(t, s[0], all...)
	remove(t, s[1], all[:3]...)
	blocktest.Put(t, s[2], all[0])
	rewrite(t, blobs, ".idx", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	fresh := sharedOver(t, blobs, block.Options{})
	defer blocktest.Close(t, fresh)
	blocktest.Held(t, fresh, append(all[3:], all[0])...)
	blocktest.Missing(t, fresh, all[1:3]...)
}

// TestSharedOrphans: what a killed writer left without an index never counts,
// and goes when it is old.
func TestSharedOrphans(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blobs := blobsIn(t, dir)
	s := sharedOver(t, blobs, block.Options{})
	defer blocktest.Close(t, s)
	all := blocktest.Raw(1, 3, 200)
	blocktest.Put(t, s, all...)
	for _, key := range []string{"block/0-dead/1.car", "block/0-dead/2.car", "block/z-alive/1.car"} {
		if _, err := blobs.Put(t.Context(), key, strings.NewReader("half")); err != nil {
			t.Fatal(err)
		}
		if old := time.Now().Add(-48 * time.Hour); strings.Contains(key, "dead") {
			path, _ := blobs.(*disk.Store).LocalPath(key)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocktest.Held(t, s, all...)
	var left []string
	for info, err := range blobs.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, info.Key)
	}
	if len(left) != 3 || left[2] != "block/z-alive/1.car" {
		t.Errorf("left are %q", left)
	}
}

func TestSharedBadBlock(t *testing.T) {
	t.Parallel()
	blobs, s := three(t, block.Options{})
	all := blocktest.Raw(1, 3, 200)
	blocktest.Put(t, s[0], all...)
	rewrite(t, blobs, ".car", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	blocktest.Held(t, s[1], all[:2]...)
	blocktest.Missing(t, s[1], all[2])
	blocktest.Put(t, s[2], all[2])
	for _, one := range s[1:] {
		blocktest.Held(t, one, all...)
	}
	if _, err := s[1].Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh := sharedOver(t, blobs, block.Options{})
	defer blocktest.Close(t, fresh)
	blocktest.Held(t, fresh, all...)
}
