package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// Put writes a temporary file, makes it durable, and moves it to its key.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (blob.Info, error) {
	if err := check(ctx, key); err != nil {
		return blob.Info{}, err
	}
	f, err := s.create()
	if err != nil {
		return blob.Info{}, classify(err, "put %s in %s", key, s.dir)
	}
	defer func() {
		_ = os.Remove(f.Name()) // gone already when it was moved
		_ = f.Close()
	}()
	if err := s.fill(ctx, f, r); err != nil {
		return blob.Info{}, classify(err, "put %s in %s", key, s.dir)
	}
	st, err := f.Stat()
	if err != nil {
		return blob.Info{}, classify(err, "put %s in %s", key, s.dir)
	}
	if err := s.publish(f.Name(), s.path(key)); err != nil {
		return blob.Info{}, classify(err, "put %s in %s", key, s.dir)
	}
	return blob.Info{Key: key, Size: st.Size(), ModTime: st.ModTime()}, nil
}

// fill copies r to f until it ends or ctx does, and makes f durable.
func (s *Store) fill(ctx context.Context, f *os.File, r io.Reader) error {
	if _, err := io.Copy(f, &cancelReader{ctx: ctx, r: r}); err != nil {
		return err
	}
	if !s.durable {
		return nil
	}
	return f.Sync()
}

// cancelReader ends with the context's error.
type cancelReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// create makes a temporary file and locks it. The lock tells the sweep of
// another process that the file has a living writer; it ends with the writer.
func (s *Store) create() (*os.File, error) {
	for {
		f, err := os.CreateTemp(s.temp, "put-")
		if err != nil {
			return nil, err
		}
		if flock(f) == nil && linked(f) {
			return f, nil
		}
		_ = f.Close() // a sweep got in between: it has removed the file
	}
}

// publish moves a durable file to its path and makes the move durable. A folder
// that a Delete took away in between is made again.
func (s *Store) publish(from, to string) error {
	dir := filepath.Dir(to)
	for range 100 {
		err := s.makeDirs(dir)
		if err == nil {
			err = os.Rename(from, to)
		}
		if err == nil {
			err = s.syncFolder(dir)
			if errors.Is(err, fs.ErrNotExist) { // moved, and deleted by somebody since
				return nil
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return &fs.PathError{Op: "rename", Path: to, Err: fault.New(fault.Unavailable, "its folder is removed again and again")}
}

// makeDirs is os.MkdirAll that makes each new folder durable in its parent.
func (s *Store) makeDirs(dir string) error {
	if st, err := os.Stat(dir); err == nil {
		if !st.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if err := s.makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.syncFolder(parent)
}

func (s *Store) syncFolder(dir string) error {
	if !s.durable {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// sweep removes the temporary files that no living process holds.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return err
		}
		if flock(f) == nil {
			_ = os.Remove(f.Name())
		}
		_ = f.Close()
	}
	return nil
}

func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// linked reports whether the open file still has a name.
func linked(f *os.File) bool {
	st, err := f.Stat()
	if err != nil {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Nlink > 0
}

// Move gives an object another key, and replaces what is there: durable and at
// once. An absent from is fault.NotFound.
func (s *Store) Move(ctx context.Context, from, to string) error {
	for _, key := range []string{from, to} {
		if err := check(ctx, key); err != nil {
			return err
		}
	}
	if _, err := s.Stat(ctx, from); err != nil {
		return err
	}
	return classify(s.publish(s.path(from), s.path(to)), "move %s to %s in %s", from, to, s.dir)
}
