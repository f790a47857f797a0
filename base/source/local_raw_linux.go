package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// rawFile is an open file without what os.File has for pipes and sockets: of a
// file of 4 KiB, the three calls that ask whether it can be polled cost as much
// as reading it. It may be used, and closed, by several goroutines.
type rawFile struct {
	mu   sync.RWMutex // held while fd is used: closed, it may soon be another file
	fd   int          // -1 when closed
	made *os.File     // owns fd if it was asked for
}

// openRaw is openFile for a file that is read by offset.
func (l *local) openRaw(path string) (*rawFile, error) {
	fd, err := l.openAt(path)
	if errors.Is(err, errNoOpenat2) {
		f, err := openBeneath(l.root, path)
		if err != nil {
			return nil, err
		}
		return &rawFile{fd: int(f.Fd()), made: f}, nil
	}
	if err != nil {
		return nil, err
	}
	return &rawFile{fd: fd}, nil
}

// readAt fills p from off on; io.EOF when the file ends before.
func (f *rawFile) readAt(p []byte, off int64) (n int, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, fs.ErrClosed
	}
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return n, err
		case m == 0:
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// look tells what the file is now.
func (f *rawFile) look() (e entry, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return e, fs.ErrClosed
	}
	var st unix.Stat_t
	for {
		if err = unix.Fstat(f.fd, &st); err != unix.EINTR {
			break
		}
	}
	if err == nil {
		describeStat(&e, &st)
	}
	return e, err
}

// file returns the file as an os.File, which closes with it.
func (f *rawFile) file() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return nil, fs.ErrClosed
	}
	if f.made == nil {
		f.made = os.NewFile(uintptr(f.fd), "source")
	}
	return f.made, nil
}

func (f *rawFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return fs.ErrClosed
	}
	fd := f.fd
	f.fd = -1
	if f.made != nil {
		return f.made.Close()
	}
	return unix.Close(fd)
}
