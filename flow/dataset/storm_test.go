package dataset_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/dataset"
)

// Whoever starts, pauses, resumes and removes at once, and whatever of it is
// refused, a preparation ends as if it had been left alone.
func TestStorm(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	files := map[string][]byte{}
	for i := range 12 {
		files[fmt.Sprintf("f%02d", i)] = noise(uint64(i+1), MiB)
	}
	dir := tree(t, files)
	d := h.create("photos", dir, small())
	var started atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			switch _, err := h.data.Start(t.Context(), project, d.ID); {
			case err == nil:
				started.Add(1)
			case !fault.Is(err, fault.Conflict):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if started.Load() != 1 {
		t.Fatalf("%d began", started.Load())
	}
	p := ok(h.data.Preparations(t.Context(), project, dataset.Filter{Dataset: d.ID}))(t)[0]
	refused := func(err error) {
		if err != nil && !fault.Is(err, fault.Conflict) {
			t.Error(err)
		}
	}
	for i := range 4 {
		all.Go(func() {
			for n := range 10 {
				if (i+n)%2 == 0 {
					_, err := h.data.Pause(t.Context(), project, p.ID)
					refused(err)
				} else {
					_, err := h.data.Resume(t.Context(), project, p.ID)
					refused(err)
				}
				for _, c := range ok(h.data.Chunks(t.Context(), project, p.ID, int64(n%3), 2))(t) {
					for _, verb := range []func(id int64) (dataset.Chunk, error){
						func(id int64) (dataset.Chunk, error) { return h.data.PauseChunk(t.Context(), project, id) },
						func(id int64) (dataset.Chunk, error) { return h.data.RetryChunk(t.Context(), project, id) },
						func(id int64) (dataset.Chunk, error) { return h.data.ResumeChunk(t.Context(), project, id) },
					} {
						_, err := verb(c.ID)
						refused(err)
					}
				}
			}
		})
	}
	all.Wait()
	until(t, func() bool { // a chunk may have been paused last
		for _, c := range h.chunks(p.ID) {
			if c.State == dataset.ChunkPaused {
				_, err := h.data.ResumeChunk(t.Context(), project, c.ID)
				refused(err)
			}
		}
		if h.preparation(p.ID).State == dataset.Paused {
			_, err := h.data.Resume(t.Context(), project, p.ID)
			refused(err)
		}
		return h.preparation(p.ID).State == dataset.Complete
	})
	if is := h.preparation(p.ID); is.Root != rootOf(t, dir) || is.Skipped != 0 || is.Files != 12 {
		t.Errorf("%+v", is)
	}
	c := h.chunks(p.ID)[0]
	if _, err := h.data.PauseChunk(t.Context(), project, c.ID); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "is complete") {
		t.Errorf("%v", err)
	}
	if _, err := h.data.PauseChunk(t.Context(), project+1, c.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}

	// One of those who remove it has done so; the others find nothing.
	removed := atomic.Int64{}
	for range 4 {
		all.Go(func() {
			switch err := h.data.RemoveDataset(t.Context(), project, d.ID, false); {
			case err == nil:
				removed.Add(1)
			case !fault.Is(err, fault.NotFound):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if removed.Load() != 1 {
		t.Errorf("%d removed it", removed.Load())
	}
}

// A chunk says which verbs its state lets be.
func TestRefusedChunkVerbs(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	stop := h.run()
	d := h.create("photos", tree(t, map[string][]byte{"a": noise(1, 9*MiB), "b": noise(2, 9*MiB)}), small())
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	until(t, func() bool { return len(h.chunks(p.ID)) > 4 })
	ok(h.data.Pause(t.Context(), project, p.ID))(t)
	stop()
	c := h.chunks(p.ID)[3]
	if c.State == dataset.ChunkPacked {
		t.Skip("it was packed before it could be paused")
	}
	_, err := h.data.RetryChunk(t.Context(), project, c.ID)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), fmt.Sprintf("chunk 4: is %s; what is failed can be tried again", c.State)) {
		t.Errorf("%v", err)
	}
	ok(h.data.PauseChunk(t.Context(), project, c.ID))(t)
	ok(h.data.RemoveChunk(t.Context(), project, c.ID))(t)
	if _, err := h.data.RemoveChunk(t.Context(), project, c.ID); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "chunk 4: is removed; what is waiting, packing, paused, failed can be removed") {
		t.Errorf("%v", err)
	}
}
