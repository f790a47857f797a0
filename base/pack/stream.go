package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// stream is what a file has whose length is known when its last byte is: it is
// planned for the most it can come to, its leaves are read in order whichever
// workers have them, and what was planned too much is closed up.
type stream struct {
	tail  chan struct{} // closed when the units so far are read
	r     io.Reader
	read  int64       // bytes; for whoever's turn it is to read
	ended atomic.Bool // there is no more to read
	err   error
}

// planStream plans a file for all that it can come to.
func (f *file) planStream(prof dag.Profile) error {
	f.to = dag.Leaves(prof, f.entry.Size)
	f.stream = &stream{tail: make(chan struct{})}
	close(f.stream.tail)
	if f.to == 1 {
		return nil
	}
	sections, err := f.nodeSections(prof)
	if err != nil {
		return err
	}
	room := pageBytes
	for _, n := range sections {
		room += n
	}
	if room > batchBytes {
		return fault.New(fault.Invalid, "entry %q: up to %d bytes of unknown length are too many", f.entry.Path, f.entry.Size)
	}
	f.sections = []int{room} // all its nodes come at once
	return nil
}

// readStream reads a unit's leaves when it is its turn, and tells how many
// there are.
func (p *packer) readStream(ctx context.Context, b *batch, u *unit) error {
	s := u.stream
	select {
	case <-u.ready:
	case <-ctx.Done():
		return ctx.Err() // and nobody reads behind a gap
	}
	defer close(u.read)
	planned := u.leaves
	u.leaves = 0
	for u.leaves < planned && !s.ended.Load() {
		at := &b.leaves[u.at+u.leaves]
		n, err := p.readNext(u.file, b.buf[at.pos+at.head:][:at.size])
		if err != nil {
			s.err = err
			s.ended.Store(true)
			break
		}
		if n == 0 && s.read > 0 { // it ended with the leaf before
			break
		}
		s.read += int64(n)
		u.leaves++
		data := at.pos + at.head
		at.size = n
		at.head = Record{Form: Raw, Size: n}.headSize()
		at.pos = data - at.head
	}
	return s.err
}

// readNext fills leaf with what comes next, and ends the stream where it ends.
func (p *packer) readNext(f *file, leaf []byte) (int, error) {
	s := f.stream
	if s.r == nil {
		in, err := f.open(p.ctx, p.job.Open)
		if err != nil {
			return 0, err
		}
		streamer, ok := in.(Streamer)
		if !ok {
			return 0, fault.New(fault.Internal, "entry %q: its length is not known, but its bytes do not come as a stream", f.entry.Path)
		}
		s.r = streamer.Stream(f.entry.Offset, f.entry.Span)
	}
	n, err := io.ReadFull(s.r, leaf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		s.ended.Store(true)
		return n, nil
	}
	if err == nil && s.read+int64(n) == f.entry.Size {
		var one [1]byte
		k, err := io.ReadFull(s.r, one[:])
		if k > 0 {
			return 0, fmt.Errorf("came to more than the %d bytes that were announced", f.entry.Size)
		}
		if !errors.Is(err, io.EOF) {
			return 0, err
		}
		s.ended.Store(true)
	}
	return n, err
}

// growStream makes the DAG of a stream that ended.
func (f *file) growStream(prof dag.Profile) (err error) {
	f.entry.Size, f.entry.Length = f.stream.read, f.stream.read
	f.to = int64(len(f.digests))
	digests := f.digests
	f.digests = nil
	if len(digests) > 1 {
		if f.builder, err = dag.NewFileBuilder(prof, f.entry.Size, 0, f.to); err != nil {
			return err
		}
	}
	for i, d := range digests {
		if err := f.grow(int64(i), d); err != nil {
			return err
		}
	}
	return nil
}
