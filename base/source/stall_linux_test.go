package source_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/base/source/sourcetest"
)

// A mount that stops to answer costs a read its limit and not for ever, however
// often it is asked no more than a bounded number of goroutines, and it is read
// when it answers again.
func TestLocalReadStalls(t *testing.T) {
	root := t.TempDir()
	at := filepath.Join(root, "mnt")
	plant(t, root, map[string]string{"mnt/": "", "z": "zed"})
	body := pattern(3<<20 + 5)
	goOn := sourcetest.Stall(t, at, body)
	patient, s := open(t, root, nil), open(t, root, map[string]string{"stall": "100ms"})
	items := walk(t, patient, "", source.Filter{})
	if got := keys(items); len(got) != 3 || got[1] != "mnt/stalls" || items[1].Size != int64(len(body)) {
		t.Fatalf("keys %q", got)
	}
	if got := readAll(t, patient, items[2]); string(got) != "zed" {
		t.Errorf("beside it: %q", got)
	}
	before := runtime.NumGoroutine()
	atOnce := false
	for range 50 {
		_, err := tryRead(t.Context(), s, items[1])
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), `"mnt/stalls": `) {
			t.Fatalf("%v", err)
		}
		atOnce = atOnce || strings.Contains(err.Error(), "32 earlier calls had no answer")
	}
	if now := runtime.NumGoroutine(); !atOnce || now > before+33 {
		t.Errorf("%d goroutines, %d before; refused at once: %v", now, before, atOnce)
	}
	goOn()
	var got []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		var err error
		if got, err = tryRead(t.Context(), s, items[1]); err == nil {
			break
		}
	}
	if !bytes.Equal(got, body) {
		t.Errorf("%d bytes once it answers", len(got))
	}
	if s, err := os.Stat(filepath.Join(at, "stalls")); err != nil || s.Size() != int64(len(body)) {
		t.Errorf("%v", err)
	}
}

// Whoever leaves does not wait for the mount.
func TestLocalReadLeft(t *testing.T) {
	root := t.TempDir()
	body := []byte("never seen")
	sourcetest.Stall(t, root, body)
	s := open(t, root, nil)
	f, err := s.Open(t.Context(), "stalls", "")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	ctx, stop := context.WithCancel(t.Context())
	if f, err = s.Open(ctx, "stalls", ""); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	over := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(make([]byte, len(body)), 0)
		over <- err
	}()
	stop()
	if err := <-over; !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}
