package block

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// tiny makes every border near: a few blocks fill a segment or a map.
func tiny() tuning {
	return tuning{segmentBytes: 700, memEntries: 6, checkpointBytes: 1 << 20, groupBytes: 1 << 20}
}

func openOn(t testing.TB, f files, tu tuning) *Store {
	t.Helper()
	l, err := openLog(context.Background(), f, io.NopCloser(nil), slog.New(slog.DiscardHandler), tu)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return &Store{home: l, log: slog.New(slog.DiscardHandler)}
}

// testBlock is small; every third one's key is derived.
func testBlock(i int) blocks.Block {
	data := fmt.Appendf(nil, "block %d %.*s", i, i%40, "........................................")
	b := cid.V1Builder{Codec: cid.Raw, MhType: mh.SHA2_256}
	if i%3 == 2 {
		b.MhType = mh.BLAKE2B_MIN + 31
	}
	c, err := b.Sum(data)
	if err != nil {
		panic(err)
	}
	out, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		panic(err)
	}
	return out
}

// step is something that was acknowledged: before op number at, held held.
type step struct {
	at      int
	held    map[int]bool
	touched map[int]bool // by the step itself: unsure while it is under way
}

// history runs a life of the store and says what it promised when.
func history(t *testing.T, m *memFiles) []step {
	held := map[int]bool{}
	steps := []step{{held: maps.Clone(held)}}
	s := openOn(t, m, tiny())
	do := func(touched []int, fn func() error) {
		t.Helper()
		if err := fn(); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		st := step{at: len(m.ops), held: maps.Clone(held), touched: map[int]bool{}}
		for _, i := range touched {
			st.touched[i] = true
		}
		steps = append(steps, st)
	}
	put := func(ids ...int) {
		var bs []blocks.Block
		for _, i := range ids {
			bs = append(bs, testBlock(i))
			held[i] = true
		}
		do(ids, func() error { return s.PutMany(t.Context(), bs) })
	}
	remove := func(ids ...int) {
		var cs []cid.Cid
		for _, i := range ids {
			cs = append(cs, testBlock(i).Cid())
			delete(held, i)
		}
		do(ids, func() error { return s.DeleteMany(t.Context(), cs) })
	}
	compact := func() {
		do(nil, func() error { _, err := s.Compact(t.Context()); return err })
	}
	put(1, 2, 3)
	put(4)
	remove(2, 3)
	put(5, 6, 7, 8, 9, 10, 11, 12)
	put(2)
	remove(5, 6, 7, 8, 9)
	compact()
	put(5, 20, 21)
	do(nil, s.Close)
	s = openOn(t, m, tiny())
	put(30, 31, 32, 33)
	remove(1, 2, 4, 30, 31, 32)
	compact()
	remove(33)
	put(1, 30)
	compact()
	do(nil, s.Close)
	return steps
}

// promised returns what was acknowledged before op number k, and what was under
// way.
func promised(steps []step, k int) (held, unsure map[int]bool) {
	for i, st := range steps {
		if st.at > k {
			return held, st.touched
		}
		held = steps[i].held
	}
	return held, nil
}

// check opens the store on what is left of a disk.
func check(t *testing.T, d *disk, held, unsure map[int]bool, where string, clean bool) {
	t.Helper()
	m := newMemFiles(d)
	s := openOn(t, m, tiny())
	for i := range 40 {
		want := testBlock(i)
		got, err := s.Get(t.Context(), want.Cid())
		switch {
		case err == nil && string(got.RawData()) != string(want.RawData()):
			t.Fatalf("%s: block %d has wrong bytes", where, i)
		case err != nil && !ipld.IsNotFound(err):
			t.Fatalf("%s: block %d: %v", where, i, err)
		case unsure[i]:
		case (err == nil) != held[i]:
			t.Fatalf("%s: block %d: found %v, promised %v", where, i, err == nil, held[i])
		}
	}
	m.mu.Lock()
	for name, in := range d.now {
		var id uint32
		if _, err := fmt.Sscanf(name, segmentFolder+"/%d.car", &id); err == nil && clean {
			checkCAR(t, where+": "+name, in.data)
		}
	}
	m.mu.Unlock()
	if err := s.PutMany(t.Context(), []blocks.Block{testBlock(1), testBlock(39)}); err != nil {
		t.Fatalf("%s: put after it: %v", where, err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("%s: close after it: %v", where, err)
	}
	s = openOn(t, m, tiny())
	for _, i := range []int{1, 39} {
		if _, err := s.Get(t.Context(), testBlock(i).Cid()); err != nil {
			t.Fatalf("%s: what was put after it: %v", where, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkCAR fails unless data is a header and whole, sound sections.
func checkCAR(t *testing.T, where string, data []byte) {
	t.Helper()
	if len(data) < len(segmentHeader) || string(data[:len(segmentHeader)]) != segmentHeader {
		t.Fatalf("%s: no header in %d bytes", where, len(data))
	}
	end, err := scan(readerAt(data), int64(len(segmentHeader)), int64(len(data)), func(s section) error {
		if s.bad {
			return errors.New("bad section")
		}
		return nil
	})
	if err != nil || end != int64(len(data)) {
		t.Fatalf("%s: sections end at %d of %d: %v", where, end, len(data), err)
	}
}

type readerAt []byte

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, r[min(off, int64(len(r))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestKillAtEveryByte ends the process at every boundary of an operation and
// within every write: at each byte of a short one, at fifty places of others.
func TestKillAtEveryByte(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	steps := history(t, m)
	d, cuts := newDisk(), 0
	for k, o := range m.ops {
		held, unsure := promised(steps, k)
		for n := 0; n < len(o.data); n += 1 + len(o.data)/50 {
			part := d.afterKill()
			part.do(o, n)
			check(t, part.afterKill(), held, unsure, fmt.Sprintf("killed at op %d (%s %s), byte %d of %d", k, o.kind, o.name, n, len(o.data)), true)
			cuts++
		}
		if len(o.data) == 0 {
			check(t, d.afterKill(), held, unsure, fmt.Sprintf("killed before op %d (%s %s)", k, o.kind, o.name), true)
			cuts++
		}
		d.do(o, -1)
	}
	held, unsure := promised(steps, len(m.ops))
	check(t, d.afterKill(), held, unsure, "at the end", true)
	t.Logf("%d operations, %d cuts", len(m.ops), cuts)
}

// TestPowerCutAtEveryOperation loses what was not synced, wholly or in part.
func TestPowerCutAtEveryOperation(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	steps := history(t, m)
	d := newDisk()
	for k := 0; k <= len(m.ops); k++ {
		held, unsure := promised(steps, k)
		check(t, d.afterPowerCut(nil), held, unsure, fmt.Sprintf("power cut before op %d", k), true)
		for seed := range uint64(4) {
			rng := rand.New(rand.NewPCG(seed, uint64(k)))
			check(t, d.afterPowerCut(rng), held, unsure, fmt.Sprintf("power cut before op %d, seed %d", k, seed), false)
		}
		if k < len(m.ops) {
			d.do(m.ops[k], -1)
		}
	}
}

// TestIndexLost kills the process and loses the manifest: everything is read
// again, and what was deleted stays deleted.
func TestIndexLost(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	steps := history(t, m)
	d := newDisk()
	for k := 0; k <= len(m.ops); k++ {
		held, unsure := promised(steps, k)
		left := d.afterKill()
		delete(left.now, manifestName)
		check(t, left, held, unsure, fmt.Sprintf("killed before op %d, manifest lost", k), true)
		if k < len(m.ops) {
			d.do(m.ops[k], -1)
		}
	}
}

// TestHeldAfterKillIsDurable puts again, after a kill, what the kill left in
// the page cache: once acknowledged it has to survive the loss of power.
func TestHeldAfterKillIsDurable(t *testing.T) {
	t.Parallel()
	m := newMemFiles(newDisk())
	steps := history(t, m)
	d := newDisk()
	for k := range m.ops {
		d.do(m.ops[k], -1)
		_, unsure := promised(steps, k+1)
		left := newMemFiles(d.clone())
		s := openOn(t, left, tiny())
		var bs []blocks.Block
		for i := range unsure {
			bs = append(bs, testBlock(i))
		}
		if err := s.PutMany(t.Context(), bs); err != nil {
			t.Fatal(err)
		}
		left.mu.Lock()
		cut := left.d.afterPowerCut(nil)
		left.mu.Unlock()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, cut, unsure, exceptFor(unsure), fmt.Sprintf("power cut after a kill after op %d", k), true)
	}
}

// exceptFor is unsure of every block but those.
func exceptFor(but map[int]bool) map[int]bool {
	unsure := map[int]bool{}
	for i := range 40 {
		unsure[i] = !but[i]
	}
	return unsure
}
