package pack

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// openDirect opens a file for writes round the page cache, nil where the file
// system has none.
func openDirect(name string) *os.File {
	f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	return f
}

// refusesDirect reports whether a direct write failed for being one: other
// alignment than ours, or none at all.
func refusesDirect(err error) bool { return errors.Is(err, syscall.EINVAL) }

func pageAligned(b []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%pageBytes == 0
}

// reserve takes room for n bytes of f from off on. It is a hint: what cannot be
// had will be missed by the write.
func reserve(f *os.File, off, n int64) { _ = syscall.Fallocate(int(f.Fd()), 0, off, n) }

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
