//go:build unix

package indexdag

import (
	"errors"
	"os"
	"syscall"
)

// lock takes a file for this process alone, if it is free.
func lock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
