package app

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// lean gives back what only the start needed: garbage of the migrations, and
// the pages of the program itself, of which a start has touched nearly all (each
// library's tables and what fills them) and packing needs a third. They are read
// from the page cache again when they are wanted. What cannot be given back
// stays.
func lean() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		// from-to perms offset device inode path
		f := bytes.Fields(line)
		if len(f) < 6 || string(f[5]) != self || f[1][0] != 'r' || f[1][1] != '-' {
			continue // only what is never written may be dropped
		}
		low, high, _ := bytes.Cut(f[0], []byte("-"))
		from, err1 := strconv.ParseUint(string(low), 16, 64)
		to, err2 := strconv.ParseUint(string(high), 16, 64)
		if err1 == nil && err2 == nil && from < to {
			_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
		}
	}
}
