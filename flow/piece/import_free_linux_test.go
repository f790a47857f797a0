package piece

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

// A copy for which there is no room is refused before a byte of it is written.
func TestCopyWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bavail) * st.Bsize
	s := &Service{settings: Settings{WorkDir: dir}}
	c, err := s.resumeCopy(Import{ID: 1, work: "x.car"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, size := range []int64{-1, 0, 1000} {
		if err := c.fits(size, 0); err != nil {
			t.Errorf("%d: %v", size, err)
		}
	}
	if err := c.fits(2*free, 0); !fault.Is(err, fault.Exhausted) {
		t.Errorf("twice the disk: %v", err)
	}
	if err := c.fits(2*free, 2*free-1000); err != nil {
		t.Errorf("the rest of what is there: %v", err)
	}
}

// A copy that fills the disk does not keep what it took.
func TestCopyOnFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal("no device that is always full: ", err)
	}
	defer full.Close()
	if _, err := (&copying{File: full}).Write([]byte("x")); !fault.Is(err, fault.Exhausted) {
		t.Error(err)
	}
	whole, err := os.Create(filepath.Join(t.TempDir(), "x.car"))
	if err != nil {
		t.Fatal(err)
	}
	c := &copying{File: whole}
	defer c.Close()
	if n, err := c.Write([]byte("whole")); n != 5 || err != nil {
		t.Error(n, err)
	}
}
