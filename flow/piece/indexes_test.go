package piece

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/fault"
)

// far is a blob store that is none of this machine's; gate, if there is one,
// holds what is read until it is closed.
type far struct {
	blob.Store
	reads atomic.Int64
	begun chan struct{} // one for each read that waits for the gate
	gate  chan struct{}
}

func (f *far) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	f.reads.Add(1)
	if f.gate != nil {
		f.begun <- struct{}{}
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return f.Store.Get(ctx, key, off, n)
}

func farIndexes(t *testing.T) (*indexes, *far) {
	t.Helper()
	s, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &far{Store: s}
	return newIndexes(f), f
}

func (f *far) put(t *testing.T, key, text string) {
	t.Helper()
	if _, err := f.Put(t.Context(), key, bytes.NewReader([]byte(text))); err != nil {
		t.Fatal(err)
	}
}

func readIndex(ctx context.Context, x *indexes, key string) (string, error) {
	f, size, release, err := x.open(ctx, key)
	if err != nil {
		return "", err
	}
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	return string(b), errors.Join(err, release())
}

// Many readers of an index have it fetched once; what stands there anew is
// fetched again, and what is gone is gone.
func TestIndexesAreFetchedOnce(t *testing.T) {
	x, store := farIndexes(t)
	store.put(t, "a", "one")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 20 {
				if got, err := readIndex(t.Context(), x, "a"); got != "one" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	all.Wait()
	if n := store.reads.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	f, _, release, err := x.open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	store.put(t, "a", "another")
	if got, err := readIndex(t.Context(), x, "a"); got != "another" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	b := make([]byte, 3)
	if _, err := f.ReadAt(b, 0); string(b) != "one" || err != nil {
		t.Errorf("who reads the old one has %q, %v", b, err)
	}
	_ = release()
	if _, err := f.ReadAt(b, 0); err == nil {
		t.Error("the old one is not closed behind its last reader")
	}
	if err := store.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := readIndex(t.Context(), x, "a"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

// Whoever fetches an index for all may go away, without the others' harm.
func TestIndexesOutliveTheirFetcher(t *testing.T) {
	x, store := farIndexes(t)
	store.put(t, "a", "one")
	store.gate, store.begun = make(chan struct{}), make(chan struct{}, 10)
	first, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := readIndex(first, x, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("who went has %v", err)
		}
	})
	<-store.begun // the first one fetches
	for range 5 {
		all.Go(func() {
			if got, err := readIndex(t.Context(), x, "a"); got != "one" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	leave()
	<-store.begun // another one does
	close(store.gate)
	all.Wait()
}

// What nobody reads is bounded.
func TestIndexesAreBounded(t *testing.T) {
	x, store := farIndexes(t)
	for i := range idleIndexes + 30 {
		key := fmt.Sprint("k", i)
		store.put(t, key, key)
		if got, err := readIndex(t.Context(), x, key); got != key || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if x.idle.Len() != idleIndexes || len(x.held) != idleIndexes {
		t.Errorf("%d are kept, %d known", x.idle.Len(), len(x.held))
	}
	if got, err := readIndex(t.Context(), x, fmt.Sprint("k", idleIndexes+29)); err != nil || got == "" || store.reads.Load() != idleIndexes+30 {
		t.Errorf("the last is not there any more: %d fetched, %v", store.reads.Load(), err)
	}
	x.most = 40 // bytes
	if _, err := readIndex(t.Context(), x, "k9"); err != nil || x.size > 40 || x.idle.Len() != 10 {
		t.Errorf("%d of %d bytes are kept, %v", x.idle.Len(), x.size, err)
	}
}
