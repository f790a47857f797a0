package test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/firth-project/firth/client"
)

// When the disk is full an upload is refused as such, the node stays, and with
// room again everything goes on: what was promised is there, what was not has
// failed with its reason.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 1)
	d := newNode(t, "the node", n)
	d.home = smallDisk(t, "64m")
	d.env = append([]string{"FIRTH_HOME=" + filepath.Join(d.home, "home")}, brisk...)
	ballast := filepath.Join(d.home, "ballast")
	d.home = filepath.Join(d.home, "home")
	d.start(t)
	c := d.client(t)

	first := noise(1, 1<<20)
	before, err := c.AddFile(t.Context(), "before", bytes.NewReader(first), client.AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, ballast)
	for _, size := range []int{32 << 20, 3 << 20, 10} {
		content, err := c.AddFile(t.Context(), "too much", bytes.NewReader(noise(2, size)), client.AddOptions{})
		if kind := client.KindOf(err); kind != client.KindExhausted {
			t.Errorf("%d bytes on a full disk: %+v, %v", size, content, err)
		}
	}
	if _, err := c.Health(t.Context()); err != nil {
		t.Errorf("the node did not live on: %v", err)
	}
	car, err := c.ContentCAR(t.Context(), before.CID, "")
	if err != nil {
		t.Fatalf("nothing can be read from a full disk: %v", err)
	}
	if back, err := unpack(t, car, before.CID); err != nil || !bytes.Equal(back, first) {
		t.Errorf("from a full disk came %d bytes, %v", len(back), err)
	}
	car.Close()

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	await(t, 3*time.Minute, "an upload with room again", func() string {
		if _, err := c.AddFile(t.Context(), "after", bytes.NewReader(first), client.AddOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	d.kill()
	d.start(t)
	c = d.client(t)
	await(t, 5*time.Minute, "the end of what did not fit", func() string {
		for _, content := range all(t, c.Contents(t.Context(), client.ContentFilter{Name: "too much"})) {
			if content.State != "failed" || content.Reason == "" {
				return content.State + " " + content.Reason
			}
		}
		return ""
	})
	d.stop(t)
}

// smallDisk mounts a file system of its own, or skips where that is not allowed.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("NOT TESTED WITH A FULL DISK: only root may mount one: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill writes until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 16 {
		part := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(part)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}
