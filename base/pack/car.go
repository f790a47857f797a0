package pack

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/firth-project/firth/base/fault"
)

// reserveBytes is how far the CAR's file is made ahead of what is written: so
// writers never wait for one another to lengthen it.
const reserveBytes = 256 << 20

// car is a CAR on its way to the disk, under a name of its own beside its last
// one. Which name that is stands in the working directory before the file is
// made, so that it is always found again.
type car struct {
	f      *os.File
	direct *os.File // round the page cache; nil where the file system has that not
	refuse atomic.Bool
	limit  int64

	mu       sync.Mutex
	reserved int64
	sealed   bool
}

// createCAR begins the CAR of a working directory in the directory export.
func createCAR(dir, export string, limit int64, durable bool) (*car, error) {
	if err := os.MkdirAll(export, 0o755); err != nil {
		return nil, diskError(err, export, 0)
	}
	export, err := filepath.Abs(export)
	if err != nil {
		return nil, err
	}
	var word [8]byte
	if _, err := rand.Read(word[:]); err != nil {
		return nil, err
	}
	name := filepath.Join(export, ".pack-"+hex.EncodeToString(word[:])+".part")
	if err := replaceFile(filepath.Join(dir, carFile), strings.NewReader(name), durable); err != nil {
		return nil, diskError(err, dir, 0)
	}
	return openCAR(name, os.O_CREATE|os.O_EXCL, limit)
}

// reopenCAR continues the CAR of a working directory; nil if it is gone or
// shorter than size.
func reopenCAR(dir string, size, limit int64) (*car, error) {
	name, err := carName(dir)
	if err != nil || name == "" {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil || info.Size() < size {
		return nil, ignoreMissing(err)
	}
	return openCAR(name, 0, limit)
}

func openCAR(name string, flag int, limit int64) (*car, error) {
	f, err := os.OpenFile(name, os.O_RDWR|flag, 0o644)
	if err != nil {
		return nil, diskError(err, filepath.Dir(name), 0)
	}
	return &car{f: f, direct: openDirect(name), limit: limit}, nil
}

// carName returns the name of a working directory's half-written CAR, "" for
// none.
func carName(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, carFile))
	return string(b), ignoreMissing(err)
}

// removeCAR removes the half-written CAR of a working directory.
func removeCAR(dir string) error {
	name, err := carName(dir)
	if err != nil || name == "" {
		return err
	}
	if err := ignoreMissing(os.Remove(name)); err != nil {
		return err
	}
	return ignoreMissing(os.Remove(filepath.Join(dir, carFile)))
}

// nameCAR gives the finished CAR of a working directory its name, unless it
// has it; ok is false if there is neither.
func nameCAR(dir, final string, size int64) (ok bool, err error) {
	name, err := carName(dir)
	if err != nil {
		return false, err
	}
	if name != "" {
		err := os.Rename(name, final)
		if err == nil {
			return true, diskError(syncDir(filepath.Dir(final)), filepath.Dir(final), 0)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, diskError(err, filepath.Dir(final), 0)
		}
	}
	info, err := os.Stat(final)
	return err == nil && info.Size() == size, ignoreMissing(err)
}

// directBytes is how much is worth a write round the page cache.
const directBytes = 64 << 10

// write writes b at off. Any number of goroutines may write at the same time.
// Whole pages go round the page cache where b stands in memory as it will in
// the file; the rest of the first and the last page goes through it, so that no
// page is written both ways.
func (c *car) write(b []byte, off int64) error {
	c.reserve(off + int64(len(b)))
	head := int(-off & (pageBytes - 1))
	if c.direct == nil || c.refuse.Load() || len(b) < head+directBytes || !pageAligned(b[head:]) {
		return c.buffered(b, off)
	}
	end := head + (len(b)-head)&^(pageBytes-1)
	_, err := c.direct.WriteAt(b[head:end], off+int64(head))
	if refusesDirect(err) {
		c.refuse.Store(true)
		return c.buffered(b, off)
	}
	if err != nil {
		return c.error(err, off+int64(len(b)))
	}
	if err := c.buffered(b[:head], off); err != nil {
		return err
	}
	return c.buffered(b[end:], off+int64(end))
}

func (c *car) buffered(b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	_, err := c.f.WriteAt(b, off)
	return c.error(err, off+int64(len(b)))
}

// reserve makes the file longer before it is needed, where that is possible.
func (c *car) reserve(end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if end <= c.reserved {
		return
	}
	to := min((end/reserveBytes+1)*reserveBytes, max(c.limit, end))
	reserve(c.f, c.reserved, to-c.reserved)
	c.reserved = to
}

func (c *car) sync() error { return c.error(c.f.Sync(), c.limit) }

// seal writes the header of a CAR of size bytes that is written otherwise, and
// makes it durable.
func (c *car) seal(header []byte, size int64) error {
	if err := c.buffered(header, 0); err != nil {
		return err
	}
	if err := c.f.Truncate(size); err != nil {
		return c.error(err, size)
	}
	c.sealed = true
	return c.sync()
}

// close lets go of the file, and of what is reserved behind size bytes unless
// that size is not to be trusted.
func (c *car) close(size int64, broken bool) {
	if !c.sealed && !broken {
		_ = c.f.Truncate(size)
	}
	_ = c.f.Close()
	if c.direct != nil {
		_ = c.direct.Close()
	}
}

func (c *car) error(err error, want int64) error {
	return diskError(err, filepath.Dir(c.f.Name()), want)
}

// diskError says which directory is full, and of how many bytes if want is
// known.
func diskError(err error, dir string, want int64) error {
	if err == nil {
		return nil
	}
	if !diskFull(err) {
		return fault.Wrap(err, "in %s", dir)
	}
	if want > 0 {
		return fault.New(fault.Exhausted, "directory %s: no space left for a CAR of at least %d bytes; make room and try again: %w", dir, want, err)
	}
	return fault.New(fault.Exhausted, "directory %s: no space left; make room and try again: %w", dir, err)
}

// replaceFile makes a file have what from writes, all or none of it.
func replaceFile(name string, from io.WriterTo, durable bool) error {
	f, err := os.Create(name + ".tmp")
	if err != nil {
		return err
	}
	_, err = from.WriteTo(f)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	if !durable {
		return nil
	}
	return syncDir(filepath.Dir(name))
}

// texts are written one behind the other.
type texts [][]byte

func (t texts) WriteTo(w io.Writer) (n int64, err error) {
	for _, b := range t {
		m, err := w.Write(b)
		if n += int64(m); err != nil {
			return n, err
		}
	}
	return n, nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
