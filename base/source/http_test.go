package source_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// quick are options that make a test's retries short.
func quick(more ...string) map[string]string {
	o := map[string]string{"retry_wait": "1ms", "timeout": "5s", "retries": "4"}
	for i := 0; i < len(more); i += 2 {
		o[more[i]] = more[i+1]
	}
	return o
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

// site is a server of one big file and whatever faults a test asks for.
type site struct {
	body  []byte
	etag  atomic.Value
	gets  atomic.Int64
	fault func(n int64, w http.ResponseWriter, r *http.Request) (handled bool) // n-th GET
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if tag, _ := s.etag.Load().(string); tag != "" {
		w.Header().Set("ETag", tag)
	}
	if r.Method == http.MethodGet && s.fault != nil && s.fault(s.gets.Add(1), w, r) {
		return
	}
	http.ServeContent(w, r, "big.bin", time.Unix(1_700_000_000, 0), bytes.NewReader(s.body))
}

// dropAt sends the answer's head and n bytes from off, then cuts the line.
func (s *site) dropAt(w http.ResponseWriter, r *http.Request, n int) {
	off := 0
	if span := r.Header.Get("Range"); span != "" {
		fmt.Sscanf(span, "bytes=%d-", &off)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, len(s.body)-1, len(s.body)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(s.body)-off))
	w.Header().Set("Last-Modified", time.Unix(1_700_000_000, 0).UTC().Format(http.TimeFormat))
	if off > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(s.body[off:min(off+n, len(s.body))])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestHTTPFaults(t *testing.T) {
	partial := func(w http.ResponseWriter, span string, body []byte) {
		w.Header().Set("Content-Range", span)
		w.Header().Set("Last-Modified", time.Unix(1_700_000_000, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(body)
	}
	const size = 300_000
	tests := map[string]struct {
		fault func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool
		kind  fault.Kind // of the error; 0 with want "" for none
		want  string     // words of the error
	}{
		"drops every 50,000 bytes": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			s.dropAt(w, r, 50_000)
			return true
		}},
		"throttles, then answers": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			if n%3 == 0 {
				return false
			}
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(map[bool]int{true: http.StatusTooManyRequests, false: http.StatusServiceUnavailable}[n%3 == 1])
			return true
		}},
		"throttles for ever": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>")
			return true
		}, kind: fault.Unavailable, want: "given up after 5 tries: the server says 503 Service Unavailable (SlowDown)"},
		"drops at once, for ever": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			s.dropAt(w, r, map[bool]int{true: 1000}[n == 1])
			return true
		}, kind: fault.Unavailable, want: "the connection broke"},
		"ignores Range": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				s.dropAt(w, r, 70_000)
			}
			r.Header.Del("Range")
			return false
		}, kind: fault.Invalid, want: "ignores Range"},
		"sends another range": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				s.dropAt(w, r, 70_000)
			}
			partial(w, fmt.Sprintf("bytes 0-%d/%d", size-1, size), s.body)
			return true
		}, kind: fault.Invalid, want: "another range"},
		"sends a shorter range than it says": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				s.dropAt(w, r, 70_000)
			}
			partial(w, fmt.Sprintf("bytes 70000-%d/%d", size-1, size), s.body[70_000:size-5])
			return true
		}, kind: fault.Invalid, want: "another length"},
		"sends part of the range": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			var off int
			if n == 1 {
				s.dropAt(w, r, 70_000)
			}
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &off)
			end := min(off+40_000, size)
			partial(w, fmt.Sprintf("bytes %d-%d/%d", off, end-1, size), s.body[off:end])
			return true
		}},
		"names no range": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				s.dropAt(w, r, 70_000)
			}
			partial(w, "bytes */300000", s.body[70_000:])
			return true
		}, kind: fault.Invalid, want: "not a range"},
		"changes meanwhile": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				s.dropAt(w, r, 70_000)
			}
			s.etag.Store(`"v2"`)
			w.Header().Set("ETag", `"v2"`)
			return false
		}, kind: fault.Conflict, want: "changed since the scan"},
		"is gone meanwhile": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				s.dropAt(w, r, 70_000)
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}, kind: fault.NotFound, want: "gone"},
		"forbids": {fault: func(s *site, n int64, w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}, kind: fault.Forbidden, want: "may not be read"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &site{body: pattern(size)}
			s.etag.Store(`"v1"`)
			server := httptest.NewServer(s)
			defer server.Close()
			src := open(t, server.URL+"/big.bin", quick())
			items := walk(t, src, "", source.Filter{})
			if len(items) != 1 || items[0].Path != "big.bin" || items[0].Size != size || items[0].Hash != `etag:"v1"` {
				t.Fatalf("items %+v", items)
			}
			s.fault = func(n int64, w http.ResponseWriter, r *http.Request) bool { return tt.fault(s, n, w, r) }
			got, err := tryRead(t.Context(), src, items[0])
			if !bytes.HasPrefix(s.body, got) {
				t.Fatal("wrong bytes")
			}
			switch {
			case tt.want == "":
				if err != nil || len(got) != size {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			case !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %v (%v), want %q (%v)", err, fault.KindOf(err), tt.want, tt.kind)
			}
		})
	}
}

func TestHTTPReads(t *testing.T) {
	s := &site{body: pattern(3 << 20)}
	server := httptest.NewServer(s)
	defer server.Close()
	src := open(t, server.URL+"/dir/big.bin?token=secret", quick())
	if strings.Contains(src.String(), "secret") {
		t.Errorf("the source shows %s", src)
	}
	f, err := src.Open(t.Context(), "big.bin", "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := s.gets.Load()
	s.fault = func(int64, http.ResponseWriter, *http.Request) bool { return false }
	p := make([]byte, 1<<20)
	for off := int64(0); off < 3<<20; off += 1 << 20 {
		if _, err := f.ReadAt(p, off); err != nil || !bytes.Equal(p, s.body[off:off+1<<20]) {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	if n := s.gets.Load() - before; n != 0 {
		t.Errorf("a read in order asked %d times more", n)
	}
	readsAnywhere(t, f, s.body)
	// The version is looked at again when all is read: a page may be edited in
	// place while it is sent.
	s.etag.Store(`"other"`)
	if err := f.Check(t.Context()); err != nil {
		t.Errorf("no tag was told before: %v", err)
	}
	s.body = s.body[:2<<20]
	if err := f.Check(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("a page that changed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g, err := src.Open(ctx, "big.bin", "")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := g.ReadAt(p, 1<<20); err == nil {
		t.Error("a cancelled read goes on")
	}
	g.Close()
	if _, err := g.ReadAt(p, 0); err == nil {
		t.Error("a closed file reads")
	}
}

// A server that stops sending is left after the time-out.
func TestHTTPTimeout(t *testing.T) {
	done := make(chan struct{})
	s := &site{body: pattern(100_000)}
	s.fault = func(n int64, w http.ResponseWriter, r *http.Request) bool {
		if n > 1 {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		w.Header().Set("Last-Modified", time.Unix(1_700_000_000, 0).UTC().Format(http.TimeFormat))
		w.Write(s.body[:30_000])
		w.(http.Flusher).Flush()
		select {
		case <-done:
		case <-r.Context().Done():
		}
		return true
	}
	server := httptest.NewServer(s)
	defer server.Close()
	defer close(done)
	src := open(t, server.URL+"/big.bin", quick("timeout", "150ms"))
	if got := readAll(t, src, walk(t, src, "", source.Filter{})[0]); !bytes.Equal(got, s.body) {
		t.Errorf("%d bytes", len(got))
	}
}

// index is a site of directories; asked counts requests a path.
func index(t *testing.T, files map[string]string, before func(n int, w http.ResponseWriter, r *http.Request) bool) *httptest.Server {
	t.Helper()
	root := t.TempDir()
	plant(t, root, files)
	var mu sync.Mutex
	asked := map[string]int{}
	serve := http.FileServerFS(os.DirFS(root))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Method+r.URL.Path]++
		n := asked[r.Method+r.URL.Path]
		mu.Unlock()
		if before == nil || !before(n, w, r) {
			serve.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestHTTPTree(t *testing.T) {
	files := map[string]string{"a/b": "bee", "a/c d+e%.txt": "odd", "a-b": "dash", "a.txt": "text", "empty/": "", "deep/er/x": "x", "refused": "no", "slow": "later", "q?m=1": "query"}
	server := index(t, files, func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Header.Get("Authorization") != "Basic bWU6c2VjcmV0" || r.Header.Get("X-Key") != "v":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/refused":
			w.WriteHeader(http.StatusForbidden)
		case n == 1 && (r.URL.Path == "/slow" || r.URL.Path == "/a/"):
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			return false
		}
		return true
	})
	options := quick("user", "me", "pass", "secret", "headers", "X-Key,v")
	s := open(t, server.URL, options)
	items := walk(t, s, "", source.Filter{})
	want := []string{"a-b", "a.txt", "a/", "a/b", "a/c d+e%.txt", "deep/", "deep/er/", "deep/er/x", "empty/", "q?m=1", "refused", "slow"}
	if got := keys(items); !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	for _, i := range items {
		switch {
		case i.Path == "refused":
			if !strings.Contains(i.Unreadable, "403") {
				t.Errorf("%+v", i)
			}
		case i.Kind == source.KindFile:
			if got := string(readAll(t, s, i)); got != files[i.Path] {
				t.Errorf("%q: %q", i.Path, got)
			}
		}
	}
	resumes(t, s)
	below := open(t, server.URL+"/deep", options) // sent on to /deep/
	if got := keys(walk(t, below, "", source.Filter{})); !slices.Equal(got, []string{"er/", "er/x"}) {
		t.Errorf("below: %q", got)
	}
	for at, kind := range map[string]fault.Kind{"/none": fault.NotFound, "/none/": fault.NotFound} {
		if _, err := source.Open(t.Context(), source.Spec{URL: server.URL + at, Options: options}); !fault.Is(err, kind) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := source.Open(t.Context(), source.Spec{URL: server.URL, Options: quick()}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("without a password: %v", err)
	}
}

// Secrets stay with the host they are for.
func TestHTTPRedirectKeepsSecrets(t *testing.T) {
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" || r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		io.WriteString(w, "moved")
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/f", http.StatusFound)
	}))
	defer first.Close()
	s := open(t, first.URL+"/f", quick("headers", "X-Key,v", "bearer_token", "t"))
	if got := string(readAll(t, s, walk(t, s, "", source.Filter{})[0])); got != "moved" || leaked.Load() {
		t.Errorf("%q, leaked %v", got, leaked.Load())
	}
}
