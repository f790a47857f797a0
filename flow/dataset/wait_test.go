package dataset_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/source/sourcetest"
	"github.com/firth-project/firth/flow/dataset"
)

// served makes a dataset over a server of files.
func (h *house) served(url string, options map[string]string) dataset.Dataset {
	h.t.Helper()
	return ok(h.data.Create(h.t.Context(), project, "served", small(), dataset.NewSource{URL: url, Options: options}))(h.t)
}

// A source that does not answer is told of while it is asked again and again,
// not after; who pauses need not wait for it, and when it is there, nothing is
// told any more.
func TestScanWaits(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		h.run()
		host, listen := sourcetest.Refused(t)
		d := h.served("http://"+host+"/", map[string]string{"retry_wait": "1h"})
		p := ok(h.data.Start(t.Context(), project, d.ID))(t)
		until(t, func() bool { p = h.preparation(p.ID); return p.Reason != "" })
		want := "source http://" + host + "/: cannot reach " + host + ": connection refused (1 of 9 tries failed)"
		if p.State != dataset.Active || p.Reason != want || p.Fault != fault.Unavailable || p.NextAttempt == nil || p.Attempt != 0 {
			t.Errorf("preparation %+v", p)
		}
		ok(h.data.Pause(t.Context(), project, p.ID))(t)
		until(t, func() bool { return len(ok(h.jobs.List(t.Context(), job.Filter{State: job.Running}))(t)) == 0 })
		if p = h.preparation(p.ID); p.Reason != "" || p.NextAttempt != nil {
			t.Errorf("paused: %+v", p)
		}
		dir := tree(t, map[string][]byte{"a": noise(1, 10)})
		server := httptest.NewUnstartedServer(http.FileServer(http.Dir(dir)))
		must(t, server.Listener.Close())
		server.Listener = listen()
		server.Start()
		t.Cleanup(server.Close)
		ok(h.data.Resume(t.Context(), project, p.ID))(t)
		if p = h.complete(p.ID); p.Root != rootOf(t, dir) || p.Reason != "" || p.NextAttempt != nil {
			t.Errorf("preparation %+v", p)
		}
	})
}

// What a server refuses for good ends the preparation at once.
func TestScanRefused(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	for status, kind := range map[int]fault.Kind{http.StatusNotFound: fault.NotFound, http.StatusForbidden: fault.Forbidden} {
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		d := ok(h.data.Create(t.Context(), project, kind.String(), small(), dataset.NewSource{URL: server.URL + "/"}))(t)
		p := ok(h.data.Start(t.Context(), project, d.ID))(t)
		until(t, func() bool { p = h.preparation(p.ID); return p.State == dataset.Failed })
		if p.Fault != kind || p.NextAttempt != nil || !strings.Contains(p.Reason, server.URL) || asked.Load() > 2 {
			t.Errorf("%d requests: %+v", asked.Load(), p)
		}
	}
}

// A chunk whose source is busy says so, with the file, and so does the status;
// the others go on.
func TestChunkWaits(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	var busy atomic.Bool
	dir := tree(t, map[string][]byte{"a": noise(1, 3*MiB), "b": noise(2, 3*MiB), "c": noise(3, 3*MiB)})
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if busy.Load() && r.URL.Path == "/a" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	d := h.served(server.URL+"/", map[string]string{"retry_wait": "100ms", "retries": "6"})
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	h.scanOnly(p.ID)()
	busy.Store(true)
	h.run()
	var c dataset.Chunk
	until(t, func() bool {
		c = h.chunks(p.ID)[0]
		return c.State == dataset.ChunkPacking && c.Reason != ""
	})
	if !strings.Contains(c.Reason, `"a": the server says 503 Service Unavailable (`) || c.NextAttempt == nil {
		t.Errorf("chunk %+v", c)
	}
	until(t, func() bool { return h.chunks(p.ID)[1].State == dataset.ChunkPacked })
	st := ok(h.data.Status(t.Context(), project, p.ID))(t)
	if st.Preparation.Reason == "" || !strings.HasPrefix(st.Preparation.Reason, "chunk 1: ") || st.Preparation.NextAttempt == nil {
		t.Errorf("status %+v", st.Preparation)
	}
	busy.Store(false)
	if p = h.complete(p.ID); p.Root != rootOf(t, dir) || p.Skipped != 0 || h.chunks(p.ID)[0].Reason != "" {
		t.Errorf("preparation %+v, chunk %+v", p, h.chunks(p.ID)[0])
	}
}
