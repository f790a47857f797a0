package piece

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// ahead is how much is asked for at once of an object that is read on and on.
// What is asked for and not read costs a connection.
const ahead = 32 << 20

// object reads an object of a blob store at any offset: a reader that jumps gets
// the ranges it asks for, one that reads on a stream. It holds no bytes. Its
// methods may be called at the same time and wait for each other.
type object struct {
	ctx   context.Context
	store blob.Store
	key   string
	size  int64

	mu   sync.Mutex
	pos  int64 // of Read
	last int64 // end of what was read last
	body io.ReadCloser
	at   int64 // of the body
	end  int64 // of the body
}

func newObject(ctx context.Context, store blob.Store, key string, size int64) *object {
	return &object{ctx: ctx, store: store, key: key, size: size, last: -1}
}

func (o *object) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.readAt(p, o.pos)
	if o.pos += int64(n); n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.readAt(p, off)
}

func (o *object) readAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "read %s at %d: is below 0", o.key, off)
	}
	want := int(max(0, min(int64(len(p)), o.size-off)))
	for n < want {
		if err := o.seekBody(off+int64(n), int64(want-n)); err != nil {
			return n, err
		}
		k, err := o.body.Read(p[n:want])
		n, o.at = n+k, o.at+int64(k)
		if err != nil && (!errors.Is(err, io.EOF) || k == 0 && o.at < o.end) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, fault.Wrap(errors.Join(err, o.drop()), "read %s at %d", o.key, off)
		}
	}
	if o.last = off + int64(n); n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// seekBody sees to it that the body gives the byte at off next.
func (o *object) seekBody(off, want int64) error {
	if o.body != nil && o.at == off && off < o.end {
		return nil
	}
	if err := o.drop(); err != nil {
		return err
	}
	n := want
	if off == o.last {
		n = max(want, ahead)
	}
	n = min(n, o.size-off)
	body, err := o.store.Get(o.ctx, o.key, off, n)
	if err != nil {
		return err
	}
	o.body, o.at, o.end = body, off, off+n
	return nil
}

func (o *object) drop() error {
	if o.body == nil {
		return nil
	}
	err := o.body.Close()
	o.body = nil
	return err
}

// Seek implements io.Seeker.
func (o *object) Seek(offset int64, whence int) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += o.pos
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return o.pos, fault.New(fault.Invalid, "seek %s to %d: is below 0", o.key, offset)
	}
	o.pos = offset
	return offset, nil
}

func (o *object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.drop()
}
