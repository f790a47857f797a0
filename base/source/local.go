package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// local is a tree on this machine, or one file.
type local struct {
	path string   // absolute, as it is named
	root string   // absolute, links resolved
	file string   // base name, when the root is a file; root is then its directory
	dir  *os.File // the root, open: paths are looked up from it and never leave it
	at   int      // its number, which a listing that was given up may still read
	// patience is how long a listing waits for the system to say anything at all.
	patience time.Duration
	guard    *guard // makes the calls that read files; nil where they are sure to return
	looks    *guard // makes those that tell what stands at the path
}

// openLocal opens a tree, if it answers in time.
func openLocal(ctx context.Context, path string, patience, stall time.Duration) (*local, error) {
	type opened struct {
		l   *local
		err error
	}
	answer := make(chan opened, 1)
	go func() {
		l, err := rootAt(path)
		answer <- opened{l, err}
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case a := <-answer:
		if a.err == nil {
			a.l.patience, a.l.looks = patience, &guard{limit: patience}
			if mayHang(a.l.root) {
				a.l.guard = &guard{limit: stall}
			}
		}
		return a.l, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-limit.C:
		return nil, fault.New(fault.Unavailable, "no answer for %s: a mount whose server is gone, perhaps", patience)
	}
}

func rootAt(path string) (*local, error) {
	l, info, err := lookAt(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsDir() && !mode.IsRegular() {
		return nil, fault.New(fault.Invalid, "is a %s: a source is a directory or a regular file", describe(mode))
	}
	if l.dir, err = os.Open(l.root); err != nil {
		return nil, localFault(err)
	}
	l.at = int(l.dir.Fd())
	return l, nil
}

// lookAt finds what a path names, and describes it.
func lookAt(path string) (*local, os.FileInfo, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, localFault(err)
	}
	// A link as the root is followed: whoever names it means what it points to.
	root, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.New(fault.NotFound, "there is no such file or directory")
	}
	if err != nil {
		return nil, nil, localFault(err)
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, nil, localFault(err)
	}
	l := &local{path: abs, root: root}
	if info.Mode().IsRegular() {
		l.root, l.file = filepath.Split(root)
	}
	return l, info, nil
}

func (l *local) current(ctx context.Context) error {
	var changed error
	err := l.looks.do(ctx, func() { changed = l.look() }, func(bool) {})
	if err != nil {
		return err // and the look may go on
	}
	return changed
}

// look is current without a limit of time.
func (l *local) look() error {
	now, info, err := lookAt(l.path)
	if err != nil {
		return err
	}
	if now.file != "" {
		if info, err = os.Stat(now.root); err != nil {
			return localFault(err)
		}
	}
	was, err := l.dir.Stat()
	if err != nil {
		return localFault(err)
	}
	if now.file != l.file || !os.SameFile(info, was) {
		return fault.New(fault.Conflict, "something else stands there than when it was opened")
	}
	return nil
}

func (l *local) walk(ctx context.Context, after string, m *matcher, visit func(Item) error) error {
	w := treeWalk{ctx: ctx, m: m, visit: visit, list: l.list}
	if l.file != "" {
		w.list = l.only
	}
	return w.run(after)
}

// list tells the names of a directory below the root.
func (l *local) list(ctx context.Context, dir string) ([]entry, error) {
	if depth(dir) > deepest {
		return nil, fault.New(fault.Invalid, "lies deeper than %d directories: a file system that leads back into itself, perhaps", deepest)
	}
	entries, err := l.readDir(ctx, dir)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, localFault(err)
	}
	return entries, nil
}

// deepest ends a tree that has no end.
const deepest = 2000

// only tells the one file that is the whole source.
func (l *local) only(context.Context, string) ([]entry, error) {
	info, err := os.Lstat(filepath.Join(l.root, l.file))
	if err != nil {
		return nil, localFault(err)
	}
	e := localEntry(l.file, info)
	return []entry{e}, nil
}

func (l *local) close() error { return l.dir.Close() }

func (l *local) open(ctx context.Context, path, id string) (content, Item, error) {
	if !wellFormed(path) || l.file != "" && path != l.file {
		return nil, Item{}, fault.New(fault.NotFound, "not in this source")
	}
	if l.guard != nil {
		return l.openGuarded(ctx, path, id)
	}
	f, item, err := l.openHere(path, id)
	if err != nil {
		return nil, Item{}, err
	}
	return f, item, nil
}

func (l *local) openHere(path, id string) (*localFile, Item, error) {
	f, err := l.openRaw(path)
	if err != nil {
		return nil, Item{}, localFault(err)
	}
	e, err := f.look()
	if err != nil {
		f.close()
		return nil, Item{}, localFault(err)
	}
	switch e.kind {
	case KindFile:
	case KindDir:
		e.note = "is a " + describe(fs.ModeDir)
		fallthrough
	default:
		f.close()
		return nil, Item{}, fault.New(fault.Conflict, "changed since the scan: %s now, not a regular file", e.note)
	}
	item := e.item(path)
	if id != "" && !e.is(id) {
		f.close()
		return nil, Item{}, changed(id, item.ID())
	}
	if err := f.isEmpty(e.size); err != nil {
		f.close()
		return nil, Item{}, err
	}
	return &localFile{raw: f, opened: e}, item, nil
}

// is reports whether an entry is of the version that ID names, without making
// the text of its own.
func (e *entry) is(id string) bool {
	var b [64]byte
	i := e.item("")
	return string(i.appendID(b[:0])) == id
}

// isEmpty refuses a file of no bytes that has some: the kernel's own file
// systems, and some others, do not know sizes.
func (f *rawFile) isEmpty(size int64) error {
	if size > 0 {
		return nil
	}
	var one [1]byte
	n, err := f.readAt(one[:], 0)
	switch {
	case n > 0:
		return fault.New(fault.Invalid, "has content, but says that it is empty, as files of the kernel do (/proc, /sys): copy it to a file first")
	case err != nil && err != io.EOF:
		return localFault(err)
	}
	return nil
}

// localFile reads where the bytes lie.
type localFile struct {
	raw    *rawFile
	opened entry // as it was then
}

func (f *localFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.raw.readAt(p, off)
	// A file that has shrunk ends early; one that has grown ends where the
	// version did.
	switch {
	case off+int64(n) > f.opened.size:
		return int(max(0, f.opened.size-off)), fault.New(fault.Conflict, "changed since it was opened: longer than %d bytes", f.opened.size)
	case err == io.EOF:
		return n, err
	case err != nil:
		return n, localFault(err)
	}
	return n, nil
}

func (f *localFile) check(context.Context) error {
	now, err := f.raw.look()
	if err != nil {
		return localFault(err)
	}
	if now.size != f.opened.size || now.mtime != f.opened.mtime {
		was, is := f.opened.item(""), now.item("")
		return fault.New(fault.Conflict, "changed while it was read: was %s, is %s", was.ID(), is.ID())
	}
	return nil
}

func (f *localFile) Close() error { return f.raw.close() }

func localEntry(name string, info fs.FileInfo) entry {
	e := entry{name: name, mtime: info.ModTime().UnixNano()}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		e.size = info.Size()
	case mode.IsDir():
		e.kind = KindDir
	case mode&fs.ModeSymlink != 0:
		e.kind = KindSymlink
	default:
		e.kind, e.bad, e.note = KindOther, true, "is a "+describe(mode)
	}
	return e
}

// describe names a mode that is not a regular file's.
func describe(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "file of unknown type"
}

// wellFormed reports whether a path can be one of an item's: names between
// single slashes, none of them "." or "..".
func wellFormed(path string) bool { return oddName(path) == "" }

// oddName says why a path cannot be in a tree of directories, "" when it can.
func oddName(path string) string {
	for rest := path; ; {
		name, after, more := strings.Cut(rest, "/")
		switch {
		case name == "":
			return "has an empty name between slashes or at an end, which no directory can hold"
		case name == "." || name == "..":
			return "has a name \"" + name + "\", which no directory can hold"
		case strings.IndexByte(name, 0) >= 0:
			return "has a name with a NUL byte, which no directory can hold"
		}
		if !more {
			return ""
		}
		rest = after
	}
}

// localFault gives an error of the operating system its kind. The path is left
// to whoever wraps it.
func localFault(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	why := reason(err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.NotFound, "gone: %w", why)
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Forbidden, "may not be read: %w", why)
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.ENXIO):
		return fault.New(fault.Conflict, "changed since the scan: a link or something else that is not a file stands there now: %w", why)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return fault.New(fault.Exhausted, "%w", why)
	case errors.Is(err, fs.ErrClosed):
		return fault.New(fault.Internal, "%w", why)
	}
	return fault.New(fault.Forbidden, "cannot be read: %w", why)
}

// reason takes an error out of the words of package os, which repeat the path.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
