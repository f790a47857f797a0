package dataset

import "syscall"

// freeBytes is how much a directory's file system has room for; known is false
// where it does not say.
func freeBytes(dir string) (n int64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}
