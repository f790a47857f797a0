package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/base/commp"
)

// A connection that breaks costs a request, not the work that was done.
func TestCommPOfURL(t *testing.T) {
	body := bytes.Repeat([]byte("a piece of a piece "), 50_000)
	w := commp.New()
	_, _ = w.Write(body)
	want, err := w.Sum()
	if err != nil {
		t.Fatal(err)
	}
	var ranges []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		w.Header().Set("ETag", `"a"`)
		if len(ranges) == 1 {
			w.Header().Set("Content-Length", "950000")
			_, _ = w.Write(body[:400_000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	defer s.Close()
	var out bytes.Buffer
	c := &call{ctx: t.Context(), stdio: stdio{out: &out, err: &out}}
	cmd := commpCmd{File: s.URL + "/x.car", Verify: want.CIDv1.String()}
	if err := cmd.Run(c); err != nil || !strings.Contains(out.String(), want.CIDv2.String()) {
		t.Errorf("%s, %v", out.String(), err)
	}
	if len(ranges) != 2 || ranges[1] != "bytes=400000-" {
		t.Errorf("asked for %q", ranges)
	}
}
