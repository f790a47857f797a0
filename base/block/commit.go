package block

import (
	"context"
	"sync"
)

// request is one caller's items on their way through a commit.
type request struct {
	items []item
	epoch uint64 // of the index when the items were looked up
	done  bool
	err   error
}

// queue gathers requests while a commit is under way. Whoever gets the turn
// next commits all of them: the slower the disk, the larger the group.
type queue struct {
	turn sync.Mutex

	mu      sync.Mutex
	waiting []*request
}

func (q *queue) add(r *request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, r)
}

// take removes the first requests, up to about limit bytes, at least one.
func (q *queue) take(limit int64) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, int64(0)
	for n < len(q.waiting) && (n == 0 || size < limit) {
		for _, it := range q.waiting[n].items {
			size += int64(len(it.data))
		}
		n++
	}
	group := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return group
}

// run sees to it that the request is committed, by whoever has the turn.
func (q *queue) run(r *request, limit int64, commit func([]*request) error) error {
	q.add(r)
	q.turn.Lock()
	defer q.turn.Unlock()
	for !r.done {
		group := q.take(limit)
		err := commit(group)
		for _, m := range group {
			m.done, m.err = true, err
		}
	}
	return r.err
}

// put drops what is held before it queues: held means durable, since the index
// learns of a block after the sync.
func (l *log) put(ctx context.Context, items []item) error {
	epoch := l.idx.now()
	fresh := items[:0]
	for _, it := range items {
		_, held, err := l.find(ctx, it.key)
		if err != nil {
			return err
		}
		if !held {
			fresh = append(fresh, it)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return l.enqueue(&request{items: fresh, epoch: epoch})
}

// submit commits items of any sort.
func (l *log) submit(ctx context.Context, items []item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.enqueue(&request{items: items, epoch: unknownEpoch})
}

// unknownEpoch makes a commit ask the whole index.
const unknownEpoch = ^uint64(0)

func (l *log) enqueue(r *request) error {
	return l.queue.run(r, l.groupBytes, l.commit)
}

// change is an item that has its place in the log.
type change struct {
	entry
	old      loc  // the live copy that this puts an end to
	replaces bool // there is one
	carried  bool // a tombstone that the index knows already
}

// commit writes a group and syncs it once. The group shares its error: when it
// fails, what is not synced yet is taken off the log again.
func (l *log) commit(group []*request) error {
	if err := l.isClosed(); err != nil {
		return err
	}
	if err := l.repair(); err != nil {
		return err
	}
	if l.idx.full() || l.unsealed >= l.checkpointBytes {
		if _, err := l.seal(); err != nil {
			return err
		}
	}
	p := &l.scratch
	p.reset(l)
	defer p.reset(l) // lets the callers' blocks go
	for _, r := range group {
		for i := range r.items {
			if err := p.add(&r.items[i], r.epoch); err != nil {
				return err
			}
		}
	}
	return p.write()
}

// roll closes the active segment and begins the next.
func (l *log) roll() error {
	if s := l.active; s != nil {
		s.file.finish(s.Size)
		l.active = nil
	}
	l.lastID++ // also when this fails: what the failure leaves is never taken for a segment
	id := l.lastID
	name := segmentName(id)
	f, err := l.fs.create(name)
	if err != nil {
		return classify(err, "begin segment %s in %s", name, l.fs)
	}
	err = f.writeAt([][]byte{[]byte(segmentHeader)}, 0)
	if err == nil {
		err = l.fs.sync(segmentFolder)
	}
	if err != nil {
		_ = f.Close()
		_ = l.fs.remove(name)
		return classify(err, "begin segment %s in %s", name, l.fs)
	}
	l.active = &segment{segmentState: segmentState{ID: id, Size: int64(len(segmentHeader))}, file: f}
	l.mu.Lock()
	l.segments[id] = l.active
	l.mu.Unlock()
	return nil
}

// apply makes durable changes known: numbers first, then the index.
func (l *log) apply(changes []change) {
	l.mu.Lock()
	for i := range changes {
		ch := &changes[i]
		s := l.segments[ch.seg]
		if ch.head > 0 { // a section of its own, not just a hidden copy
			s.Live += ch.bytes()
		}
		switch {
		case !ch.has(dead):
			l.blocks++
		case ch.head > 0:
			s.Marks += ch.bytes()
		}
		if ch.replaces {
			l.blocks--
			if old := l.segments[ch.old.seg]; old != nil {
				old.Live -= ch.old.bytes()
			}
		}
	}
	l.mu.Unlock()
	l.idx.put(changes)
}
