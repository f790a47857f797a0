package block

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// joinFew small segments are worth joining.
const joinFew = 8

// compact copies what is live, and the tombstones that hold, into new objects,
// then removes the old ones. Readers in other processes that meet a removed one
// list again. Two processes may compact at once: both copies of a block are the
// same, and all agree on which of them counts.
func (s *shared) compact(ctx context.Context) (CompactReport, error) {
	s.compactMu.Lock()
	defer s.compactMu.Unlock()
	var rep CompactReport
	if err := errors.Join(s.isClosed(), s.refresh(ctx)); err != nil {
		return rep, err
	}
	mover := mover{s: s, limit: s.joinBytes()}
	var done []uint32
	for _, seg := range s.due() {
		whole, err := mover.take(ctx, seg)
		if fault.Is(err, fault.NotFound) { // another process was first
			s.mu.Lock()
			s.objects[seg-1].gone = true
			s.mu.Unlock()
			continue
		}
		if err != nil {
			return rep, err
		}
		if whole {
			done = append(done, seg)
		} else {
			rep.Kept++
		}
	}
	if err := mover.flush(ctx); err != nil {
		return rep, err
	}
	rep.MovedBytes = mover.moved
	for _, seg := range done {
		size, err := s.drop(ctx, seg)
		if err != nil {
			return rep, err
		}
		rep.Segments++
		rep.FreedBytes += size
	}
	rep.FreedBytes -= rep.MovedBytes
	return rep, s.sweep(ctx)
}

// orphanAge is far beyond the time that a writer takes from a segment to its
// index, and any difference of clocks.
const orphanAge = 24 * time.Hour

// sweep removes old segments without an index: their writer was killed, or the
// compaction that removed the index was.
func (s *shared) sweep(ctx context.Context) error {
	var orphan blob.Info // a segment whose index would be the next key
	remove := func() error {
		if orphan.Key == "" || time.Since(orphan.ModTime) < orphanAge {
			return nil
		}
		return fault.Wrap(s.store.Delete(ctx, orphan.Key), "remove orphan %s", orphan.Key)
	}
	for info, err := range s.store.List(ctx, sharedPrefix, "") {
		if err != nil {
			return fault.Wrap(err, "list the segments of %s", sharedPrefix)
		}
		if name, ok := strings.CutSuffix(info.Key, ".idx"); ok && orphan.Key == name+".car" {
			orphan = blob.Info{}
			continue
		}
		if err := remove(); err != nil {
			return err
		}
		orphan = blob.Info{}
		if strings.HasSuffix(info.Key, ".car") {
			orphan = info
		}
	}
	return remove()
}

// joinBytes is the size of the objects that compaction makes, which it holds in
// memory.
func (s *shared) joinBytes() int64 { return min(s.segmentBytes, 32<<20) }

// due returns the segments that are less than half alive, damaged, or small
// while there are many such.
func (s *shared) due() []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var due, small []uint32
	for i, o := range s.objects {
		seg := uint32(i + 1)
		switch {
		case o.gone:
		case o.bad || 2*o.live < o.size-int64(len(segmentHeader)):
			due = append(due, seg)
		case o.size < s.joinBytes()/4:
			small = append(small, seg)
		}
	}
	if len(small) >= joinFew {
		due = append(due, small...)
		slices.Sort(due)
	}
	return due
}

// mover carries sections from old objects to new ones.
type mover struct {
	s     *shared
	limit int64
	items []item
	size  int64
	moved int64
}

// take gathers what still counts of a segment. It reports whether all of it
// could be read.
func (m *mover) take(ctx context.Context, seg uint32) (bool, error) {
	o := m.s.object(seg)
	var bad []item
	end, err := m.s.scanObject(ctx, o, func(sec section, _ uint64) error {
		h := sec.cid.Hash()
		codec, _, hidden := sec.mark()
		if codec == codecTombstone {
			h = hidden
		} else if !sec.isBlock() {
			return nil
		}
		k, d := keyOf(h)
		cur, ok, err := m.s.idx.find(k)
		if err != nil || !ok || cur.seg != seg || int64(cur.off) != sec.off {
			return err
		}
		it := item{key: k, cid: sec.cid, from: &cur}
		if d {
			it.flag |= derived
		}
		switch {
		case sec.bad:
			bad = append(bad, it)
			return nil
		case codec == codecTombstone:
			it.flag, it.cid = it.flag|dead, cid.NewCidV1(cid.Raw, h)
		default:
			it.data = slices.Clone(sec.data)
		}
		m.items = append(m.items, it)
		m.size += sec.bytes()
		if m.size >= m.limit {
			return m.flush(ctx)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFraming) {
		return false, err
	}
	for _, it := range bad {
		m.s.quarantine(ctx, *it.from, it.cid, fault.New(fault.Internal, "block %s: it has another digest", it.cid))
	}
	return err == nil && end == o.size, nil
}

// flush commits what is gathered.
func (m *mover) flush(ctx context.Context) error {
	if len(m.items) == 0 {
		return nil
	}
	err := m.s.submit(ctx, m.items)
	m.moved += m.size
	m.items, m.size = nil, 0
	return err
}

// drop removes an object of which nothing counts any more. Its index goes first:
// without it the segment does not count.
func (s *shared) drop(ctx context.Context, seg uint32) (int64, error) {
	o := s.object(seg)
	for _, key := range []string{o.name + ".idx", o.name + ".car"} {
		if err := s.store.Delete(ctx, key); err != nil {
			return 0, fault.Wrap(err, "remove segment %s", o.name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.gone = true
	return o.size, nil
}
