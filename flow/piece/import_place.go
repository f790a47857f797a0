package piece

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
)

// place is an open file or stream.
type place struct {
	io.ReadCloser
	size    int64 // of the whole; -1 is unknown
	mtime   int64
	version string
	check   func() error // after the last byte
}

// openPlace opens what an import is about, from its beginning: whatever stands
// there now.
func (s *Service) openPlace(ctx context.Context, im Import) (*place, error) {
	return s.openFrom(ctx, im, 0, false)
}

// openAgain opens it from a byte on. If it is not the version any more that was
// begun, the error is fault.Conflict.
func (s *Service) openAgain(ctx context.Context, im Import, from int64) (*place, error) {
	return s.openFrom(ctx, im, from, true)
}

func (s *Service) openFrom(ctx context.Context, im Import, from int64, again bool) (*place, error) {
	if IsURL(im.Place) {
		return s.openURL(ctx, im, from, again)
	}
	f, info, err := openOwn(im.Place)
	if err != nil {
		return nil, err
	}
	p := &place{f, info.Size(), info.ModTime().UnixNano(), "", func() error { return unchanged(f, info) }}
	if again && (p.size != im.Size || p.mtime != im.mtime) {
		_ = f.Close()
		return nil, fault.New(fault.Conflict, "%s changed: it has %d bytes, it had %d, or another time of change", im.Place, p.size, im.Size)
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, err
	}
	return p, nil
}

func (s *Service) openURL(ctx context.Context, im Import, from int64, again bool) (*place, error) {
	if s.web == nil {
		return nil, fault.New(fault.Unavailable, "import %s: this process connects to nobody", im.Place)
	}
	passed := int64(0)
	if again && from > 0 && from == im.Size {
		from, passed = from-1, 1 // there is no range behind the end
	}
	o := fetch.Options{From: from}
	if again {
		o.Version = im.Version
	}
	address, err := s.Address(im)
	if err != nil {
		return nil, err
	}
	f, err := fetch.Open(ctx, s.web, address, o)
	if err != nil {
		return nil, err
	}
	if again && im.Size > 0 && f.Size() >= 0 && f.Size() != im.Size {
		_ = f.Close()
		return nil, fault.New(fault.Conflict, "%s changed: it has %d bytes, it had %d", im.Place, f.Size(), im.Size)
	}
	if _, err := io.CopyN(io.Discard, f, passed); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &place{f, f.Size(), 0, f.Version(), func() error { return nil }}, nil
}

// identify notes which version of its place an import reads.
func (im *Import) identify(p *place) {
	im.Size, im.mtime, im.Version = max(p.size, 0), p.mtime, p.version
}

// openOwn opens a CAR in place.
func openOwn(name string) (*os.File, os.FileInfo, error) {
	info, err := os.Stat(name) // before it is opened: a pipe would wait for a writer
	switch {
	case err != nil:
		return nil, nil, ownFault(name, err)
	case info.IsDir():
		return nil, nil, fault.New(fault.Invalid, "%s: is a directory; name the CARs in it", name)
	case !info.Mode().IsRegular():
		return nil, nil, fault.New(fault.Invalid, "%s: is no regular file; a CAR is read more than once", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, ownFault(name, err)
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// ownFault explains why a file is not to be had on this machine.
func ownFault(name string, err error) error {
	switch {
	case os.IsPermission(err):
		return fault.New(fault.Forbidden, "%s: the user that the node runs as may not read it", name)
	case os.IsNotExist(err):
		return fault.New(fault.NotFound, "%s: there is no such file on the node's machine", name)
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR):
		return fault.Mark(fault.Invalid, err) // no wait will mend it
	}
	return fault.Mark(kindOfPath(err), err)
}

// unchanged returns fault.Conflict if a file is another one than it was.
func unchanged(f *os.File, was os.FileInfo) error {
	now, err := os.Stat(f.Name())
	if err != nil {
		return fault.Mark(kindOfPath(err), err)
	}
	if !os.SameFile(now, was) || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) {
		return fault.New(fault.Conflict, "import %s: changed while it was read", f.Name())
	}
	return nil
}
