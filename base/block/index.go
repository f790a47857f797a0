package block

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
)

const indexFolder = "index"

// index maps keys to entries: a map of the newest, and sealed runs beneath. One
// goroutine of its own seals maps into runs and merges runs, so that writers do
// not wait for it unless they outrun it. Writes come from one caller at a time.
type index struct {
	fs    files
	log   *slog.Logger
	limit int // entries in the map

	// ordered: whatever is put later outranks what was there, so the first hit
	// from the newest run is the answer. Otherwise all are asked.
	ordered bool

	// newer reports whether a outranks b, which has the same key.
	newer func(a, b entry) bool

	// publish makes the list of runs, newest first, durable together with the
	// state that the newest seal was given. It comes before runs are used or
	// removed.
	publish func(runs []string, state any) error

	// spoil hears of a run with wrong bytes.
	spoil func(error)

	mu      sync.RWMutex
	mem     map[key]loc
	sealing []sealedMap // oldest first
	runs    []*run      // newest first; replaced, never changed
	epoch   uint64      // counts seals
	failure error       // of the last attempt to seal; nil after a success
	changed *sync.Cond
	closing bool

	state any           // of the newest run; the goroutine's
	next  int           // number of the next run file; the goroutine's
	work  chan struct{} // capacity 1
	done  chan struct{}
	pages atomic.Int64 // runs asked beyond their filter; tests count the work
}

// sealedMap is a full map on its way into a run.
type sealedMap struct {
	mem   map[key]loc
	state any
}

const defaultMemEntries = 128 << 10

func newIndex(fs files, log *slog.Logger, limit int) *index {
	x := &index{fs: fs, log: log, limit: limit, mem: map[key]loc{}, work: make(chan struct{}, 1), done: make(chan struct{})}
	x.changed = sync.NewCond(&x.mu)
	x.newer = func(a, b entry) bool { return a.rank > b.rank }
	x.publish = func([]string, any) error { return nil }
	x.spoil = func(error) {}
	return x
}

// start begins sealing and merging; stop ends it.
func (x *index) start() {
	go func() {
		defer close(x.done)
		for range x.work {
			x.settle()
		}
	}()
}

// settled waits until all sealed maps are runs, and returns why they cannot be.
func (x *index) settled() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.sealing) > 0 && x.failure == nil {
		x.changed.Wait()
	}
	if len(x.sealing) == 0 {
		return nil
	}
	return x.failure
}

// stop waits until all sealed maps are runs, or sealing fails, and closes the
// runs. It returns the failure.
func (x *index) stop() error {
	x.mu.Lock()
	if x.closing {
		x.mu.Unlock()
		return nil
	}
	x.closing = true
	x.mu.Unlock()
	x.nudge()
	close(x.work)
	<-x.done
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.runs {
		_ = r.file.Close()
	}
	return x.failure
}

func (x *index) nudge() {
	select {
	case x.work <- struct{}{}:
	default:
	}
}

// find returns the entry that holds for a key, which may be a tombstone.
func (x *index) find(k key) (entry, bool, error) {
	x.mu.RLock()
	best, ok := x.inMemory(k)
	runs := x.runs
	x.mu.RUnlock()
	if ok && x.ordered {
		return best, true, nil
	}
	for _, r := range runs {
		if !r.filter.has(k) {
			continue
		}
		x.pages.Add(1)
		e, hit, err := r.find(k)
		if err != nil {
			return entry{}, false, x.report(err)
		}
		if hit && (!ok || x.newer(e, best)) {
			best, ok = e, true
		}
		if hit && x.ordered {
			break
		}
	}
	return best, ok, nil
}

func (x *index) report(err error) error {
	if errors.Is(err, errSpoiled) {
		x.spoil(err)
	}
	return err
}

// inMemory asks the maps; x.mu is held.
func (x *index) inMemory(k key) (best entry, ok bool) {
	best.key = k
	best.loc, ok = x.mem[k]
	for i := len(x.sealing) - 1; i >= 0 && !(ok && x.ordered); i-- {
		if l, hit := x.sealing[i].mem[k]; hit && (!ok || x.newer(entry{key: k, loc: l}, best)) {
			best.loc, ok = l, true
		}
	}
	return best, ok
}

// since is find for a key that was asked for at an epoch: only what came since
// is looked at. The second result is false when nothing came, or all of the
// index has to be asked because the epoch is over.
func (x *index) since(k key, epoch uint64) (e entry, hit, same bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.epoch != epoch {
		return entry{}, false, false
	}
	l, hit := x.mem[k]
	return entry{key: k, loc: l}, hit, true
}

func (x *index) now() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.epoch
}

// put enters what the changes made; what the map holds and outranks it stays.
func (x *index) put(changes []change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range changes {
		ch := &changes[i]
		if ch.carried {
			continue
		}
		if old, ok := x.mem[ch.key]; !ok || !x.newer(entry{key: ch.key, loc: old}, ch.entry) {
			x.mem[ch.key] = ch.loc
		}
	}
}

// verified remembers that the copy that e names has the right bytes.
func (x *index) verified(e entry) {
	if e.run != nil {
		e.run.markVerified(e.ord)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if in, ok := x.mem[e.key]; ok && in.at(e.loc) {
		in.flag |= verified
		x.mem[e.key] = in
	}
}

// memory returns the number of runs and about how many bytes the index holds.
func (x *index) memory() (runs int, bytes int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	const perEntry = 90 // key, place and the map's slack
	n := len(x.mem)
	for _, s := range x.sealing {
		n += len(s.mem)
	}
	bytes = int64(n) * perEntry
	for _, r := range x.runs {
		bytes += r.memory()
	}
	return len(x.runs), bytes
}
