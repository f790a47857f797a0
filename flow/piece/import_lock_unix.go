//go:build unix

package piece

import (
	"os"
	"syscall"
)

// lock makes f this opening's alone until it is closed.
func lock(f *os.File) bool { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil }
