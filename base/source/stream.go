package source

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/firth-project/firth/base/fault"
)

// stream is the bytes of a remote file from one position to another. It need
// not reach the end of the file.
type stream struct {
	body     io.ReadCloser
	pos, end int64
}

// maxIdle is how many streams of one file are kept open for readers that go on
// where they stopped; several goroutines read several places.
const maxIdle = 4

// remoteFile makes positioned reads of streams. A read that goes on where
// another stopped takes that stream; any other asks for a new one. A stream
// that breaks is asked for again from the byte it broke at.
type remoteFile struct {
	ctx  context.Context
	set  settings
	size int64
	dial func(ctx context.Context, off int64) (*stream, error) // verified to be of this version, at off
	same func(ctx context.Context) error                       // nil when streams alone prove the version

	mu     sync.Mutex
	idle   []*stream // latest used last
	closed bool
}

func (f *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	want := int(min(int64(len(p)), max(0, f.size-off)))
	got, err := f.fill(p[:want], off)
	if err == nil && got < len(p) {
		err = io.EOF
	}
	return got, err
}

func (f *remoteFile) fill(p []byte, off int64) (got int, err error) {
	var s *stream
	defer func() { f.give(s) }()
	for attempt := 0; got < len(p); {
		if s == nil || s.pos == s.end {
			if s, err = f.next(s, off+int64(got), &attempt); err != nil {
				return got, err
			}
		}
		n, err := io.ReadFull(s.body, p[got:][:min(int64(len(p)-got), s.end-s.pos)])
		got, s.pos = got+n, s.pos+int64(n)
		if n > 0 && attempt > 0 {
			attempt = 0
			tellWait(f.ctx, Wait{})
		}
		if err == nil {
			continue
		}
		s.body.Close()
		s = nil
		err = dropped(err)
		if !again(f.ctx, err) {
			return got, err
		}
		if attempt++; attempt > f.set.retries {
			return got, f.set.exhausted(err)
		}
		if err := f.set.pause(f.ctx, attempt-1, err); err != nil {
			return got, err
		}
	}
	return got, nil
}

// next gives up a stream that was read to its end, and takes or asks for one
// at off.
func (f *remoteFile) next(old *stream, off int64, attempt *int) (*stream, error) {
	if old != nil {
		old.body.Close()
	}
	s, err := f.take(off)
	if s != nil || err != nil {
		return s, err
	}
	for {
		s, err := f.dial(f.ctx, off)
		if err == nil || !again(f.ctx, err) {
			return s, err
		}
		if *attempt++; *attempt > f.set.retries {
			return nil, f.set.exhausted(err)
		}
		if err := f.set.pause(f.ctx, *attempt-1, err); err != nil {
			return nil, err
		}
	}
}

// take returns the idle stream that stands at off, if there is one.
func (f *remoteFile) take(off int64) (*stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fault.New(fault.Internal, "read of a closed file")
	}
	i := slices.IndexFunc(f.idle, func(s *stream) bool { return s.pos == off })
	if i < 0 {
		return nil, nil
	}
	s := f.idle[i]
	f.idle = slices.Delete(f.idle, i, i+1)
	return s, nil
}

// give keeps a stream for the next read, and closes the one that waited
// longest when there are too many.
func (f *remoteFile) give(s *stream) {
	if s == nil {
		return
	}
	f.mu.Lock()
	var old *stream
	switch {
	case f.closed || s.pos == f.size:
		old = s
	case len(f.idle) == maxIdle:
		old = f.idle[0]
		f.idle = append(slices.Delete(f.idle, 0, 1), s)
	default:
		f.idle = append(f.idle, s)
	}
	f.mu.Unlock()
	if old != nil {
		old.body.Close()
	}
}

func (f *remoteFile) check(ctx context.Context) error {
	if f.same == nil {
		return nil
	}
	return f.set.try(ctx, func() error { return f.same(ctx) })
}

func (f *remoteFile) Close() error {
	f.mu.Lock()
	idle := f.idle
	f.idle, f.closed = nil, true
	f.mu.Unlock()
	for _, s := range idle {
		s.body.Close()
	}
	return nil
}

// dropped classifies the end of a stream before its end.
func dropped(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fault.New(fault.Unavailable, "the connection broke: %w", err)
}
