package pack

import (
	"iter"
	"sync"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// A batch is what a worker has in hand: at most batchBytes of CAR, which are 16
// leaves of 1 MiB, one for each lane of the hash, and at most batchUnits files.
// More than fullWorkers have as much together as these, a leaf each at least.
const (
	batchBytes  = 16 * leafBytes
	leafBytes   = 1<<20 + 64
	batchUnits  = 1024
	pageBytes   = 4096
	fullWorkers = 3
	// manyWorkers is the most there are: as many as have a leaf each.
	manyWorkers = fullWorkers * batchBytes / leafBytes
)

// share is what each of so many workers has of a most, a multiple of each.
func share(most, each, workers int) int {
	return max(most*fullWorkers/max(workers, fullWorkers)/each, 1) * each
}

// unit is the run of an entry's sections that is in one batch.
type unit struct {
	*file
	leaf   int64 // first of the leaves
	leaves int
	at     int // number of that leaf in the batch
	node   int // first of the nodes
	nodes  int
	ends   bool   // nothing of the entry comes behind
	reason string // why it cannot be read

	ready, read chan struct{} // of a stream: closed when the unit can be read, and when it was
}

// begins reports whether nothing of the entry comes before.
func (u *unit) begins() bool { return u.leaf == u.from && u.node == 0 }

// lastLeaf reports whether the entry's last leaf is in the unit.
func (u *unit) lastLeaf() bool { return u.leaves > 0 && u.leaf+int64(u.leaves) == u.to }

// section is where a leaf stands in a batch's buffer: its head, then its bytes.
type section struct{ pos, head, size int }

// batch is a run of units with the buffer they are read into, in the layout of
// the CAR.
type batch struct {
	buf    []byte // begins at a page
	base   int    // where the batch's first byte stands in buf
	size   int    // bytes planned
	units  []unit
	leaves []section
	sums   [][32]byte
	msgs   [][]byte
	end    cursor

	turn, done chan struct{} // closed by the batch before, and by this one

	off   int64 // in the CAR, decided in turn
	moves []move
	laid  laid
}

// taker cuts the entries into batches.
type taker struct {
	job     *Job
	prof    dag.Profile
	batch   int  // bytes of CAR in a batch, at most batchBytes; one section may be longer
	units   int  // files in a batch, at most batchUnits
	aligned bool // batches stand in their buffers as in the pages of the CAR

	mu      sync.Mutex
	planner planner
	pull    func() (Entry, error, bool)
	stop    func()
	file    *file // taken up, not all of it
	leaf    int64 // next of file
	node    int
	planned int64 // CAR offset of the next batch, if nothing is left out
	room    int64 // bytes to take until the next checkpoint
	turn    chan struct{}
	longs   []*file // that may be open between batches
}

// begin reads the entries from where the planner is.
func (t *taker) begin() {
	t.end()
	t.pull, t.stop = iter.Pull2(t.job.Entries(t.planner.Entry))
}

// end lets go of the entries and of all files.
func (t *taker) end() {
	if t.stop != nil {
		t.stop()
	}
	for _, f := range t.longs {
		f.close()
	}
	t.stop, t.file, t.longs = nil, nil, nil
}

// resume goes to a place among the entries that an earlier run came to; false
// when the entries before it are others now. The file that the place is in is
// returned, if it is in one.
func (t *taker) resume(to cursor) (in *file, same bool, err error) {
	t.planner = planner{}
	t.begin()
	for t.planner.Entry < to.Entry {
		e, err, ok := t.pull()
		if err != nil || !ok {
			return nil, false, fault.Wrap(err, "entry %d", t.planner.Entry)
		}
		if _, err := t.planner.next(e, t.prof); err != nil {
			return nil, false, err
		}
	}
	if to.Leaf == 0 && to.Node == 0 {
		return nil, t.planner.Digest == to.Digest, nil
	}
	more, err := t.next()
	if err != nil || !more || t.planner.Digest != to.Digest {
		return nil, false, err
	}
	f := t.file
	t.leaf, t.node = f.from+to.Leaf, to.Node
	f.after = t.planner.clone()
	if f.long = t.leaf < f.to; f.long {
		t.longs = append(t.longs, f)
	}
	return f, true, nil
}

// over reports whether no entry is left.
func (t *taker) over() (bool, error) {
	if t.file != nil && !t.file.abandoned.Load() {
		return false, nil
	}
	more, err := t.next()
	return !more, err
}

// take fills b with the next units; false when there are none until the next
// checkpoint.
func (t *taker) take(b *batch) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.units, b.leaves, b.base, b.size = b.units[:0], b.leaves[:0], 0, 0
	if t.aligned {
		b.base = int(t.planned % pageBytes)
	}
	for t.room > int64(b.size) && len(b.units) < t.units {
		if t.file == nil || t.file.abandoned.Load() {
			more, err := t.next()
			if err != nil {
				return false, err
			}
			if !more {
				break
			}
		}
		if s := t.file.stream; s != nil && s.ended.Load() {
			t.leaf = t.file.to
		}
		if !t.fit(b) {
			break
		}
	}
	if len(b.units) == 0 {
		return false, nil
	}
	b.end = t.place()
	t.planned += int64(b.size)
	t.room -= int64(b.size)
	b.turn, b.done = t.turn, make(chan struct{})
	t.turn = b.done
	return true, nil
}

// next takes up the next entry; false at the end.
func (t *taker) next() (bool, error) {
	t.file = nil
	e, err, ok := t.pull()
	if !ok || err != nil {
		return false, fault.Wrap(err, "entry %d", t.planner.Entry)
	}
	before := t.planner.cursor
	reason, err := t.planner.next(e, t.prof)
	if err != nil {
		return false, err
	}
	f := &file{entry: e, number: before.Entry, reason: reason}
	switch {
	case reason != "":
	case e.stream() && t.job.Export == "":
		err = fault.New(fault.Invalid, "entry %q: its length is not known, so it needs a CAR that is written", e.Path)
	case e.Kind == Regular:
		err = f.plan(t.prof)
	case e.Kind == Symlink:
		err = f.link(t.prof)
	}
	if err != nil {
		return false, err
	}
	f.before = before
	t.file, t.leaf, t.node = f, f.from, 0
	return true, nil
}

// link makes a symbolic link's node.
func (f *file) link(prof dag.Profile) error {
	b, l, err := symlinkBlock(f.entry, prof)
	if err != nil {
		return err
	}
	f.nodes, f.tops = []blocks.Block{b}, []dag.Top{{Link: l}}
	f.sections = []int{int((Record{Form: DagPB, Size: len(b.RawData())}).Section())}
	return nil
}

// fit puts as much of the file at hand into b as fits; false when nothing does.
func (t *taker) fit(b *batch) bool {
	f := t.file
	u := unit{file: f, leaf: t.leaf, at: len(b.leaves), node: t.node}
	for ; t.leaf < f.to; t.leaf++ {
		n := int(f.leafSize(t.leaf))
		head := Record{Form: Raw, Size: n}.headSize()
		if b.size > 0 && (b.size+head+n > t.batch || int64(b.size) >= t.room) {
			break
		}
		b.leaves = append(b.leaves, section{b.base + b.size, head, n})
		b.size += head + n
		u.leaves++
	}
	if t.leaf == f.to {
		for ; t.node < len(f.sections) && (b.size == 0 || b.size+f.sections[t.node] <= t.batch); t.node++ {
			b.size += f.sections[t.node]
			u.nodes++
		}
	}
	u.ends = t.leaf == f.to && t.node == len(f.sections)
	if u.leaves+u.nodes == 0 && !u.ends {
		return false
	}
	if f.stream != nil {
		u.ready, u.read = f.stream.tail, make(chan struct{})
		f.stream.tail = u.read
	}
	if !u.ends && u.begins() {
		f.after = t.planner.clone() // its first unit
		if f.long = t.leaf < f.to; f.long {
			t.longs = append(t.longs, f)
		}
	}
	b.units = append(b.units, u)
	if u.ends {
		t.file = nil
	}
	return true
}

// place is where the taker is.
func (t *taker) place() cursor {
	f := t.file
	if f == nil || f.abandoned.Load() {
		return t.planner.cursor
	}
	if t.leaf == f.from && t.node == 0 {
		return f.before
	}
	return cursor{Entry: f.number, Leaf: t.leaf - f.from, Node: t.node, Digest: t.planner.Digest}
}

// shrink tells that a batch became shorter than planned.
func (t *taker) shrink(by int64) {
	t.mu.Lock()
	t.planned -= by
	t.mu.Unlock()
}
