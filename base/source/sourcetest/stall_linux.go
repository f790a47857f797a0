package sourcetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Stall mounts a file system on an existing directory that has one file, named
// "stalls", of these bytes, and answers everything but the reading of it: until
// go on is called, whoever reads waits for ever. The test is skipped where
// nothing can be mounted.
func Stall(t testing.TB, dir string, body []byte) (goOn func()) {
	t.Helper()
	device, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0) // no os.File: it would be polled before it is mounted
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	how := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device)
	if err := syscall.Mount("stall", dir, "fuse", syscall.MS_RDONLY|syscall.MS_NOSUID|syscall.MS_NODEV, how); err != nil {
		_ = syscall.Close(device)
		t.Skipf("nothing can be mounted here: %v", err)
	}
	s := &staller{device: device, body: body}
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.serve()
	}()
	t.Cleanup(func() { // whoever waits gets an error now
		if err := syscall.Unmount(dir, syscall.MNT_DETACH|syscall.MNT_FORCE); err != nil {
			t.Error(err)
			return
		}
		<-over
		_ = syscall.Close(device)
	})
	if _, err := os.Stat(filepath.Join(dir, "stalls")); err != nil {
		t.Fatalf("the mount does not answer: %v", err)
	}
	return s.goOn
}

// staller speaks the FUSE protocol, linux/fuse.h, as far as one file needs.
type staller struct {
	device int
	body   []byte

	mu     sync.Mutex
	going  bool
	parked []ask
}

// ask is one request of the kernel's.
type ask struct {
	opcode       uint32
	unique, node uint64
	rest         []byte
}

// The requests that are answered, and the answer to all others.
const (
	fuseLookup, fuseForget, fuseGetattr, fuseOpen, fuseRead = 1, 2, 3, 14, 15
	fuseRelease, fuseFlush, fuseInit, fuseOpendir           = 18, 25, 26, 27
	fuseReaddir, fuseReleasedir, fuseInterrupt, fuseForgets = 28, 29, 36, 42
)

func (s *staller) serve() {
	for {
		b := make([]byte, 1<<17+4096)
		n, err := syscall.Read(s.device, b)
		switch {
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOENT): // who asked has left
			continue
		case err != nil || n < 40:
			return
		}
		le := binary.LittleEndian
		a := ask{le.Uint32(b[4:]), le.Uint64(b[8:]), le.Uint64(b[16:]), b[40:n]}
		s.mu.Lock()
		if a.opcode == fuseRead && !s.going {
			s.parked = append(s.parked, a)
		} else {
			s.answer(a)
		}
		s.mu.Unlock()
	}
}

// goOn answers what was left unanswered, and all that comes.
func (s *staller) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.going = true
	for _, a := range s.parked {
		s.answer(a)
	}
	s.parked = nil
}

func (s *staller) answer(a ask) {
	le := binary.LittleEndian
	switch a.opcode {
	case fuseForget, fuseForgets, fuseInterrupt:
	case fuseInit:
		out := make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[20:], 1<<17)
		s.send(a, 0, out)
	case fuseLookup:
		if string(a.rest) != "stalls\x00" {
			s.send(a, syscall.ENOENT, nil)
			return
		}
		out := le.AppendUint64(nil, 2)
		s.send(a, 0, append(append(out, make([]byte, 32)...), s.attr(2)...))
	case fuseGetattr:
		s.send(a, 0, append(make([]byte, 16), s.attr(a.node)...))
	case fuseOpen, fuseOpendir:
		s.send(a, 0, make([]byte, 16))
	case fuseReaddir:
		if le.Uint64(a.rest[8:]) > 0 {
			s.send(a, 0, nil)
			return
		}
		out := le.AppendUint64(le.AppendUint64(nil, 2), 1)
		out = le.AppendUint32(le.AppendUint32(out, 6), 8) // length of the name, a regular file
		s.send(a, 0, append(out, "stalls\x00\x00"...))
	case fuseRead:
		from := min(le.Uint64(a.rest[8:]), uint64(len(s.body)))
		s.send(a, 0, s.body[from:min(from+uint64(le.Uint32(a.rest[16:])), uint64(len(s.body)))])
	case fuseRelease, fuseReleasedir, fuseFlush:
		s.send(a, 0, nil)
	default:
		s.send(a, syscall.ENOSYS, nil)
	}
}

// attr is what stat tells of the root, 1, or the file.
func (s *staller) attr(node uint64) []byte {
	le := binary.LittleEndian
	out := make([]byte, 88)
	mode, size := uint32(syscall.S_IFREG|0o444), uint64(len(s.body))
	if node == 1 {
		mode, size = syscall.S_IFDIR|0o555, 0
	}
	le.PutUint64(out, node)
	le.PutUint64(out[8:], size)
	le.PutUint64(out[32:], 1_700_000_000) // modified
	le.PutUint32(out[60:], mode)
	le.PutUint32(out[64:], 1)
	return out
}

// send answers; that nobody wants the answer any more is no matter.
func (s *staller) send(a ask, errno syscall.Errno, body []byte) {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, uint32(16+len(body)))
	out = le.AppendUint32(out, uint32(-int32(errno)))
	out = append(le.AppendUint64(out, a.unique), body...)
	_, _ = syscall.Write(s.device, out)
}
