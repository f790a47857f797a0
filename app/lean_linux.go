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
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var from, to uint64 // of the mapping at hand, 0 to 0 for none of ours
	for line := range bytes.Lines(maps) {
		f := bytes.Fields(line)
		switch {
		case len(f) == 6 && string(f[5]) == self && f[1][1] == '-': // from-to perms offset device inode path
			low, high, _ := bytes.Cut(f[0], []byte("-"))
			from, _ = strconv.ParseUint(string(low), 16, 64)
			to, _ = strconv.ParseUint(string(high), 16, 64)
		case len(f) >= 5 && bytes.IndexByte(f[0], '-') > 0:
			from, to = 0, 0
		case len(f) == 3 && string(f[0]) == "Anonymous:" && string(f[1]) == "0" && from < to:
			// Nothing was written here, not even by a loader: the file has it all.
			_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
		}
	}
}
