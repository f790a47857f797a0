package piece

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/firth-project/firth/base/fault"
)

// copying is a CAR on its way into the blob store: a file of this machine that
// grows until its piece is known, and over stops of the process.
type copying struct {
	*os.File
	s  *Service
	im Import
}

func (s *Service) workDir() string {
	if s.settings.WorkDir != "" {
		return s.settings.WorkDir
	}
	return filepath.Join(os.TempDir(), "firth-imports")
}

// resumeCopy opens the copy of an import, of which the first bytes up to from are
// wanted; what is behind them goes. If they are not here, the error is
// fault.Conflict; while its writer of before still writes, Unavailable.
func (s *Service) resumeCopy(im Import, from int64) (*copying, error) {
	dir := s.workDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, im.work), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	c := &copying{f, s, im}
	if err := c.claim(from); err != nil {
		_ = f.Close()
		return nil, err
	}
	return c, nil
}

func (c *copying) claim(from int64) error {
	if !lock(c.File) {
		return fault.New(fault.Unavailable, "%s is still being written", c.Name())
	}
	info, err := c.Stat()
	if err != nil {
		return err
	}
	if info.Size() < from {
		return fault.New(fault.Conflict, "the %d bytes that were copied before are not in %s of this machine", from, c.Name())
	}
	if err := c.Truncate(from); err != nil {
		return err
	}
	_, err = c.Seek(from, io.SeekStart)
	return err
}

// Write implements io.Writer. On a full disk what was copied goes at once: the
// database may stand on it, too, and has to write down that this came to nothing.
func (c *copying) Write(b []byte) (int, error) {
	n, err := c.File.Write(b)
	if errors.Is(err, syscall.ENOSPC) {
		_ = c.Truncate(0)
		err = fault.New(fault.Exhausted, "no space is left for the copy in %s", filepath.Dir(c.Name()))
	}
	return n, err
}

// reserve is what a copy leaves free of its disk for all else that stands there;
// of a small one half.
const reserve = 256 << 20

// fits refuses a copy that its disk has no room for before it is begun; size is
// -1 where nobody knows it.
func (c *copying) fits(size, copied int64) error {
	free, known := freeBytes(c.File)
	if need, room := size-copied, max(free-reserve, free/2); known && need > room {
		return fault.New(fault.Exhausted, "%d bytes are to be copied to %s, where there is room for %d; make room, or leave the CAR where it is",
			need, filepath.Dir(c.Name()), room)
	}
	return nil
}

// mover is what a blob store can do where objects are files.
type mover interface {
	localPath
	Move(ctx context.Context, from, to string) error
}

// finish gives the CAR its place in the blob store: without another copy where
// that is on the same file system.
func (c *copying) finish(ctx context.Context, key string) error {
	if err := c.Sync(); err != nil {
		return err
	}
	if m, ok := c.s.blobs.(mover); ok {
		stage := importKey(c.im.ID) + ".car"
		if path, ok := m.LocalPath(stage); ok && os.Link(c.Name(), path) == nil {
			return m.Move(ctx, stage, key)
		}
	}
	if _, err := c.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := c.s.blobs.Put(ctx, key, c.File)
	return err
}

// tidy removes what an import that is over leaves behind: its parts, and its
// copy if that is on this machine.
func (s *Service) tidy(ctx context.Context, id int64) {
	im, err := importByID(ctx, s.db.Read(), 0, id)
	if err == nil && im.work != "" {
		if err = os.Remove(filepath.Join(s.workDir(), im.work)); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	err = errors.Join(err, s.forget(ctx, id, 0))
	if err != nil {
		s.log.WarnContext(ctx, "import not tidied up; the next one tries again", "import", id, "err", err)
	}
}

// forget deletes the blobs of an import, those of claims before an epoch; 0 is
// all.
func (s *Service) forget(ctx context.Context, id, before int64) error {
	for _, prefix := range []string{importKey(id) + "/", importKey(id) + ".car"} {
		for info, err := range s.blobs.List(ctx, prefix, "") {
			if err != nil {
				return err
			}
			if before > 0 && epochOf(info.Key) >= before {
				continue
			}
			if err := s.blobs.Delete(ctx, info.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweep removes what imports left behind whose process was killed at their end.
func (s *Service) sweep(ctx context.Context) error {
	for info, err := range s.blobs.List(ctx, importKeys, "") {
		if err != nil {
			return err
		}
		id := importOf(info.Key)
		if id == 0 {
			continue
		}
		im, err := importByID(ctx, s.db.Read(), 0, id)
		if fault.Is(err, fault.NotFound) || err == nil && im.over() {
			err = s.blobs.Delete(ctx, info.Key)
		}
		if err != nil {
			return err
		}
	}
	if s.settings.WorkDir == "" { // shared with who knows whom
		return nil
	}
	return s.sweepCopies(ctx)
}

func (s *Service) sweepCopies(ctx context.Context) error {
	entries, err := os.ReadDir(s.settings.WorkDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		live, asked := importWorks(ctx, s.db.Read(), e.Name())
		if asked != nil {
			return asked
		}
		if !live {
			err = errors.Join(err, os.Remove(filepath.Join(s.settings.WorkDir, e.Name())))
		}
	}
	return err
}
