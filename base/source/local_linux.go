package source

import (
	"errors"
	"io/fs"
	"os"
	"strings"

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

// longest is how long a path may be that the system is asked for at once:
// PATH_MAX is 4,096 bytes, its end included.
const longest = 4095

// openAt opens a path of any length, step by step where it is too long for one.
func (l *local) openAt(path string) (fd int, err error) {
	at := l.at
	for len(path) > longest {
		n := strings.LastIndexByte(path[:longest+1], '/')
		if n < 0 {
			break // a name that is too long, as the system will say
		}
		next, err := openFrom(at, path[:n], unix.O_PATH|unix.O_DIRECTORY)
		if at != l.at {
			_ = unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at, path = next, path[n+1:]
	}
	fd, err = openFrom(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if at != l.at {
		_ = unix.Close(at)
	}
	return fd, err
}

// openFrom opens a path below a directory and through no link.
func openFrom(dir int, path string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	for {
		fd, err := unix.Openat2(dir, path, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a rename raced with the lookup
			continue
		case unix.ENOSYS, unix.EPERM: // before Linux 5.6, or a sandbox's filter
			return -1, errNoOpenat2
		}
		return fd, err
	}
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
