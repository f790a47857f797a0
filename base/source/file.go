package source

import (
	"context"
	"io"
	"os"

	"github.com/firth-project/firth/base/fault"
)

// File is one version of one file of a source.
type File struct {
	content content
	item    Item
}

// ReadAt is io.ReaderAt: p is filled, or the error says why; io.EOF only at the
// size the version has. Local files are read where they lie; remote ones as a
// stream that is asked for again from the byte it broke at, or to which a read
// jumps. Several goroutines may read. Conflict says that the file is another
// version now, Unavailable that the source gave up after the retries, Invalid
// that the server sends other bytes than asked for.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "%q: read at %d", f.item.Path, off)
	}
	n, err := f.content.ReadAt(p, off)
	return n, f.name(err)
}

// Check says whether all that was read is of the version that was opened. It
// is asked after the last read: an earlier answer does not cover later reads.
func (f *File) Check(ctx context.Context) error { return f.name(f.content.check(ctx)) }

// Item is the file as it was opened.
func (f *File) Item() Item { return f.item }

func (f *File) Close() error { return f.content.Close() }

// Local returns the open file when it lies on this machine, for pread and
// sendfile. It stays the File's to close.
func (f *File) Local() (*os.File, bool) {
	l, ok := f.content.(*localFile)
	if !ok {
		return nil, false
	}
	open, err := l.raw.file()
	return open, err == nil
}

// name puts the file's path before an error. io.EOF stays what it is.
func (f *File) name(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return fault.Wrap(err, "%q", f.item.Path)
}
