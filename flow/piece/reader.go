package piece

import (
	"context"
	"io"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// Reader reads the CAR of a piece at any offset. It holds one block, at most
// 4 MiB, in memory, and is for one goroutine; open one a reader.
type Reader struct {
	Piece Piece

	ctx    context.Context
	blocks Blocks
	index  *index
	close  func() error
	pos    int64
	held   section
	buf    []byte // of held, unless that is the header
}

// section is a stretch of the CAR in memory.
type section struct {
	number int // of the record, -1 for the header
	offset int64
	bytes  []byte
}

func newReader(ctx context.Context, b Blocks, x *index, closeFn func() error) *Reader {
	return &Reader{ctx: ctx, blocks: b, index: x, close: closeFn, held: section{number: -1, bytes: x.header}}
}

// Size is the length of the CAR in bytes.
func (r *Reader) Size() int64 { return r.index.carSize }

// Read implements io.Reader. A block that is missing or damaged is an error
// that names it: never wrong bytes.
func (r *Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.pos >= r.index.carSize {
			if n > 0 {
				return n, nil
			}
			return 0, io.EOF
		}
		if err := r.hold(r.pos); err != nil {
			return n, err
		}
		copied := copy(p[n:], r.held.bytes[r.pos-r.held.offset:])
		n += copied
		r.pos += int64(copied)
	}
	return n, nil
}

// WriteTo streams the rest of the CAR without a copy; io.Copy finds it.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for r.pos < r.index.carSize {
		if err := r.hold(r.pos); err != nil {
			return total, err
		}
		n, err := w.Write(r.held.bytes[r.pos-r.held.offset:])
		total += int64(n)
		r.pos += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Seek implements io.Seeker.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.index.carSize
	}
	if offset < 0 {
		return 0, fault.New(fault.Invalid, "seek to %d: before the beginning", offset)
	}
	r.pos = offset
	return offset, nil
}

// Close gives the index back.
func (r *Reader) Close() error { return r.close() }

// hold makes sure the section with byte off of the CAR is in memory.
func (r *Reader) hold(off int64) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	end := r.held.offset + int64(len(r.held.bytes))
	switch {
	case off >= r.held.offset && off < end:
		return nil
	case off == end && r.held.number+1 < r.index.records: // the usual way: onwards
		if err := r.load(r.held.number + 1); err != nil {
			return err
		}
		return r.reaches(off)
	}
	i, err := r.index.covering(off)
	if err != nil {
		return err
	}
	if i < 0 {
		r.held = section{number: -1, bytes: r.index.header}
	} else if err := r.load(i); err != nil {
		return err
	}
	return r.reaches(off)
}

// reaches checks that the section in memory has byte off: in a damaged index
// the sections need not meet.
func (r *Reader) reaches(off int64) error {
	if off < r.held.offset || off >= r.held.offset+int64(len(r.held.bytes)) {
		return fault.New(fault.Internal, "piece %s: no block of its index has byte %d; pack the contents again", r.Piece.CID, off)
	}
	return nil
}

// load rebuilds a section from its block.
func (r *Reader) load(i int) error {
	rec, err := r.index.at(i)
	if err != nil {
		return err
	}
	c, err := rec.cid()
	if err != nil {
		return err
	}
	b, err := r.blocks.Get(r.ctx, c)
	if err != nil {
		return fault.Wrap(err, "block %s at %d of the CAR", c, rec.offset)
	}
	if len(b.RawData()) != rec.size {
		return fault.New(fault.Internal, "block %s at %d of the CAR: has %d bytes, the index says %d", c, rec.offset, len(b.RawData()), rec.size)
	}
	r.buf = append(append(r.buf[:0], dag.CARSectionHeader(c, rec.size)...), b.RawData()...)
	r.held = section{number: i, offset: rec.offset, bytes: r.buf}
	return nil
}
