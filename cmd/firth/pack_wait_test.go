package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A run whose source is busy says why it waits and how long, once a try, and
// ends well.
func TestPackWaits(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	files := http.FileServer(http.Dir(write(t, t.TempDir(), map[string]string{"a": "1"})))
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 4 { // the look at the source takes two, and the scan begins with two
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	code, last, said := packed(t, server.URL+"/", "--piece-size", "4MiB", "--option", "timeout=10s")
	if code != 0 || last.Files != 1 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "429 Too Many Requests (1 of 9 tries failed); ") {
		t.Errorf("code %d, %+v, %q after %d requests", code, last, said, asked.Load())
	}
}

// What the source refuses for good is told once, and is not tried again.
func TestPackForbidden(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for status, want := range map[int]int{http.StatusForbidden: 5, http.StatusNotFound: 3} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(server.Close)
		if code, _, said := packed(t, server.URL+"/"); code != want || strings.Count(said, "\n") != 1 {
			t.Errorf("%d: code %d, %q", status, code, said)
		}
	}
}
