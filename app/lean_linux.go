package app

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// giveBack returns the pages of the program itself, of which a start has touched
// nearly all (each library's tables and what fills them) and packing needs a
// fifth. They are read from the page cache again when they are wanted, each with
// fifteen neighbours that mostly are not.
func giveBack(clean []pages) {
	for _, p := range clean {
		_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, uintptr(p.from), uintptr(p.to-p.from), unix.MADV_DONTNEED)
	}
}

// pages are a range of addresses.
type pages struct{ from, to uint64 }

// cleanPages finds the mappings of the program that nobody has written to and
// nobody can: the file has all of it.
func cleanPages() (clean []pages) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil
	}
	var at pages // the mapping at hand; none of ours is 0 to 0
	for line := range bytes.Lines(maps) {
		f := bytes.Fields(line)
		switch {
		case len(f) == 6 && string(f[5]) == self && f[1][1] == '-': // from-to perms offset device inode path
			low, high, _ := bytes.Cut(f[0], []byte("-"))
			at.from, _ = strconv.ParseUint(string(low), 16, 64)
			at.to, _ = strconv.ParseUint(string(high), 16, 64)
		case len(f) >= 5 && bytes.IndexByte(f[0], '-') > 0:
			at = pages{}
		case len(f) == 3 && string(f[0]) == "Anonymous:" && string(f[1]) == "0" && at.from < at.to: // not even a loader wrote here
			clean = append(clean, at)
		}
	}
	return clean
}
