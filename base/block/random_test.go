package block

import (
	"fmt"
	"math/rand/v2"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// TestAgainstAMap does random things to a store and to a map, loses power or
// the index now and then, and compares.
func TestAgainstAMap(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			life(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func life(t *testing.T, rng *rand.Rand) {
	const ids = 120
	held := map[int]bool{}
	m := newMemFiles(newDisk())
	s := openOn(t, m, tiny())
	some := func() (bs []blocks.Block, cs []cid.Cid, set []int) {
		for range 1 + rng.IntN(8) {
			i := rng.IntN(ids)
			bs, cs, set = append(bs, testBlock(i)), append(cs, testBlock(i).Cid()), append(set, i)
		}
		return bs, cs, set
	}
	for n := range 250 {
		bs, cs, set := some()
		var err error
		what := "put"
		switch r := rng.IntN(20); {
		case r < 10:
			err = s.PutMany(t.Context(), bs)
			for _, i := range set {
				held[i] = true
			}
		case r < 16:
			what, err = "delete", s.DeleteMany(t.Context(), cs)
			for _, i := range set {
				delete(held, i)
			}
		case r < 18:
			what = "compact"
			_, err = s.Compact(t.Context())
		default:
			what = "reopen"
			s, m = restart(t, rng, s, m)
		}
		if err != nil {
			t.Fatalf("%d: %s: %v", n, what, err)
		}
		compare(t, s, held, ids, fmt.Sprintf("%d, after %s", n, what))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// restart closes the store or cuts its power, and may lose the index.
func restart(t *testing.T, rng *rand.Rand, s *Store, m *memFiles) (*Store, *memFiles) {
	var left *disk
	if rng.IntN(2) == 0 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		left = m.d
	} else {
		m.mu.Lock()
		left = m.d.afterPowerCut(nil)
		m.mu.Unlock()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rng.IntN(2) == 0 {
		delete(left.now, manifestName)
	}
	m = newMemFiles(left)
	return openOn(t, m, tiny()), m
}

func compare(t *testing.T, s *Store, held map[int]bool, ids int, when string) {
	t.Helper()
	for i := range ids {
		got, err := s.Get(t.Context(), testBlock(i).Cid())
		if (err == nil) != held[i] || (err != nil && !ipld.IsNotFound(err)) {
			t.Fatalf("%s: block %d: %v, held %v", when, i, err, held[i])
		}
		if err == nil && string(got.RawData()) != string(testBlock(i).RawData()) {
			t.Fatalf("%s: block %d has wrong bytes", when, i)
		}
	}
	if n := s.Stats().Blocks; n != int64(len(held)) {
		t.Fatalf("%s: %d blocks, want %d", when, n, len(held))
	}
	ch, err := s.AllKeysChan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range ch {
		n++
	}
	if n != len(held) {
		t.Fatalf("%s: %d keys, want %d", when, n, len(held))
	}
}
