package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// What a window holds at most: 16 leaves of 1 MiB, or as many small files as
// fill the lanes of the hash.
const (
	windowSize    = 16<<20 + 64<<10
	windowRecords = 4096
	blockWindow   = dag.MaxBlockSize + 512 // without a place among Windows; the largest block fits
)

// filling is the scratch of filling a window.
type filling struct {
	records []Record
	starts  []int    // where each section begins in the window
	msgs    [][]byte // blocks to hash
	of      []int    // the record of each
	sums    [][32]byte
}

// hold makes sure that byte off of the CAR is in memory; want is how many from
// there on are known to be wanted.
func (r *Reader) hold(off, want int64) error {
	if r.closed {
		return fs.ErrClosed
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	end := r.held.end()
	if off >= r.held.offset && off < end {
		return nil
	}
	i := r.held.next
	jump := off != end || off == 0
	if jump || r.held.cut {
		var err error
		if i, err = r.index.Covering(off); err != nil {
			return err
		}
	}
	if jump {
		r.reach = 0
	}
	defer func() { r.filled = time.Now() }()
	if jump && r.cutOut(i, off, want) {
		r.reach = readOn
		return nil
	}
	if i < 0 && off+want <= int64(len(r.index.header)) || r.index.records == 0 {
		r.held = window{bytes: r.index.header}
	} else if err := r.fill(i, r.room(want)); err != nil {
		r.held = window{} // what was there is overwritten
		return err
	}
	if off < r.held.offset || off >= r.held.end() {
		return damagedIndex("has no block for some bytes of the CAR")
	}
	return nil
}

// readOn is what the second window has at least: whoever asks for more than one
// will go on.
const readOn = 2 << 20

// room is how many bytes the next window may have: as much as is wanted, twice
// the last one if nobody said.
func (r *Reader) room(want int64) int {
	room := int(min(max(int64(r.reach), want), windowSize))
	r.reach = min(max(2*room, readOn), windowSize)
	if r.wide != nil || room <= blockWindow {
		return room
	}
	if !r.slow {
		r.wide = r.windows.take()
	}
	if r.wide == nil {
		return blockWindow
	}
	r.block = nil
	return room
}

// fill makes a window of the sections from record i on: one, and as many more
// as fit into room; -1 stands for the CAR's header, which is never alone: before
// the first byte is handed out it is known whether there is more. If a block
// cannot be had, the window ends before it.
func (r *Reader) fill(i int64, room int) error {
	var header []byte
	if i < 0 {
		i, header = 0, r.index.header
	}
	size, err := r.plan(i, room-len(header))
	if err != nil {
		return err
	}
	b := &r.filling
	if len(header) > 0 && b.records[0].Offset != int64(len(header)) {
		return damagedIndex("has sections that do not meet")
	}
	buf := append(r.memory(len(header) + size)[:0], header...)
	b.starts, b.msgs, b.of = b.starts[:0], b.msgs[:0], b.of[:0]
	var failed error
	n := 0
	for ; n < len(b.records); n++ {
		rec := b.records[n]
		b.starts = append(b.starts, len(buf))
		buf = rec.AppendHead(buf)
		block := buf[len(buf) : len(buf)+rec.Size]
		if err := r.load(rec, block); err != nil {
			if r.spoiled == nil || r.ctx.Err() != nil {
				failed = err
				break
			}
			clear(block)
			r.spoiled(rec, err)
		} else if rec.From != FromStore && r.spoiled == nil {
			b.msgs, b.of = append(b.msgs, block), append(b.of, n)
		}
		buf = buf[:len(buf)+rec.Size]
	}
	if wrong := b.verify(); wrong < n {
		n, failed = wrong, r.changed(b.records[wrong], nil)
	}
	if n == 0 {
		return failed
	}
	if n < len(b.starts) {
		buf = buf[:b.starts[n]]
	}
	r.held = window{offset: b.records[0].Offset - int64(len(header)), bytes: buf, next: i + int64(n)}
	return nil
}

// plan reads the records of the next window and returns the length of their
// sections.
func (r *Reader) plan(i int64, room int) (size int, err error) {
	const many = 64 // records read at once
	b := &r.filling
	b.records = b.records[:0]
	for len(b.records) < windowRecords && i+int64(len(b.records)) < r.index.records {
		had := len(b.records)
		b.records = append(b.records, make([]Record, many)...)
		n, err := r.index.some(b.records[had:], i+int64(had))
		if err != nil {
			return 0, err
		}
		b.records = b.records[:had+n]
		for k := had; k < had+n; k++ {
			section := int(b.records[k].Section())
			if k > 0 && size+section > room {
				b.records = b.records[:k]
				return size, nil
			}
			if k > 0 && b.records[k].Offset != b.records[0].Offset+int64(size) {
				return 0, damagedIndex("has sections that do not meet")
			}
			size += section
		}
	}
	if len(b.records) == 0 {
		return 0, damagedIndex("has fewer sections than the CAR")
	}
	return size, nil
}

// memory is where a window of size bytes goes.
func (r *Reader) memory(size int) []byte {
	if size <= cap(r.wide) {
		return r.wide
	}
	if cap(r.block) < size {
		r.block = nil // before the next is made
		r.block = make([]byte, size)
	}
	return r.block
}

// verify returns the number of the first record whose bytes are not its own.
func (b *filling) verify() int {
	if cap(b.sums) < len(b.msgs) {
		b.sums = make([][32]byte, len(b.msgs))
	}
	sums := b.sums[:len(b.msgs)]
	Digests(sums, b.msgs, func(k int) Form { return b.records[b.of[k]].Form })
	for k, n := range b.of {
		if sums[k] != b.records[n].Digest {
			return n
		}
	}
	return len(b.records)
}

// load reads a record's bytes, wherever they are.
func (r *Reader) load(rec Record, into []byte) error {
	switch rec.From {
	case FromStore:
		c, err := rec.Cid()
		if err != nil {
			return err
		}
		blk, err := r.bytes.Block(r.ctx, c)
		if err != nil {
			return fault.Wrap(err, "block %s at %d of the CAR", c, rec.Offset)
		}
		if len(blk.RawData()) != rec.Size {
			return fault.New(fault.Internal, "block %s at %d of the CAR: has %d bytes, the index says %d", c, rec.Offset, len(blk.RawData()), rec.Size)
		}
		copy(into, blk.RawData())
		return nil
	case FromIndex:
		return r.index.node(rec, into)
	}
	return r.loadSource(rec, into)
}

func (r *Reader) loadSource(rec Record, into []byte) error {
	f, err := r.files.get(rec.From, func() (File, error) {
		s, err := r.index.Source(rec.From)
		if err != nil {
			return nil, err
		}
		f, err := r.bytes.Open(r.ctx, s)
		return f, r.lost(s, err)
	})
	if err != nil {
		return err
	}
	n, err := f.ReadAt(into, rec.Position)
	switch {
	case n == len(into):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return r.changed(rec, errors.New("it is shorter"))
	}
	s, named := r.index.Source(rec.From)
	if named != nil {
		return named
	}
	r.files.drop(rec.From)
	return r.lost(s, err)
}

// lost says which file it is that cannot be read. The piece is there all the
// same, so a file that is not is no fault.NotFound.
func (r *Reader) lost(s Source, err error) error {
	switch {
	case err == nil || r.ctx.Err() != nil:
		return err
	case fault.Is(err, fault.Conflict):
		return fault.New(fault.Conflict, "%s: changed since it was prepared: %w; %s", s.name(), err, remedy)
	case fault.Is(err, fault.NotFound):
		return fault.New(fault.Unavailable, "%s: %w: %w; %s", s.name(), errGone, err, remedy)
	}
	return fault.New(fault.Unavailable, "%s: %w", s.name(), err)
}

// changed says that a source has other bytes than were packed.
func (r *Reader) changed(rec Record, how error) error {
	if rec.From < FromSource {
		return damagedIndex("has a damaged node")
	}
	s, err := r.index.Source(rec.From)
	if err != nil {
		return err
	}
	if how == nil {
		how = errors.New("it has other bytes")
	}
	r.files.drop(rec.From)
	return fault.New(fault.Conflict, "%s: changed since it was prepared: %w from byte %d on; %s", s.name(), how, rec.Position, remedy)
}

// name is what people are told of a source: one without a path is its origin.
func (s Source) name() string {
	if s.Path == "" {
		return s.Origin
	}
	return fmt.Sprintf("file %q of %s", s.Path, s.Origin)
}

var errGone = errors.New("is gone since it was prepared")

const remedy = "put the version back that was prepared, or prepare it again"

// maxOpenFiles is how many files a reader keeps open.
const maxOpenFiles = 16

// openFiles are the files read last, the newest last.
type openFiles struct{ open []openFile }

type openFile struct {
	from uint32
	f    File
}

func (o *openFiles) get(from uint32, open func() (File, error)) (File, error) {
	for i := len(o.open) - 1; i >= 0; i-- {
		if one := o.open[i]; one.from == from {
			copy(o.open[i:], o.open[i+1:])
			o.open[len(o.open)-1] = one
			return one.f, nil
		}
	}
	if len(o.open) == maxOpenFiles {
		_ = o.open[0].f.Close()
		o.open = append(o.open[:0], o.open[1:]...)
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	o.open = append(o.open, openFile{from, f})
	return f, nil
}

// drop closes a file, so that it is opened anew when it is wanted again.
func (o *openFiles) drop(from uint32) {
	for i, one := range o.open {
		if one.from == from {
			_ = one.f.Close()
			o.open = append(o.open[:i], o.open[i+1:]...)
			return
		}
	}
}

func (o *openFiles) close() {
	for _, one := range o.open {
		_ = one.f.Close()
	}
	o.open = nil
}
