package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// folderMark ends the name of a folder that a key's part became. No key holds
// it, so a folder never collides with an object.
const folderMark = "+"

// tempFolder holds what is being written. No key leads into it.
const tempFolder = "+temp"

// Store is a blob.Store in a directory. Make it with Open.
type Store struct {
	dir     string // absolute
	temp    string
	durable bool // what is stored outlives the machine's power
}

var _ blob.Store = (*Store)(nil)

// Open makes the directory if need be and removes what killed processes left
// half written in it; files that a living process is writing stay.
func Open(dir string) (*Store, error) { return open(dir, true) }

// OpenTemporary is Open for what nobody wants any more when the machine has
// lost its power: nothing waits for the disk.
func OpenTemporary(dir string) (*Store, error) { return open(dir, false) }

func open(dir string, durable bool) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.Wrap(err, "open blob store %s", dir)
	}
	s := &Store{dir: abs, temp: filepath.Join(abs, tempFolder), durable: durable}
	if err := s.makeDirs(s.temp); err != nil {
		return nil, classify(err, "open blob store %s", abs)
	}
	if err := sweep(s.temp); err != nil {
		return nil, classify(err, "sweep %s", s.temp)
	}
	return s, nil
}

// LocalPath returns the path of the object's file and true, for readers that
// want a file (sendfile, mmap). Whether the file exists is not asked. A key
// that is not one returns false.
func (s *Store) LocalPath(key string) (string, bool) {
	if blob.CheckKey(key) != nil {
		return "", false
	}
	return s.path(key), true
}

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := check(ctx, key); err != nil {
		return blob.Info{}, err
	}
	st, err := os.Stat(s.path(key))
	if err != nil {
		return blob.Info{}, classify(err, "stat %s in %s", key, s.dir)
	}
	return blob.Info{Key: key, Size: st.Size(), ModTime: st.ModTime()}, nil
}

// Get opens the object's file; the reader keeps its version when the object is
// replaced. What it returns is also an io.WriterTo, which lets a socket use
// sendfile.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, classify(err, "get %s in %s", key, s.dir)
	}
	r, err := section(f, key, off, n)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func section(f *os.File, key string, off, n int64) (*reader, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, classify(err, "get %s", key)
	}
	if off < 0 || off > st.Size() {
		return nil, fault.New(fault.Invalid, "get %s: offset %d, the object has %d bytes", key, off, st.Size())
	}
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return nil, classify(err, "get %s", key)
	}
	if rest := st.Size() - off; n < 0 || n > rest {
		n = rest
	}
	return &reader{LimitedReader: io.LimitedReader{R: f, N: n}, f: f}, nil
}

// reader is a part of a file.
type reader struct {
	io.LimitedReader
	f *os.File
}

// WriteTo hands the limited file itself to w, the one shape that net knows how
// to send without copying.
func (r *reader) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, &r.LimitedReader) }

func (r *reader) Close() error { return r.f.Close() }

// Delete removes the object and the folders it leaves empty.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	path := s.path(key)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err == nil {
		err = s.syncFolder(filepath.Dir(path))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify(err, "delete %s in %s", key, s.dir)
	}
	for dir := filepath.Dir(path); dir != s.dir; dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil { // not empty: in use, and so are those above
			break
		}
	}
	return nil
}

// path maps a checked key to its file.
func (s *Store) path(key string) string {
	return filepath.Join(s.dir, filepath.FromSlash(strings.ReplaceAll(key, "/", folderMark+"/")))
}

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return blob.CheckKey(key)
}

// classify gives an error of the file system its kind and its operand. Other
// errors (the caller's reader, the context) keep the kind they came with.
func classify(err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		err = fault.Mark(fault.NotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EMFILE):
		err = fault.Mark(fault.Exhausted, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		err = fault.Mark(fault.Forbidden, err)
	case errors.Is(err, syscall.EIO):
		err = fault.Mark(fault.Unavailable, err)
	}
	return fault.Wrap(err, format, args...)
}
