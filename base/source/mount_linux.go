package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// steady are the file systems whose calls return whatever becomes of a server:
// of disks, of memory, and the kernel's own.
var steady = strings.Fields("ext2 ext3 ext4 xfs btrfs zfs bcachefs f2fs jfs reiserfs nilfs2 vfat exfat msdos ntfs ntfs3 hfs hfsplus udf iso9660 squashfs erofs cramfs " +
	"tmpfs ramfs rootfs overlay devtmpfs proc sysfs devpts mqueue cgroup cgroup2 securityfs debugfs tracefs bpf pstore configfs fusectl hugetlbfs efivarfs binfmt_misc nsfs selinuxfs")

// mayHang reports whether a path lies on a mount, or has one below it, that
// needs another's answer: a network's, or FUSE's. What is mounted later is not
// known.
func mayHang(path string) bool {
	table, err := os.ReadFile("/proc/self/mountinfo")
	return err != nil || hangs(string(table), path)
}

// hangs reads a mount table, proc_pid_mountinfo(5).
func hangs(table, path string) bool {
	path = filepath.Clean(path)
	around, kind := -1, ""
	for line := range strings.Lines(table) {
		before, after, ok := strings.Cut(line, " - ")
		fields, typed := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(typed) == 0 {
			continue
		}
		at := unescape.Replace(fields[4])
		switch {
		case at != path && within(path, at) && !slices.Contains(steady, typed[0]):
			return true
		case within(at, path) && len(at) >= around: // a later mount covers an earlier one
			around, kind = len(at), typed[0]
		}
	}
	return !slices.Contains(steady, kind)
}

// unescape undoes what the table does to the bytes that it cannot hold.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// within reports whether a path is a directory or below it.
func within(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}
