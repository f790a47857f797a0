package block

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// sharedPrefix begins the keys of a shared store:
//
//	block/<writer>/<number>.car   a segment, as on the local disk, with ranks
//	block/<writer>/<number>.idx   its entries; the segment counts from when this is there
//
// A writer is one opening of a store: the time it was opened, so that listings
// are in order of time, and a random part, so that it has its keys to itself.
// Its numbers rise, and an object is complete before the next one is begun: so
// what a writer has added is what lies behind its last key that was seen, and
// no clock has to be right.
const sharedPrefix = "block/"

// shared is the home of segments in a blob.Store. Objects are never changed.
// The order between writers is kept by ranks, as Lamport's clock makes them:
// before a commit the new objects of all others are read, and its rank is above
// all of theirs. So a deletion hides every block that was acknowledged before it
// began, and no block that was put after it ended, in whatever order a process
// hears of them. At equal rank, which only calls at the same time have, a block
// outranks a tombstone.
type shared struct {
	tuning
	store  blob.Store
	dir    files // of the index, which is made anew at each opening
	lock   io.Closer
	logger *slog.Logger
	idx    *index
	writer string

	queue     queue
	compactMu sync.Mutex

	// Of the one who commits:
	number uint64
	doubt  []string // keys of an object that may or may not have come to be

	arrivals atomic.Uint64     // of those who want to see what is new
	listMu   sync.Mutex        // one listing at a time; also guards what it learns
	listed   uint64            // arrivals that the last listing served
	seen     map[string]string // writer to its last key

	mu      sync.RWMutex
	clock   uint64 // the highest time known
	objects []*object
	blocks  int64
	closed  atomic.Bool
}

// object is a segment in the store; its place in shared.objects, counted from
// 1, is the segment number of its entries in the index of this process.
type object struct {
	name string // key without the ending
	size int64
	live int64
	keep int64 // of live: bytes of tombstones
	bad  bool  // holds a block that is not what it should be
	gone bool  // removed by a compaction, ours or another process's
}

// Ranks are a time and a generation: what compaction moves keeps its time, so
// that tombstones hide and blocks show as before, and outranks its old copy.
const generationBits = 16

func openShared(ctx context.Context, dir string, lock io.Closer, o Options) (home, error) {
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	s := &shared{
		tuning: o.tuning(), store: o.Shared, dir: osFiles{dir: dir}, lock: lock, logger: o.Log,
		writer: fmt.Sprintf("%013x-%x", time.Now().UnixMicro(), random), seen: map[string]string{},
	}
	s.groupBytes = min(s.groupBytes, s.segmentBytes)
	if err := s.dir.mkdir(indexFolder); err != nil {
		return nil, classify(err, "make %s in %s", indexFolder, dir)
	}
	old, err := s.dir.list(indexFolder)
	if err != nil {
		return nil, classify(err, "list %s in %s", indexFolder, dir)
	}
	for _, name := range old {
		if err := s.dir.remove(indexFolder + "/" + name); err != nil {
			return nil, classify(err, "remove %s/%s in %s", indexFolder, name, dir)
		}
	}
	s.idx = newIndex(s.dir, o.Log, s.memEntries)
	s.idx.newer = s.newer
	s.idx.start()
	if err := s.refresh(ctx); err != nil {
		return nil, errors.Join(err, s.idx.stop())
	}
	return s, nil
}

// newer orders entries of one key the same way in every process.
func (s *shared) newer(a, b entry) bool {
	if ta, tb := a.rank>>generationBits, b.rank>>generationBits; ta != tb {
		return ta > tb
	}
	if a.has(dead) != b.has(dead) {
		return b.has(dead)
	}
	if a.rank != b.rank {
		return a.rank > b.rank
	}
	return a.seg != b.seg && s.object(a.seg).name > s.object(b.seg).name
}

func (s *shared) object(seg uint32) *object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.objects[seg-1]
}

func (s *shared) isClosed() error {
	if s.closed.Load() {
		return fault.New(fault.Unavailable, "block store %s is closed", s.dir)
	}
	return nil
}

// known is the live entry of a key as far as this process has heard.
func (s *shared) known(k key) (entry, bool, error) {
	e, ok, err := s.idx.find(k)
	if err != nil || !ok || e.has(dead) {
		return e, false, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return e, !s.objects[e.seg-1].gone, nil
}

// find looks for what others have added before it says that a block is missing.
func (s *shared) find(ctx context.Context, k key) (entry, bool, error) {
	if err := s.isClosed(); err != nil {
		return entry{}, false, err
	}
	e, ok, err := s.known(k)
	if ok || err != nil {
		return e, ok, err
	}
	if err := s.refresh(ctx); err != nil {
		return entry{}, false, err
	}
	return s.known(k)
}

func (s *shared) read(ctx context.Context, e entry, c cid.Cid, buf []byte) error {
	o := s.object(e.seg)
	err := s.fetch(ctx, o, e.data(), buf)
	switch {
	case fault.Is(err, fault.NotFound): // compacted away; what was moved is listed already
		s.mu.Lock()
		o.gone = true
		s.mu.Unlock()
		if err := s.refresh(ctx); err != nil {
			return err
		}
		return errMoved
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), fault.Is(err, fault.Invalid):
		return &badBlock{s.quarantine(ctx, e, c, fault.New(fault.Internal, "block %s: the segment ends early: %w", c, err))}
	case err != nil:
		return err
	case e.has(verified):
		return nil
	}
	if err := verify(c, buf); err != nil {
		return &badBlock{s.quarantine(ctx, e, c, err)}
	}
	s.idx.verified(e)
	return nil
}

// fetch fills buf from an object's segment.
func (s *shared) fetch(ctx context.Context, o *object, off int64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	r, err := s.store.Get(ctx, o.name+".car", off, int64(len(buf)))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, buf)
	return errors.Join(err, r.Close())
}

func (s *shared) quarantine(ctx context.Context, e entry, c cid.Cid, cause error) Bad {
	o := s.object(e.seg)
	s.logger.Error("bad block quarantined", "cid", c.String(), "segment", o.name, "offset", e.off, "err", cause)
	s.mu.Lock()
	o.bad = true
	s.mu.Unlock()
	it := item{key: e.key, flag: dead | e.flag&derived, cid: c, from: &e}
	if err := s.submit(context.WithoutCancel(ctx), []item{it}); err != nil {
		s.logger.Error("quarantine not written", "cid", c.String(), "err", err)
	}
	return Bad{Cid: c, Segment: o.name, Err: cause}
}

func (s *shared) put(ctx context.Context, items []item) error { return s.submit(ctx, items) }

func (s *shared) remove(ctx context.Context, cids []cid.Cid) error {
	items := make([]item, len(cids))
	for i, c := range cids {
		items[i] = newItem(c, nil)
		items[i].flag |= dead
	}
	return s.submit(ctx, items)
}

func (s *shared) entries(ctx context.Context) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		err := errors.Join(s.isClosed(), s.refresh(ctx))
		if err != nil {
			yield(found{}, err)
			return
		}
		for e, err := range s.idx.all() {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(found{}, err)
				return
			}
			if e.has(dead) || s.object(e.seg).gone {
				continue
			}
			f := found{entry: e, cid: e.key.cid()}
			if e.has(derived) {
				if f.cid, err = s.cidAt(ctx, e); errors.Is(err, errMoved) {
					continue
				}
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// cidAt reads the CID of a section, as CIDv1 with the raw codec; errMoved when
// the block is gone, or its CID no good.
func (s *shared) cidAt(ctx context.Context, e entry) (cid.Cid, error) {
	for range attempts {
		head := make([]byte, e.head)
		err := s.fetch(ctx, s.object(e.seg), int64(e.off), head)
		if err == nil {
			c, err := headCid(e, head)
			if err != nil {
				s.logger.Error("block with a bad CID left out", "segment", s.object(e.seg).name, "offset", e.off, "err", err)
				return cid.Undef, errMoved
			}
			return cid.NewCidV1(cid.Raw, c.Hash()), nil
		}
		if !fault.Is(err, fault.NotFound) {
			return cid.Undef, err
		}
		if err := s.refresh(ctx); err != nil {
			return cid.Undef, err
		}
		was := e
		var ok bool
		if e, ok, err = s.known(e.key); err != nil {
			return cid.Undef, err
		}
		if !ok || e.at(was.loc) {
			break
		}
	}
	return cid.Undef, errMoved
}

func (s *shared) stats() Stats {
	runs, mem := s.idx.memory()
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{Blocks: s.blocks, IndexRuns: runs, IndexMemory: mem}
	for _, o := range s.objects {
		if !o.gone {
			st.Segments++
			st.SegmentBytes += o.size
			st.LiveBytes += o.live - o.keep
		}
	}
	return st
}

func (s *shared) close() error {
	s.queue.turn.Lock()
	defer s.queue.turn.Unlock()
	s.listMu.Lock()
	defer s.listMu.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	err := s.repair(context.Background())
	_ = s.idx.stop() // the index is made anew the next time
	return errors.Join(err, s.lock.Close())
}
