package block

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/firth-project/firth/base/fault"
)

func (s *shared) submit(ctx context.Context, items []item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.queue.run(&request{items: items}, s.groupBytes, s.commit)
}

// commit writes a group as one object, or a few when it is large or has two
// changes of one block. It outlives the context of the caller whose turn it is:
// the others' calls hang on it too.
func (s *shared) commit(group []*request) error {
	ctx := context.Background()
	if err := s.isClosed(); err != nil {
		return err
	}
	if err := s.repair(ctx); err != nil {
		return err
	}
	if err := s.refresh(ctx); err != nil {
		return err
	}
	w := objectWriter{s: s}
	for _, r := range group {
		for i := range r.items {
			if err := w.add(ctx, &r.items[i]); err != nil {
				return err
			}
		}
	}
	return w.write(ctx)
}

// objectWriter gathers the sections of an object.
type objectWriter struct {
	s       *shared
	placed  map[key]bool
	changes []change
	bufs    [][]byte
	size    int64
	rank    uint64 // of what comes next; a mark is written where it changes
	time    uint64 // of this object
}

func (w *objectWriter) add(ctx context.Context, it *item) error {
	full := w.size >= w.s.segmentBytes || len(w.changes) >= maxObjectItems
	if full || w.placed[it.key] { // within an object nothing comes before or after
		if err := w.write(ctx); err != nil {
			return err
		}
	}
	cur, known, err := w.s.idx.find(it.key)
	if err != nil {
		return err
	}
	live := known && !cur.has(dead) && !w.s.object(cur.seg).gone
	if !it.dueShared(cur.loc, known, live) {
		return nil
	}
	if w.placed == nil {
		w.begin()
	}
	w.placed[it.key] = true
	w.append(it)
	return nil
}

// dueShared reports whether the item changes anything.
func (it *item) dueShared(cur loc, known, live bool) bool {
	switch {
	case it.from != nil: // moved, carried or quarantined: only that copy
		return known && cur.at(it.from.loc)
	case it.flag&dead != 0:
		return live
	}
	return !live
}

func (w *objectWriter) begin() {
	w.s.mu.RLock()
	w.time = w.s.clock + 1
	w.s.mu.RUnlock()
	w.placed = map[key]bool{}
	w.bufs = append(w.bufs, []byte(segmentHeader))
	w.size = int64(len(segmentHeader))
	w.rank = 0
}

// rankOf says where an item stands in time.
func (w *objectWriter) rankOf(it *item) uint64 {
	moved := it.from != nil && it.from.has(dead) == (it.flag&dead != 0)
	if !moved {
		return w.time << generationBits
	}
	if it.from.rank&(1<<generationBits-1) == 1<<generationBits-1 {
		return it.from.rank
	}
	return it.from.rank + 1
}

func (w *objectWriter) append(it *item) {
	rank := w.rankOf(it)
	l := loc{rank: rank, size: uint32(len(it.data)), flag: it.flag | verified}
	if it.flag&dead == 0 && rank != w.rank {
		mark := appendMark(nil, codecRank, binary.BigEndian.AppendUint64(nil, rank))
		w.bufs = append(w.bufs, mark)
		w.size += int64(len(mark))
		w.rank = rank
	}
	l.off = uint32(w.size)
	if it.flag&dead == 0 {
		head := appendHead(nil, it.cid, len(it.data))
		l.head = uint8(len(head))
		w.bufs = append(w.bufs, head, it.data)
	} else {
		mark := tombstone(nil, rank, it.cid.Hash())
		l.size = uint32(8 + len(it.cid.Hash()))
		l.head = uint8(len(mark) - int(l.size))
		w.bufs = append(w.bufs, mark)
	}
	w.size += l.bytes()
	w.changes = append(w.changes, change{entry: entry{key: it.key, loc: l}})
}

// write stores the object: the segment, then its index, which makes it count.
func (w *objectWriter) write(ctx context.Context) error {
	s := w.s
	if len(w.changes) == 0 {
		return nil
	}
	s.number++ // also when this fails: a key is never used twice
	name := fmt.Sprintf("%s%s/%012x", sharedPrefix, s.writer, s.number)
	s.doubt = []string{name + ".idx", name + ".car"}
	readers := make([]io.Reader, len(w.bufs))
	for i, b := range w.bufs {
		readers[i] = bytes.NewReader(b)
	}
	_, err := s.store.Put(ctx, name+".car", io.MultiReader(readers...))
	if err == nil {
		_, err = s.store.Put(ctx, name+".idx", bytes.NewReader(encodeEntries(w.changes)))
	}
	if err != nil {
		if rerr := s.repair(ctx); rerr != nil {
			s.logger.Error("unfinished segment not removed", "segment", name, "err", rerr)
		}
		return fault.Wrap(err, "write segment %s", name)
	}
	s.doubt = nil
	changes := w.changes
	*w = objectWriter{s: s}
	return s.wrote(name, changes)
}

// wrote enters an object of our own.
func (s *shared) wrote(name string, changes []change) error {
	s.listMu.Lock()
	defer s.listMu.Unlock()
	last := name + ".idx"
	if s.seen[writerOf(name)] >= last { // a listing in between has met it, unverified
		return nil
	}
	s.seen[writerOf(name)] = last
	s.mu.Lock()
	s.objects = append(s.objects, &object{name: name, size: int64(len(segmentHeader))})
	seg := uint32(len(s.objects))
	s.mu.Unlock()
	for i := range changes {
		changes[i].seg = seg
	}
	return s.apply(changes)
}

// repair removes an object that a failed commit may have left. Until that
// succeeds nothing more is written: what nobody was promised must not appear to
// other processes later.
func (s *shared) repair(ctx context.Context) error {
	for len(s.doubt) > 0 {
		if err := s.store.Delete(ctx, s.doubt[0]); err != nil {
			return fault.Wrap(err, "remove unfinished segment %s", s.doubt[0])
		}
		s.doubt = s.doubt[1:]
	}
	return nil
}
