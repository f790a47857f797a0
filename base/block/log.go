package block

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

const segmentFolder = "segments"

// tuning holds what only tests set otherwise.
type tuning struct {
	segmentBytes    int64
	memEntries      int
	checkpointBytes int64 // of log between two checkpoints, which a start has to read again
	groupBytes      int64 // of blocks in one commit
}

func (o Options) tuning() tuning {
	return tuning{
		segmentBytes: o.SegmentBytes, memEntries: defaultMemEntries,
		checkpointBytes: min(o.SegmentBytes, 256<<20), groupBytes: 64 << 20,
	}
}

// log is the home of segments on the local disk: one sequence of sections,
// blocks and tombstones, cut into files. What comes later in it outranks what
// came before: the rank of a section is its place.
type log struct {
	tuning
	fs     files
	lock   io.Closer
	logger *slog.Logger
	idx    *index

	queue     queue
	compactMu sync.Mutex // one compaction at a time

	// Of the one who commits:
	active   *segment // nil: the next commit makes one
	lastID   uint32
	scratch  batch
	unsealed int64 // bytes written since the last checkpoint
	broken   bool  // the active segment may have bytes beyond its size

	mu       sync.RWMutex
	segments map[uint32]*segment
	blocks   int64

	closed  atomic.Bool
	spoiled atomic.Bool // a run of the index is corrupt
}

// segment is one file of the log. Its numbers are guarded by log.mu, and
// changed only by who commits.
type segment struct {
	segmentState
	file     file
	reserved int64 // disk space asked for, from the beginning of the file
	leaving  bool  // compaction is done with it
}

func segmentName(id uint32) string { return fmt.Sprintf("%s/%08d.car", segmentFolder, id) }

func rankAt(seg uint32, off int64) uint64 { return uint64(seg)<<32 | uint64(off) }

func (l *log) segment(id uint32) *segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.segments[id]
}

func (l *log) isClosed() error {
	if l.closed.Load() {
		return fault.New(fault.Unavailable, "block store %s is closed", l.fs)
	}
	return nil
}

// find leaves out what is dead.
func (l *log) find(_ context.Context, k key) (entry, bool, error) {
	if err := l.isClosed(); err != nil {
		return entry{}, false, err
	}
	e, ok, err := l.idx.find(k)
	return e, ok && !e.has(dead), err
}

func (l *log) read(ctx context.Context, e entry, c cid.Cid, buf []byte) error {
	s := l.segment(e.seg)
	if s == nil {
		return errMoved
	}
	n, err := s.file.ReadAt(buf, e.data())
	switch {
	case n == len(buf):
	case errors.Is(err, os.ErrClosed):
		return errMoved
	case err == io.EOF:
		return &badBlock{l.quarantine(ctx, e, c, fault.New(fault.Internal, "block %s: the segment ends %d bytes early", c, len(buf)-n))}
	default:
		return classify(err, "read segment %s in %s", segmentName(e.seg), l.fs)
	}
	if e.has(verified) {
		return nil
	}
	if err := verify(c, buf); err != nil {
		return &badBlock{l.quarantine(ctx, e, c, err)}
	}
	l.idx.verified(e)
	return nil
}

// quarantine makes a bad copy missing. When even that cannot be written the
// copy is missing for this process, and found bad again by the next.
func (l *log) quarantine(ctx context.Context, e entry, c cid.Cid, cause error) Bad {
	l.logger.Error("bad block quarantined", "cid", c.String(), "segment", segmentName(e.seg), "offset", e.off, "err", cause)
	l.mu.Lock()
	if s := l.segments[e.seg]; s != nil {
		s.Damaged = true
	}
	l.mu.Unlock()
	it := item{key: e.key, flag: dead | e.flag&derived, cid: c, from: &e}
	if err := l.submit(context.WithoutCancel(ctx), []item{it}); err != nil {
		l.logger.Error("quarantine not written", "cid", c.String(), "err", err)
		l.hide(e)
	}
	return Bad{Cid: c, Segment: segmentName(e.seg), Err: cause}
}

// hide makes a copy missing in memory only.
func (l *log) hide(e entry) {
	l.queue.turn.Lock()
	defer l.queue.turn.Unlock()
	if cur, ok, err := l.idx.find(e.key); err != nil || !ok || !cur.at(e.loc) {
		return
	}
	l.apply([]change{{entry: entry{key: e.key, loc: loc{rank: e.rank, seg: e.seg, off: e.off, flag: dead}}, old: e.loc, replaces: true}})
}

func (l *log) remove(ctx context.Context, cids []cid.Cid) error {
	items := make([]item, len(cids))
	for i, c := range cids {
		items[i] = newItem(c, nil)
		items[i].flag |= dead
	}
	return l.submit(ctx, items)
}

func (l *log) entries(ctx context.Context) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		for e, err := range l.idx.all() {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(found{}, err)
				return
			}
			if e.has(dead) {
				continue
			}
			f := found{entry: e, cid: e.key.cid()}
			if e.has(derived) {
				f.cid, err = l.cidAt(e)
				if fault.Is(err, fault.Invalid) {
					l.logger.Error("block with a bad CID hidden", "segment", segmentName(e.seg), "offset", e.off, "err", err)
					l.hide(e)
				}
				if errors.Is(err, errMoved) || fault.Is(err, fault.Invalid) {
					continue
				}
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// cidAt reads the CID of a section, as CIDv1 with the raw codec, following it
// if it has moved; errMoved when the block is gone.
func (l *log) cidAt(e entry) (cid.Cid, error) {
	for range attempts {
		if s := l.segment(e.seg); s != nil {
			head := make([]byte, e.head)
			_, err := s.file.ReadAt(head, int64(e.off))
			if err == nil {
				c, err := headCid(e, head)
				if err != nil {
					return cid.Undef, err
				}
				return cid.NewCidV1(cid.Raw, c.Hash()), nil
			}
			if !errors.Is(err, os.ErrClosed) {
				return cid.Undef, classify(err, "read segment %s in %s", segmentName(e.seg), l.fs)
			}
		}
		var ok bool
		var err error
		if e, ok, err = l.find(context.Background(), e.key); err != nil {
			return cid.Undef, err
		}
		if !ok {
			break
		}
	}
	return cid.Undef, errMoved
}

func (l *log) stats() Stats {
	runs, mem := l.idx.memory()
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := Stats{Blocks: l.blocks, Segments: len(l.segments), IndexRuns: runs, IndexMemory: mem}
	for _, s := range l.segments {
		st.SegmentBytes += s.Size
		st.LiveBytes += s.Live - s.Marks
	}
	return st
}

// checkpoint is the state of the log now; the caller commits.
func (l *log) checkpoint() checkpoint {
	l.mu.RLock()
	defer l.mu.RUnlock()
	cp := checkpoint{Blocks: l.blocks, Segment: l.lastID}
	for _, id := range slices.Sorted(maps.Keys(l.segments)) {
		s := l.segments[id]
		if !s.leaving {
			cp.Segments = append(cp.Segments, s.segmentState)
		}
	}
	return cp
}

// seal begins a checkpoint; the caller commits. False means that there is no
// telling when it can be made.
func (l *log) seal() (bool, error) {
	sealed, err := l.idx.seal(l.checkpoint())
	if sealed {
		l.unsealed = 0
	}
	return sealed, err
}

func (l *log) close() error {
	l.queue.turn.Lock()
	defer l.queue.turn.Unlock()
	if l.closed.Swap(true) {
		return nil
	}
	err := l.repair()
	if err == nil {
		_, err = l.seal()
	}
	err = errors.Join(err, l.idx.stop())
	if l.active != nil {
		l.active.file.finish(l.active.Size)
	}
	l.closeSegments()
	return errors.Join(err, l.lock.Close())
}

func (l *log) closeSegments() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		_ = s.file.Close() // what matters was synced
	}
}
