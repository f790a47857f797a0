package block

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/fault"
)

func testBlocks(from, to int) (bs []blocks.Block) {
	for i := from; i < to; i++ {
		bs = append(bs, testBlock(i))
	}
	return bs
}

func mustPut(t *testing.T, s *Store, bs ...blocks.Block) {
	t.Helper()
	if err := s.PutMany(t.Context(), bs); err != nil {
		t.Fatal(err)
	}
}

func mustHold(t *testing.T, s *Store, bs ...blocks.Block) {
	t.Helper()
	for _, b := range bs {
		got, err := s.Get(t.Context(), b.Cid())
		if err != nil || string(got.RawData()) != string(b.RawData()) {
			t.Fatalf("Get(%s): %v", b.Cid(), err)
		}
	}
}

func mustMiss(t *testing.T, s *Store, bs ...blocks.Block) {
	t.Helper()
	for _, b := range bs {
		if _, err := s.Get(t.Context(), b.Cid()); !ipld.IsNotFound(err) || !fault.Is(err, fault.NotFound) {
			t.Fatalf("Get(%s): %v, want not found", b.Cid(), err)
		}
	}
}

// segmentsAreWhole fails unless every segment file is a valid CAR.
func segmentsAreWhole(t *testing.T, m *memFiles) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, in := range m.d.now {
		if strings.HasPrefix(name, segmentFolder) {
			checkCAR(t, name, in.data)
		}
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for room := 0; room < 600; room += 3 {
		m := newMemFiles(newDisk())
		s := openOn(t, m, tiny())
		mustPut(t, s, testBlocks(0, 3)...)
		m.mu.Lock()
		m.room = room
		m.mu.Unlock()
		var err error
		n := 3
		for ; err == nil && n < 60; n += 2 {
			err = s.PutMany(t.Context(), testBlocks(n, n+2))
		}
		if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), m.String()) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d bytes: %v", room, err)
		}
		mustHold(t, s, testBlocks(0, n-2)...)
		segmentsAreWhole(t, m)
		m.mu.Lock()
		m.room = -1
		m.mu.Unlock()
		mustPut(t, s, testBlocks(0, n+5)...)
		mustHold(t, s, testBlocks(0, n+5)...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		segmentsAreWhole(t, m)
		s = openOn(t, m, tiny())
		mustHold(t, s, testBlocks(0, n+5)...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnyCallFails lets each operation of the disk fail once: nothing that was
// acknowledged is lost, and the store goes on.
func TestAnyCallFails(t *testing.T) {
	t.Parallel()
	for n := range 130 {
		m := newMemFiles(newDisk())
		s := openOn(t, m, tiny())
		left := n
		broken := &fs.PathError{Op: "do", Path: "it", Err: syscall.EIO}
		m.mu.Lock()
		m.fail = func(op) error {
			if left--; left == 0 {
				return broken
			}
			return nil
		}
		m.mu.Unlock()
		held := map[int]bool{}
		for i := 0; i < 40; i += 4 {
			if s.PutMany(t.Context(), testBlocks(i, i+4)) == nil {
				for j := range 4 {
					held[i+j] = true
				}
			}
			if i%12 == 8 { // when it fails, some may be deleted
				_ = s.DeleteMany(t.Context(), []cid.Cid{testBlock(i).Cid(), testBlock(i - 4).Cid()})
				delete(held, i)
				delete(held, i-4)
			}
			if i == 28 {
				_, _ = s.Compact(t.Context()) // may be the one that fails
			}
		}
		ids := slices.Sorted(maps.Keys(held))
		for _, i := range ids {
			mustHold(t, s, testBlock(i))
		}
		mustPut(t, s, testBlocks(50, 55)...)
		m.mu.Lock()
		cut := newMemFiles(m.d.afterPowerCut(nil))
		m.mu.Unlock()
		_ = s.Close() // may be the one that fails
		s = openOn(t, cut, tiny())
		for _, i := range append(ids, 50, 51, 52, 53, 54) {
			mustHold(t, s, testBlock(i))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// spoilBlock changes one byte of a block in its segment.
func spoilBlock(t *testing.T, m *memFiles, b blocks.Block) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, in := range m.d.now {
		if !strings.HasPrefix(name, segmentFolder) {
			continue
		}
		if i := strings.Index(string(in.data), string(b.RawData())); i >= 0 {
			in.data[i] ^= 1
			return
		}
	}
	t.Fatal("the block is in no segment")
}

func TestBadBlockIsQuarantined(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	s := openOn(t, m, tiny())
	all := testBlocks(0, 30)
	mustPut(t, s, all...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 11, 20} { // 11 and 20 have derived keys
		spoilBlock(t, m, all[i])
	}
	s = openOn(t, m, tiny())
	mustMiss(t, s, all[0])
	var bad []cid.Cid
	for b, err := range s.Scrub(t.Context()) {
		if err != nil || b.Err == nil || b.Segment == "" {
			t.Fatalf("Scrub: %+v, %v", b, err)
		}
		bad = append(bad, b.Cid)
	}
	if len(bad) != 2 {
		t.Errorf("Scrub found %v, want two", bad)
	}
	for range 2 {
		mustMiss(t, s, all[0], all[11], all[20])
		mustHold(t, s, all[1], all[12], all[29])
		if n := s.Stats().Blocks; n != 27 {
			t.Errorf("%d blocks, want 27", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openOn(t, m, tiny())
	}
	mustPut(t, s, all...)
	mustHold(t, s, all...)
	if _, err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustHold(t, s, all...)
	segmentsAreWhole(t, m) // compaction leaves no bad section behind
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBadReadOfVerifiedBlock: what this process wrote is trusted when read, and
// verified again by a scrub.
func TestBadReadOfVerifiedBlock(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	s := openOn(t, m, tiny())
	all := testBlocks(0, 10)
	mustPut(t, s, all...)
	spoilBlock(t, m, all[4])
	n := 0
	for b, err := range s.Scrub(t.Context()) {
		if err != nil || b.Cid.Hash().B58String() != all[4].Cid().Hash().B58String() {
			t.Fatalf("Scrub: %+v, %v", b, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("Scrub found %d", n)
	}
	mustMiss(t, s, all[4])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAnyByteOfTheIndexIsWrong flips bytes of the manifest and the runs: blocks
// are found as before, at the latest after the next start.
func TestAnyByteOfTheIndexIsWrong(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	s := openOn(t, m, tiny())
	all := testBlocks(0, 40)
	for part := range slices.Chunk(all, 4) {
		mustPut(t, s, part...)
	}
	if err := s.DeleteMany(t.Context(), []cid.Cid{all[0].Cid(), all[20].Cid()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, in := range m.d.now {
		if strings.HasPrefix(name, segmentFolder) {
			continue
		}
		for i := 0; i < len(in.data); i += 1 + len(in.data)/40 {
			left := newMemFiles(m.d.afterKill())
			left.d.now[name].data[i] ^= 0x10
			s := openOn(t, left, tiny())
			for _, b := range all { // this may find the damage; then it must say so
				if _, err := s.Get(t.Context(), b.Cid()); err != nil && !ipld.IsNotFound(err) && !fault.Is(err, fault.Unavailable) {
					t.Fatalf("%s, byte %d: %v", name, i, err)
				}
			}
			_ = s.Close()
			s = openOn(t, left, tiny())
			mustHold(t, s, all[1:20]...)
			mustHold(t, s, all[21:]...)
			mustMiss(t, s, all[0], all[20])
			if err := s.Close(); err != nil {
				t.Fatalf("%s, byte %d: %v", name, i, err)
			}
		}
	}
}

func TestLostSegment(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	s := openOn(t, m, tiny())
	all := testBlocks(0, 40)
	mustPut(t, s, all...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	delete(m.d.now, segmentName(2))
	s = openOn(t, m, tiny())
	lost := 0
	for _, b := range all {
		if _, err := s.Get(t.Context(), b.Cid()); ipld.IsNotFound(err) {
			lost++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 || lost == len(all) {
		t.Errorf("%d blocks lost with one segment", lost)
	}
	mustPut(t, s, all...)
	mustHold(t, s, all...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	s := openOn(t, m, tiny())
	mustPut(t, s, testBlocks(0, 30)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	delete(m.d.now, manifestName)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openLog(ctx, m, io.NopCloser(nil), slog.New(slog.DiscardHandler), tiny()); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
}

// TestWorkIsLinear counts what the store asks of the disk, not the time.
func TestWorkIsLinear(t *testing.T) {
	t.Parallel()
	type work struct{ put, get, open, syncs int }
	measure := func(n int) (w work) {
		tu := tuning{segmentBytes: 64 << 10, memEntries: 64, checkpointBytes: 64 << 10, groupBytes: 1 << 20}
		m := newMemFiles(newDisk())
		s := openOn(t, m, tu)
		cost := func(before map[string]int) int {
			after := m.calls()
			return after["read"] + after["write"] + after["open"] - before["read"] - before["write"] - before["open"]
		}
		before := m.calls()
		for i := 0; i < n; i += 16 {
			mustPut(t, s, testBlocks(i, i+16)...)
		}
		if err := s.home.(*log).idx.settled(); err != nil {
			t.Fatal(err)
		}
		w.put, w.syncs = cost(before), m.calls()["sync"]
		before = m.calls()
		for i := range n {
			mustHold(t, s, testBlock(i))
		}
		w.get = cost(before)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		before = m.calls()
		s = openOn(t, m, tu)
		w.open = cost(before)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return w
	}
	small, large := measure(1000), measure(8000)
	t.Logf("1,000 blocks: %+v; 8,000 blocks: %+v", small, large)
	const more = 8 * 3 / 2 // eight times the blocks, and half as much again for the logarithm
	if large.put > more*small.put || large.syncs > more*small.syncs {
		t.Errorf("putting 8 times as many costs %d, from %d", large.put, small.put)
	}
	if large.get > more*small.get || large.get > 3*8000 {
		t.Errorf("getting 8 times as many costs %d reads, from %d", large.get, small.get)
	}
	if large.open > 100+more*small.open {
		t.Errorf("opening costs %d calls, from %d", large.open, small.open)
	}
}

func TestIndexMemory(t *testing.T) {
	t.Parallel()
	const n = 100_000
	es := make([]entry, n)
	for i := range es {
		es[i].key, _ = keyOf([]byte(fmt.Sprint(i)))
	}
	slices.SortFunc(es, compareEntries)
	m := newMemFiles(newDisk())
	r, err := writeRun(m, "index/1.run", n, func(yield func(entry, error) bool) {
		for _, e := range es {
			if !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if per := float64(r.memory()) / n; per > 1.6 {
		t.Errorf("%.2f bytes of memory a block, want at most 1.6", per)
	}
	wrong := 0
	for i := range n {
		var k key
		k, _ = keyOf([]byte(fmt.Sprint("absent", i)))
		if r.filter.has(k) {
			wrong++
		}
	}
	if wrong > n*3/100 {
		t.Errorf("the filter is wrong for %d of %d", wrong, n)
	}
	opened, err := openRun(m, "index/1.run")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 97 {
		got, ok, err := opened.find(es[i].key)
		if err != nil || !ok || got.key != es[i].key || int(got.ord) != i {
			t.Fatalf("entry %d: %+v, %v, %v", i, got, ok, err)
		}
	}
}
