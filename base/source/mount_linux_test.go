package source

import "testing"

func TestHangs(t *testing.T) {
	table := `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
30 22 0:50 / /mnt/far rw - nfs4 server:/x rw
31 30 0:51 / /mnt/far/disk rw - xfs /dev/b rw
32 22 0:52 / /mnt/a\040space rw shared:9 - fuse.sshfs x rw
33 22 0:53 / /mnt/over rw - fuse x rw
34 33 0:54 / /mnt/over rw - tmpfs x rw
bad line
`
	for path, want := range map[string]bool{
		"/": true, "/home": false, "/mnt": true, "/mnt/far": true, "/mnt/far/x": true, "/mnt/far/disk/x": false, "/mnt/farther": false,
		"/mnt/a space/x": true, "/mnt/a": false, "/mnt/over/": false, "/proc/1": false,
	} {
		if got := hangs(table, path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
	if !hangs("", "/") {
		t.Error("nothing is known, and it is trusted")
	}
}
