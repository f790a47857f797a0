package source

import (
	"context"
	"sync"

	"github.com/firth-project/firth/base/fault"
)

// guardedFile is a file of a mount that may stop to answer. A call that is given
// up has memory of its own, and lets go of the file when it comes back.
type guardedFile struct {
	ctx  context.Context
	g    *guard
	file *localFile

	mu     sync.Mutex
	calls  int // that have not come back
	closed bool
}

// openGuarded opens a file as local.open does.
func (l *local) openGuarded(ctx context.Context, path, id string) (content, Item, error) {
	ctx = naming(ctx, "%q", path)
	type opened struct {
		f    *localFile
		item Item
		err  error
	}
	o := new(opened)
	err := l.guard.do(ctx, func() { o.f, o.item, o.err = l.openHere(path, id) }, func(late bool) {
		if late && o.err == nil {
			_ = o.f.Close()
		}
	})
	if err != nil {
		return nil, Item{}, err
	}
	if o.err != nil {
		return nil, Item{}, o.err
	}
	return &guardedFile{ctx: ctx, g: l.guard, file: o.f}, o.item, nil
}

// do makes one call while the file is open; end is the guard's.
func (f *guardedFile) do(ctx context.Context, call func(), end func(late bool)) error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return fault.New(fault.Internal, "read of a closed file")
	}
	f.calls++
	f.mu.Unlock()
	return f.g.do(ctx, call, func(late bool) {
		end(late)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.calls--; f.closed && f.calls == 0 {
			_ = f.file.Close()
		}
	})
}

func (f *guardedFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		got, err := f.readOnce(p[n:], off+int64(n))
		if n += got; err != nil {
			return n, err
		}
	}
	return n, nil
}

// readOnce reads what one call may.
func (f *guardedFile) readOnce(p []byte, off int64) (int, error) {
	var a struct {
		buf *[]byte
		n   int
		err error
	}
	if a.buf, _ = f.g.spare.Get().(*[]byte); a.buf == nil {
		b := make([]byte, guardBytes)
		a.buf = &b
	}
	size := min(len(p), guardBytes)
	n, err := 0, error(nil)
	gone := f.do(f.ctx, func() { a.n, a.err = f.file.ReadAt((*a.buf)[:size], off) }, func(late bool) {
		if !late {
			n, err = copy(p, (*a.buf)[:a.n]), a.err
		}
		f.g.spare.Put(a.buf)
	})
	if gone != nil {
		return 0, gone
	}
	return n, err
}

func (f *guardedFile) check(ctx context.Context) error {
	answer := new(error)
	if err := f.do(ctx, func() { *answer = f.file.check(ctx) }, func(bool) {}); err != nil {
		return err
	}
	return *answer
}

// Close does not wait for calls that have not come back.
func (f *guardedFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if f.closed = true; f.calls > 0 {
		return nil
	}
	return f.file.Close()
}
