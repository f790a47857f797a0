package block

import (
	"context"
	"errors"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// moveBytes is how much compaction holds in memory.
const moveBytes = 4 << 20

// compact goes: copy live blocks and tombstones that are still needed to the
// end of the log; make a checkpoint that names neither segment nor copy; remove
// the files, oldest first. Killed before the checkpoint, there are two copies
// of some blocks; killed after it, the next start removes the files.
func (l *log) compact(ctx context.Context) (CompactReport, error) {
	l.compactMu.Lock()
	defer l.compactMu.Unlock()
	due, err := l.due()
	if err != nil || len(due) == 0 {
		return CompactReport{}, err
	}
	all := len(due)
	var rep CompactReport
	if rep.MovedBytes, err = l.moveBlocks(ctx, due); err != nil {
		return rep, err
	}
	due, err = l.moveTombstones(ctx, due)
	if err != nil {
		return rep, err
	}
	gone, err := l.forget(due)
	for _, s := range gone {
		rep.Segments++
		rep.FreedBytes += s.Size
	}
	rep.FreedBytes -= rep.MovedBytes
	rep.Kept = all - len(gone)
	return rep, err
}

func (s *segment) isDue() bool { return s.Damaged || 2*s.Live < s.Size-int64(len(segmentHeader)) }

// due returns the segments to compact in order. If the active one is due, the
// next commit begins another.
func (l *log) due() ([]*segment, error) {
	l.queue.turn.Lock()
	defer l.queue.turn.Unlock()
	if err := errors.Join(l.isClosed(), l.repair()); err != nil {
		return nil, err
	}
	due := l.byID((*segment).isDue)
	if l.active != nil && slices.Contains(due, l.active) {
		l.active.file.finish(l.active.Size)
		l.active = nil
	}
	return due, nil
}

// byID returns the segments that are wanted, oldest first.
func (l *log) byID(wanted func(*segment) bool) []*segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []*segment
	for _, s := range l.segments {
		if wanted(s) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *segment) int { return int(int64(a.ID) - int64(b.ID)) })
	return all
}

// moveBlocks writes the live blocks of the segments again. The index says which
// those are, so damage elsewhere in a segment does not matter.
func (l *log) moveBlocks(ctx context.Context, due []*segment) (moved int64, err error) {
	var items []item
	var size int64
	from := make(map[uint32]bool, len(due))
	for _, s := range due {
		from[s.ID] = true
	}
	flush := func() error {
		err := l.submit(ctx, items)
		items, moved, size = nil, moved+size, 0
		return err
	}
	for e, err := range l.idx.all() {
		if err != nil {
			return moved, err
		}
		if e.has(dead) || !from[e.seg] {
			continue
		}
		it, err := l.lift(ctx, e)
		if err != nil {
			return moved, err
		}
		if it == nil {
			continue
		}
		items = append(items, *it)
		if size += e.bytes(); size >= moveBytes {
			if err := flush(); err != nil {
				return moved, err
			}
		}
	}
	if len(items) > 0 {
		err = flush()
	}
	return moved, err
}

// lift reads a block for moving; nil when it is not there any more.
func (l *log) lift(ctx context.Context, e entry) (*item, error) {
	s := l.segment(e.seg)
	if s == nil {
		return nil, nil
	}
	head := make([]byte, e.head)
	c := e.key.cid()
	if _, err := s.file.ReadAt(head, int64(e.off)); err == nil {
		if whole, err := headCid(e, head); err == nil {
			c = whole
		} else if e.has(derived) {
			l.hide(e)
			return nil, nil
		}
	}
	data := make([]byte, e.size)
	err := l.read(ctx, e, c, data)
	var bad *badBlock
	if errors.Is(err, errMoved) || errors.As(err, &bad) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, "move block %s", c)
	}
	return &item{key: e.key, flag: e.flag & derived, cid: c, data: data, from: &e}, nil
}

// moveTombstones carries on the tombstones that hide copies in segments that
// stay: were the index lost, those copies would come back. It returns the
// segments all of whose tombstones were seen.
func (l *log) moveTombstones(ctx context.Context, due []*segment) ([]*segment, error) {
	oldest := ^uint32(0) // of the segments that stay
	if stay := l.byID(func(s *segment) bool { return !slices.Contains(due, s) }); len(stay) > 0 {
		oldest = stay[0].ID
	}
	var kept []*segment
	for _, s := range due {
		seen := int64(0)
		var items []item
		if s.Marks > 0 {
			_, err := scan(s.file, int64(len(segmentHeader)), s.Size, func(sec section) error {
				codec, rank, h := sec.mark()
				if sec.bad || sec.isBlock() {
					return ctx.Err()
				}
				seen += sec.bytes()
				if codec == codecTombstone && oldest <= uint32(rank>>32) {
					k, _ := keyOf(h)
					items = append(items, item{key: k, flag: dead, cid: cid.NewCidV1(cid.Raw, h), rank: rank})
				}
				return ctx.Err()
			})
			if err != nil && !errors.Is(err, errFraming) {
				return nil, fault.Wrap(err, "read segment %s in %s", segmentName(s.ID), l.fs)
			}
			if len(items) > 0 {
				if err := l.submit(ctx, items); err != nil {
					return nil, err
				}
			}
		}
		if seen < s.Marks {
			l.logger.Error("damaged segment kept, not all of its tombstones can be read", "segment", segmentName(s.ID))
			break // and the later ones, whose tombstones may be about this one
		}
		kept = append(kept, s)
	}
	return kept, nil
}

// forget makes a checkpoint without the segments and removes their files.
func (l *log) forget(due []*segment) (gone []*segment, err error) {
	if gone, err = l.leave(due); err != nil || len(gone) == 0 {
		return nil, err
	}
	if err := l.idx.settled(); err != nil {
		l.stay(gone)
		return nil, err
	}
	for i, s := range gone {
		l.mu.Lock()
		delete(l.segments, s.ID)
		l.mu.Unlock()
		err := errors.Join(s.file.Close(), l.fs.remove(segmentName(s.ID)))
		if err != nil {
			return gone[:i], classify(err, "remove segment %s in %s", segmentName(s.ID), l.fs)
		}
	}
	return gone, classify(l.fs.sync(segmentFolder), "sync %s in %s", segmentFolder, l.fs)
}

// leave marks the segments that hold nothing live and seals the index.
func (l *log) leave(due []*segment) (gone []*segment, err error) {
	l.queue.turn.Lock()
	defer l.queue.turn.Unlock()
	if err := l.isClosed(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	for _, s := range due {
		if s.Live == s.Marks {
			s.leaving = true
			gone = append(gone, s)
		}
	}
	l.mu.Unlock()
	if len(gone) == 0 {
		return nil, nil
	}
	sealed, err := l.seal()
	if err == nil && !sealed {
		err = fault.New(fault.Exhausted, "compact %s: the index cannot be written; make room on its disk", l.fs)
	}
	if err != nil {
		l.stay(gone)
	}
	return gone, err
}

// stay takes back that segments are leaving.
func (l *log) stay(gone []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range gone {
		s.leaving = false
	}
}
