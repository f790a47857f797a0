package dag

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// maxExported bounds the entries one Export makes: shared subtrees let a few
// blocks describe more names than a disk has inodes.
const maxExported = 10_000_000

// Exported counts what Export wrote.
type Exported struct {
	Files    int64
	Dirs     int64
	Symlinks int64
	Bytes    int64 // of file content
}

// Export writes a UnixFS file, link or tree to the local disk at path, which
// is the thing's own name, not a directory to put it into. A directory may be
// there already and is filled. Nothing that exists is overwritten: that is
// Conflict, and so is a name that stands twice in one directory.
//
// Whatever the DAG says, nothing is written outside path: a name that is empty,
// "." or "..", or holds a slash or a zero byte, is Invalid, and symbolic links
// are written with their targets verbatim but never passed through. Modes and
// times of the DAG are not applied. After an error the part written so far
// remains, except the file that was being written.
func Export(ctx context.Context, g Getter, root cid.Cid, path string) (Exported, error) {
	n, err := load(ctx, g, root)
	if err != nil {
		return Exported{}, fault.Wrap(err, "export")
	}
	x := exporter{g: g}
	if n.isDir() {
		err = x.openAt(path, func() error { return x.fill(ctx, n, ".", 0) })
	} else {
		path = filepath.Clean(path)
		err = x.openIn(filepath.Dir(path), func() error { return x.write(ctx, n, filepath.Base(path)) })
	}
	return x.done, fault.Wrap(err, "export %s to %s", root, path)
}

type exporter struct {
	g    Getter
	root *os.Root
	done Exported
}

func (x *exporter) openAt(path string, fn func() error) error {
	if err := os.Mkdir(path, 0o777); err == nil {
		x.done.Dirs++
	} else if !errors.Is(err, fs.ErrExist) {
		return diskError(err)
	}
	return x.openIn(path, fn)
}

func (x *exporter) openIn(dir string, fn func() error) (err error) {
	if x.root, err = os.OpenRoot(dir); err != nil {
		if errors.Is(err, syscall.ENOTDIR) {
			return fault.Mark(fault.Conflict, err)
		}
		return diskError(err)
	}
	defer x.root.Close()
	return fn()
}

// fill writes the entries of a directory that was made or opened at path.
func (x *exporter) fill(ctx context.Context, dir *node, path string, depth int) error {
	if depth == MaxDirectoryDepth {
		return fault.New(fault.Invalid, "%.200q…: more than %d directories deep", path, MaxDirectoryDepth)
	}
	var inner error
	_, err := dir.entries(ctx, x.g, func(e Entry) bool {
		inner = x.one(ctx, e, path, depth)
		return inner == nil
	})
	return errors.Join(inner, err)
}

func (x *exporter) one(ctx context.Context, e Entry, dir string, depth int) error {
	if err := exportable(e.Name); err != nil {
		return fault.Wrap(err, "in %.200q", dir)
	}
	n, err := load(ctx, x.g, e.Cid)
	if err != nil {
		return fault.Wrap(err, "%.200q", e.Name)
	}
	path := e.Name
	if dir != "." {
		path = dir + string(filepath.Separator) + e.Name
	}
	if !n.isDir() {
		return x.write(ctx, n, path)
	}
	if err := x.count(); err != nil {
		return err
	}
	if err := x.root.Mkdir(path, 0o777); err != nil {
		return diskError(err)
	}
	x.done.Dirs++
	return x.fill(ctx, n, path, depth+1)
}

// write makes a file or symbolic link that must not exist.
func (x *exporter) write(ctx context.Context, n *node, path string) error {
	if err := x.count(); err != nil {
		return err
	}
	if n.kind == symlinkNode {
		if len(n.data) == 0 || bytes.IndexByte(n.data, 0) >= 0 {
			return fault.New(fault.Invalid, "%.200q: symbolic link to %.80q cannot be on a disk", path, n.data)
		}
		if err := x.root.Symlink(string(n.data), path); err != nil {
			return diskError(err)
		}
		x.done.Symlinks++
		return nil
	}
	out, err := x.root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return diskError(err)
	}
	written, err := newFile(ctx, x.g, n).WriteTo(out)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(fault.Wrap(err, "%.200q", path), x.root.Remove(path))
	}
	x.done.Files++
	x.done.Bytes += written
	return nil
}

func (x *exporter) count() error {
	if x.done.Files+x.done.Dirs+x.done.Symlinks >= maxExported {
		return fault.New(fault.Exhausted, "more than %d entries; export a part of the tree", maxExported)
	}
	return nil
}

// exportable refuses what would not be one step below its directory.
func exportable(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || strings.ContainsRune(name, filepath.Separator) {
		return fault.New(fault.Invalid, "name %.200q: cannot be a file's name", name)
	}
	return nil
}
