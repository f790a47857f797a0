package block

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/firth-project/firth/base/fault"
)

// files is the part of a file system that a store stands on, with names
// relative to its directory. A test that cuts the power implements it too.
type files interface {
	create(name string) (file, error) // for reading and writing; must not exist
	open(name string) (file, error)   // for reading and writing; must exist
	rename(from, to string) error     // replaces
	remove(name string) error
	list(folder string) ([]string, error) // file names in order
	mkdir(folder string) error            // with its parents; an existing one is fine
	sync(folder string) error             // makes names durable
	String() string                       // for messages
}

type file interface {
	io.ReaderAt
	io.Closer
	writeAt(bufs [][]byte, off int64) error
	append(bufs [][]byte, off int64) error // writeAt the end of a log: much, read later if at all
	reserve(off, n int64)                  // asks for disk space; the size stays; nobody minds if it is refused
	finish(size int64)                     // nothing is appended any more: gives back what that held
	sync() error                           // makes the bytes durable
	truncate(size int64) error
	size() (int64, error)
}

// osFiles is files in a directory of the operating system.
type osFiles struct{ dir string }

func (f osFiles) path(name string) string { return filepath.Join(f.dir, name) }

func (f osFiles) String() string { return f.dir }

func (f osFiles) create(name string) (file, error) {
	return wrap(os.OpenFile(f.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644))
}

func (f osFiles) open(name string) (file, error) {
	return wrap(os.OpenFile(f.path(name), os.O_RDWR, 0))
}

func wrap(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func (f osFiles) rename(from, to string) error { return os.Rename(f.path(from), f.path(to)) }

func (f osFiles) remove(name string) error { return os.Remove(f.path(name)) }

func (f osFiles) mkdir(folder string) error { return os.MkdirAll(f.path(folder), 0o755) }

func (f osFiles) list(folder string) ([]string, error) {
	entries, err := os.ReadDir(f.path(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (f osFiles) sync(folder string) error {
	d, err := os.Open(f.path(folder))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct {
	*os.File
	direct directFile
}

func (f *osFile) Close() error { return errors.Join(f.direct.close(), f.File.Close()) }

func (f *osFile) finish(size int64) {
	_ = f.Truncate(size) // frees what was reserved; if not, the next start does
	_ = f.direct.close()
	f.direct = directFile{}
}

func (f *osFile) truncate(size int64) error { return f.Truncate(size) }

func (f *osFile) size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// acquire locks dir for this process until the returned file is closed, which
// the end of the process does too.
func acquire(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, classify(err, "open block store %s", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, classify(err, "open block store %s", dir)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "block store %s: another process has it open; one process a directory", dir)
		}
		return nil, classify(err, "lock block store %s", dir)
	}
	return f, nil
}

// classify gives an error of the file system its kind and its operand.
func classify(err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		err = fault.Mark(fault.Exhausted, err)
	case errors.Is(err, os.ErrClosed), errors.Is(err, syscall.EIO):
		err = fault.Mark(fault.Unavailable, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		err = fault.Mark(fault.Forbidden, err)
	}
	return fault.Wrap(err, format, args...)
}
