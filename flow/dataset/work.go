package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// workDir is where a preparation's work in progress stands on this machine.
func (s *Service) workDir(preparation int64, rest ...string) string {
	return filepath.Join(append([]string{s.settings.WorkDir, strconv.FormatInt(preparation, 10)}, rest...)...)
}

// blobKey is where a preparation keeps a file.
func blobKey(preparation int64, name string) string {
	return fmt.Sprintf("dataset/%d/%s", preparation, name)
}

// enter makes the caller the only one in a working directory, until leave.
func (s *Service) enter(dir string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[dir] {
		// A run that was taken for dead is on its way out.
		return nil, later(time.Second)
	}
	s.busy[dir] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, dir)
	}, nil
}

// putBlob stores what write writes.
func (s *Service) putBlob(ctx context.Context, key string, write func(io.Writer) error) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	_, err := s.blobs.Put(ctx, key, r)
	r.CloseWithError(err)
	return fault.Wrap(err, "keep %s", key)
}

// localPath is what a blob store on this machine can do.
type localPath interface {
	LocalPath(key string) (path string, ok bool)
}

// openCatalog opens a catalog that is a blob: as the file it is, or as a copy
// without a name.
func (s *Service) openCatalog(ctx context.Context, key string) (c *Catalog, done func(), err error) {
	if where, ok := s.blobs.(localPath); ok {
		if path, ok := where.LocalPath(key); ok {
			return openCatalogFile(path)
		}
	}
	blob, err := s.blobs.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, nil, fault.Wrap(err, "open %s", key)
	}
	defer blob.Close()
	f, err := os.CreateTemp("", "firth-catalog-*")
	if err != nil {
		return nil, nil, err
	}
	if err = os.Remove(f.Name()); err == nil {
		_, err = io.Copy(f, blob)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, fault.Wrap(err, "open %s", key)
	}
	return catalogIn(f)
}

func openCatalogFile(path string) (*Catalog, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return catalogIn(f)
}

func catalogIn(f *os.File) (*Catalog, func(), error) {
	info, err := f.Stat()
	var c *Catalog
	if err == nil {
		c, err = OpenCatalog(f, info.Size())
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, fault.Wrap(err, "catalog %s", filepath.Base(f.Name()))
	}
	return c, func() { _ = f.Close() }, nil
}

// Names of the files of a complete preparation.
const (
	catalogBlob = "catalog" // its records by path
	namesBlob   = "names"   // and by name
)

// catalogOf opens the catalog of a complete preparation; nil for none.
func (s *Service) catalogOf(ctx context.Context, preparation int64) (*Catalog, func(), error) {
	if preparation == 0 {
		return nil, func() {}, nil
	}
	return s.openCatalog(ctx, blobKey(preparation, catalogBlob))
}

// writeFile puts a value into a file, which is whole or as it was before.
func writeFile(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return diskFault(err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	return diskFault(err)
}

// makeDir makes a directory of work.
func makeDir(dir string) error { return diskFault(os.MkdirAll(dir, 0o700)) }

// diskFault gives a full disk its kind.
func diskFault(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Mark(fault.Exhausted, err)
	}
	return err
}

// runRemove deletes what is kept of a preparation that was removed.
func (s *Service) runRemove(ctx context.Context, a preparationArgs) error {
	row, err := rowOfPreparation(ctx, s.db.Read(), a.Preparation)
	if err != nil || row.State != Removed {
		return err
	}
	for info, err := range s.blobs.List(ctx, blobKey(a.Preparation, ""), "") {
		if err != nil {
			return err
		}
		if err := s.blobs.Delete(ctx, info.Key); err != nil {
			return err
		}
	}
	return s.clear(a.Preparation)
}

// sweep removes the work on this machine that nobody will continue.
func (s *Service) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(s.settings.WorkDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var ids []int64
	for _, e := range entries {
		if id, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	open, err := standing(ctx, s.db.Read(), ids)
	if err != nil {
		return err
	}
	kept := map[int64]bool{}
	for _, id := range open {
		kept[id] = true
	}
	for _, id := range ids {
		if !kept[id] {
			err = errors.Join(err, s.clear(id))
		}
	}
	return err
}

// clear removes the work on a preparation that is over. What somebody is still
// at work in is left to the next sweep.
func (s *Service) clear(preparation int64) error {
	dir := s.workDir(preparation)
	if s.inUse(dir) {
		return nil
	}
	chunks, err := filepath.Glob(filepath.Join(dir, "chunk-*", "*"))
	if err != nil {
		return err
	}
	for _, c := range chunks {
		if err := pack.Sweep(c); err != nil && !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return os.RemoveAll(dir)
}

func (s *Service) inUse(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for busy := range s.busy {
		if strings.HasPrefix(busy, dir+string(filepath.Separator)) {
			return true
		}
	}
	return false
}
