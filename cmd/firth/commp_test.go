package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
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

// What cannot be is refused before anything is read.
func TestCommPRefusesSizes(t *testing.T) {
	for padded, says := range map[client.Size]string{
		3 << 20: "near are 2.0 MiB and 4.0 MiB", 100: "the smallest has 128",
	} {
		c := &call{ctx: t.Context(), stdio: stdio{in: iotest.ErrReader(errors.New("it was read"))}}
		err := (&commpCmd{File: "-", Padded: padded}).Run(c)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%d: %v", padded, err)
		}
	}
}

// An import is asked for by file or by address, in whichever way that is written.
func TestPlacesOfCARs(t *testing.T) {
	here, err := filepath.Abs("x.car")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"x.car": here, "./x.car/": here, "HTTPS://h/x.car": "https://h/x.car", "file:///a/b%20c.car": "/a/b c.car", "file://localhost/x": "/x",
		"/a/b://c": "/a/b:/c", "": "", "-": "", "file://host/x": "", "file://": "", "s3://b/x.car": "",
	} {
		if got, err := ofNode(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}
