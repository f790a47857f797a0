package block

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxVectors is the number of buffers that one call takes (IOV_MAX).
const maxVectors = 1024

// writeAt gathers the buffers into as few calls as the system allows.
func (f *osFile) writeAt(bufs [][]byte, off int64) error {
	fd := int(f.Fd())
	rest := make([][]byte, len(bufs)) // a short write cuts buffers; the caller's stay whole
	copy(rest, bufs)
	for len(rest) > 0 {
		n, err := unix.Pwritev(fd, rest[:min(len(rest), maxVectors)], off)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		off += int64(n)
		empty := n == 0
		for len(rest) > 0 && n >= len(rest[0]) {
			n -= len(rest[0])
			empty = empty && len(rest[0]) > 0
			rest = rest[1:]
		}
		if empty {
			return io.ErrShortWrite
		}
		if n > 0 {
			rest[0] = rest[0][n:]
		}
	}
	return nil
}

// sync leaves out what is not needed to read the bytes again (times).
func (f *osFile) sync() error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// reserve halves the cost of appending and syncing on ext4.
func (f *osFile) reserve(off, n int64) {
	_ = syscall.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
}
