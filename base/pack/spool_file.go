package pack

import (
	"io"
	"os"

	"github.com/firth-project/firth/base/fault"
)

// appendBuffer is how many bytes of each file of a spool wait for their write.
const appendBuffer = 64 << 10

// appended is a file that grows at its end, its newest bytes still in memory;
// without a file, all of them.
type appended struct {
	f       *os.File
	flushed int64
	buf     []byte // what comes after flushed
}

func (a *appended) size() int64 { return a.flushed + int64(len(a.buf)) }

// grow lets more append to the buffer.
func (a *appended) grow(more func([]byte) []byte) error {
	a.buf = more(a.buf)
	if a.f != nil && len(a.buf) >= appendBuffer {
		return a.flush()
	}
	return nil
}

func (a *appended) flush() error {
	if a.f == nil || len(a.buf) == 0 {
		return nil
	}
	n, err := a.f.WriteAt(a.buf, a.flushed)
	if err != nil {
		return err
	}
	a.flushed += int64(n)
	a.buf = a.buf[:0]
	return nil
}

func (a *appended) sync() error {
	if a.f == nil {
		return nil
	}
	if err := a.flush(); err != nil {
		return err
	}
	return a.f.Sync()
}

// read fills b from offset off.
func (a *appended) read(b []byte, off int64) error {
	if off < 0 || off > a.size()-int64(len(b)) {
		return fault.New(fault.Internal, "bytes %d to %d of %d", off, off+int64(len(b)), a.size())
	}
	if off < a.flushed {
		n := min(int64(len(b)), a.flushed-off)
		if _, err := a.f.ReadAt(b[:n], off); err != nil {
			return err
		}
		b, off = b[n:], off+n
	}
	if len(b) > 0 {
		copy(b, a.buf[off-a.flushed:])
	}
	return nil
}

func (a *appended) truncate(size int64) error {
	if size >= a.flushed {
		a.buf = a.buf[:size-a.flushed]
		return nil
	}
	a.buf, a.flushed = a.buf[:0], size
	return a.f.Truncate(size)
}

// copyTo streams all of it into w.
func (a *appended) copyTo(w io.Writer) error {
	if a.flushed > 0 {
		if _, err := io.Copy(w, io.NewSectionReader(a.f, 0, a.flushed)); err != nil {
			return err
		}
	}
	_, err := w.Write(a.buf)
	return err
}
