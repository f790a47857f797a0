package source

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openFile opens a path below the root for reading, without following a link
// anywhere on the way and without waiting for a pipe's other end.
func (l *local) openFile(path string) (*os.File, error) {
	fd, err := l.openAt(path)
	if errors.Is(err, errNoOpenat2) {
		return openBeneath(l.root, path)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// errNoOpenat2 says that the system cannot hold a lookup below a directory.
var errNoOpenat2 = errors.New("no openat2")

func (l *local) openAt(path string) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	for {
		fd, err := unix.Openat2(int(l.dir.Fd()), path, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a rename raced with the lookup
			continue
		case unix.ENOSYS, unix.EPERM: // before Linux 5.6, or a sandbox's filter
			return -1, errNoOpenat2
		}
		return fd, err
	}
}

// readDir lists a directory with one stat a name, relative to the open
// directory: no path is looked up twice.
func (l *local) readDir(dir string) ([]entry, error) {
	f, err := l.openFile(rootOr(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]entry, len(names))
	fd := int(f.Fd())
	var st unix.Stat_t
	for i, name := range names {
		out[i].name = name
		if err := retryInterrupted(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
			out[i].bad, out[i].note = true, localFault(err).Error()
			continue
		}
		describeStat(&out[i], &st)
		if out[i].kind == KindSymlink {
			readLink(&out[i], fd, int(st.Size))
		}
	}
	return out, nil
}

// rootOr is the way to name a directory relative to the root.
func rootOr(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

func describeStat(e *entry, st *unix.Stat_t) {
	e.mtime = st.Mtim.Nano()
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.size = st.Size
	case unix.S_IFDIR:
		e.kind = KindDir
	case unix.S_IFLNK:
		e.kind = KindSymlink
	case unix.S_IFIFO:
		e.kind, e.bad, e.note = KindOther, true, "is a "+describe(fs.ModeNamedPipe)
	case unix.S_IFSOCK:
		e.kind, e.bad, e.note = KindOther, true, "is a "+describe(fs.ModeSocket)
	default:
		e.kind, e.bad, e.note = KindOther, true, "is a "+describe(fs.ModeDevice)
	}
}

// readLink fills in a link's target. The size that stat tells may be 0 (procfs)
// or outdated, so the buffer grows until something is left of it.
func readLink(e *entry, fd, size int) {
	for size = max(size, 127) + 1; ; size *= 2 {
		b := make([]byte, size)
		var n int
		err := retryInterrupted(func() (err error) {
			n, err = unix.Readlinkat(fd, e.name, b)
			return err
		})
		if err != nil {
			e.bad, e.note = true, localFault(err).Error()
			return
		}
		if n < size {
			e.note = string(b[:n])
			return
		}
	}
}

func retryInterrupted(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
