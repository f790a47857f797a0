package dag

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/firth-project/firth/base/fault"
)

// PathOptions choose what AddPath takes in.
type PathOptions struct {
	Hidden bool // also names that begin with a dot, beneath the path itself
}

// AddPath imports a file or tree from the local disk, as `ipfs add -r` (with
// -H when Hidden) does. Symbolic links become links, the path itself included;
// none is followed, so a loop of them is harmless. A device, socket or pipe is
// Invalid; whatever else cannot be read ends the import with its path.
func AddPath(ctx context.Context, p Putter, path string, prof Profile, o PathOptions) (Entry, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Entry{}, diskError(err)
	}
	switch {
	case info.IsDir():
		return addDisk(ctx, p, path, prof, o)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return Entry{}, diskError(err)
		}
		return AddSymlink(ctx, p, target, prof)
	case !info.Mode().IsRegular():
		return Entry{}, notStorable(path, info.Mode())
	}
	f, err := os.Open(path)
	if err != nil {
		return Entry{}, diskError(err)
	}
	defer f.Close()
	e, err := AddFile(ctx, p, f, prof)
	return e, fault.Wrap(err, "%s", path)
}

func addDisk(ctx context.Context, p Putter, path string, prof Profile, o PathOptions) (Entry, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return Entry{}, diskError(err)
	}
	defer root.Close()
	d := disk{root: root, tree: NewTree(p, prof), hidden: o.Hidden}
	if err := d.add(ctx, "."); err != nil {
		return Entry{}, fault.Wrap(err, "%s", path)
	}
	return d.tree.Finish(ctx)
}

// disk reads a directory tree through an os.Root: what is swapped for a link
// while it is read still leads nowhere outside.
type disk struct {
	root   *os.Root
	tree   *Tree
	hidden bool
}

func (d *disk) add(ctx context.Context, dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return diskError(err)
	}
	found, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return diskError(err)
	}
	for _, e := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.hidden && strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := e.Name()
		if dir != "." {
			path = dir + "/" + path
		}
		if err := d.addOne(ctx, path, e.Type()); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) addOne(ctx context.Context, path string, mode fs.FileMode) error {
	switch {
	case mode.IsDir():
		if err := d.tree.Mkdir(path); err != nil {
			return err
		}
		return d.add(ctx, path)
	case mode&fs.ModeSymlink != 0:
		target, err := d.root.Readlink(path)
		if err != nil {
			return diskError(err)
		}
		_, err = d.tree.AddSymlink(ctx, path, target)
		return err
	case !mode.IsRegular():
		return notStorable(path, mode)
	}
	f, err := d.root.Open(path)
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	_, err = d.tree.AddFile(ctx, path, f)
	return err
}

func notStorable(path string, mode fs.FileMode) error {
	return fault.New(fault.Invalid, "%q: %v is neither a file, a directory nor a symbolic link", path, mode.Type())
}

// diskError gives an error of the operating system its kind.
func diskError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Mark(fault.NotFound, err)
	case errors.Is(err, fs.ErrExist):
		return fault.Mark(fault.Conflict, err)
	case errors.Is(err, fs.ErrPermission):
		return fault.Mark(fault.Forbidden, err)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fault.Mark(fault.Invalid, err)
	case errors.Is(err, syscall.ENOSPC):
		return fault.Mark(fault.Exhausted, err)
	}
	return err
}
