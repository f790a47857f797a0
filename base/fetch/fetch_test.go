package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
)

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// brittle serves text and breaks every connection after some bytes.
func brittle(t *testing.T, body []byte, after int, head func(h http.Header, request int64), ranges bool) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head(w.Header(), requests.Add(1))
		if !ranges {
			r.Header.Del("Range")
		}
		http.ServeContent(&breaking{w, after}, r, "", time.Time{}, bytes.NewReader(body))
	}))
	t.Cleanup(s.Close)
	return s, &requests
}

type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	n, err := b.ResponseWriter.Write(p[:min(len(p), b.left)])
	if b.left -= n; err == nil && b.left == 0 {
		b.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

var quick = fetch.Options{Pause: time.Microsecond}

func TestStreamGoesOnWhereItBroke(t *testing.T) {
	body := text(300_000)
	s, requests := brittle(t, body, 70_000, func(h http.Header, _ int64) { h.Set("ETag", `"one"`) }, true)
	f, err := fetch.Open(t.Context(), s.Client(), s.URL, quick)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, body) || f.Size() != int64(len(body)) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if requests.Load() != 5 || f.Resumed() != 4 {
		t.Errorf("%d requests, taken up %d times", requests.Load(), f.Resumed())
	}
}

func TestStreamWithoutRangesPassesOverTheBeginning(t *testing.T) {
	body := text(100_000)
	after := 60_000
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		limit := after
		after = len(body) + 1
		_, _ = (&breaking{w, limit}).Write(body)
	}))
	t.Cleanup(s.Close)
	f, err := fetch.Open(t.Context(), s.Client(), s.URL, quick)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestStreamNeverMixesVersions(t *testing.T) {
	for name, c := range map[string]struct {
		head func(h http.Header, request int64)
		kind fault.Kind
	}{
		"no version":      {func(http.Header, int64) {}, fault.Conflict},
		"weak tag":        {func(h http.Header, _ int64) { h.Set("ETag", `W/"one"`) }, fault.Conflict},
		"another version": {func(h http.Header, n int64) { h.Set("ETag", fmt.Sprintf(`"%d"`, n)) }, fault.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := brittle(t, text(300_000), 70_000, c.head, true)
			f, err := fetch.Open(t.Context(), s.Client(), s.URL, quick)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(f); !fault.Is(err, c.kind) || len(got) > 70_000 {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	var tries atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		status := map[string]int{"/gone": 404, "/secret": 403, "/down": 503, "/odd": 418}[r.URL.Path]
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	for path, kind := range map[string]fault.Kind{
		"/gone": fault.NotFound, "/secret": fault.Forbidden, "/down": fault.Unavailable, "/odd": fault.Invalid,
	} {
		if _, err := fetch.Open(t.Context(), s.Client(), s.URL+path, quick); !fault.Is(err, kind) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if tries.Load() != 4 {
		t.Errorf("%d tries", tries.Load())
	}
	for _, url := range []string{"", "ftp://x/y", "http://", "/etc/passwd", "file:///etc/passwd"} {
		if _, err := fetch.Open(t.Context(), s.Client(), url, quick); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", url, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fetch.Open(ctx, s.Client(), s.URL+"/down", fetch.Options{Pause: time.Hour}); err == nil {
		t.Error("a cancelled stream opens")
	}
}

func TestRanges(t *testing.T) {
	body := text(100_000)
	s, _ := brittle(t, body, 1<<30, func(h http.Header, n int64) {
		h.Set("ETag", `"one"`)
		if n == 4 {
			h.Set("ETag", `"two"`)
		}
	}, true)
	f, err := fetch.OpenFile(t.Context(), s.Client(), s.URL)
	if err != nil || f.Size() != int64(len(body)) {
		t.Fatal(err)
	}
	p := make([]byte, 1000)
	if n, err := f.ReadAt(p, 5000); err != nil || !bytes.Equal(p[:n], body[5000:6000]) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := f.ReadAt(p, 99_500); err != io.EOF || !bytes.Equal(p[:n], body[99_500:]) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := f.ReadAt(p, 0); !fault.Is(err, fault.Conflict) {
		t.Errorf("another version: %v", err)
	}
	without, _ := brittle(t, body, 1<<30, func(http.Header, int64) {}, false)
	if _, err := fetch.OpenFile(t.Context(), without.Client(), without.URL); !fault.Is(err, fault.Invalid) {
		t.Errorf("no ranges: %v", err)
	}
}

// A stream begins where another one, of another process, ended.
func TestStreamBeginsInTheMiddle(t *testing.T) {
	body := text(300_000)
	tag := `"one"`
	head := func(h http.Header, _ int64) { h.Set("ETag", tag) }
	with, _ := brittle(t, body, 70_000, head, true)
	without, _ := brittle(t, body, 1<<20, head, false)
	for name, s := range map[string]*httptest.Server{"ranges": with, "no ranges": without} {
		first, err := fetch.Open(t.Context(), s.Client(), s.URL, quick)
		if err != nil {
			t.Fatal(err)
		}
		_ = first.Close()
		o := fetch.Options{Pause: time.Microsecond, From: 123_456, Version: first.Version()}
		f, err := fetch.Open(t.Context(), s.Client(), s.URL, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, body[o.From:]) || f.Size() != int64(len(body)) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), f.Size(), err)
		}
		for what, other := range map[string]fetch.Options{
			"another version": {From: 5, Version: `"two"`}, "another from the beginning": {Version: `"two"`}, "no version": {From: 5}, "beyond": {From: 300_001, Version: tag},
		} {
			if _, err := fetch.Open(t.Context(), s.Client(), s.URL, other); err == nil {
				t.Errorf("%s, %s: opened", name, what)
			}
		}
	}
}

// Bytes that a server compresses by itself are not those of the thing.
func TestEncodedAnswersAreRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("\x1f\x8b"))
	}))
	t.Cleanup(s.Close)
	if _, err := fetch.Open(t.Context(), s.Client(), s.URL, quick); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if _, err := fetch.OpenFile(t.Context(), s.Client(), s.URL); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
