package piece

import (
	"os"
	"syscall"
)

// freeBytes is how much may still be written to the file system of f.
func freeBytes(f *os.File) (n int64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}
