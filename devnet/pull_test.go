package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// fileServer serves data and remembers "METHOD range" of each request.
// misbehave may answer instead, or cut the answer short.
type fileServer struct {
	*httptest.Server
	mu        sync.Mutex
	requests  []string
	headers   []http.Header
	misbehave func(w http.ResponseWriter, r *http.Request, nth int) bool
}

func serveFile(t *testing.T, data []byte, misbehave func(w http.ResponseWriter, r *http.Request, nth int) bool) *fileServer {
	s := &fileServer{misbehave: misbehave}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
		s.headers = append(s.headers, r.Header.Clone())
		n := len(s.requests)
		s.mu.Unlock()
		if s.misbehave == nil || !s.misbehave(w, r, n) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func pullOf(s *fileServer, size int) *pull {
	return &pull{
		url: s.URL + "/deal1.car", size: int64(size), client: newPullClient(time.Minute), received: new(atomic.Int64),
		silence: time.Minute, attempts: 3, backoff: time.Millisecond,
		pace: func(ctx context.Context, _ int) error { return ctx.Err() },
	}
}

// run pulls into a file and returns what is in it.
func (p *pull) run(t *testing.T) ([]byte, error) {
	file, err := os.Create(filepath.Join(t.TempDir(), "pulled"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := p.to(t.Context(), file); err != nil {
		return nil, err
	}
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return got, nil
}

// TestPullAsksAsBoostDoes compares the requests with recorded ones: a small
// file in one range, a large one in five, ends one byte too far.
func TestPullAsksAsBoostDoes(t *testing.T) {
	var exchanges []struct {
		Deal    string
		Method  string
		Headers http.Header `json:"request_headers"`
	}
	recording, err := os.ReadFile("testdata/mk12/http-transfer.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(recording, &exchanges); err != nil {
		t.Fatal(err)
	}
	for deal, size := range map[string]int{
		"propose-f1-http-1.2.1": 3097,
		"a deal with transfer size 8000000 (not among the messages)":  8000000,
		"a deal with transfer size 12000000 (not among the messages)": 12000000,
	} {
		var want []string
		for _, x := range exchanges {
			if x.Deal == deal {
				want = append(want, strings.TrimSpace(x.Method+" "+x.Headers.Get("Range")))
			}
		}
		data := content(size)
		s := serveFile(t, data, nil)
		p := pullOf(s, size)
		p.header = map[string]string{"Authorization": "Basic dXNlcjpwYXNz", "X-Test": "1"}
		got, err := p.run(t)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: wrong content, err %v", size, err)
		}
		if s.requests[0] != "HEAD" {
			t.Errorf("%d bytes: first request %s", size, s.requests[0])
		}
		slices.Sort(want)
		slices.Sort(s.requests)
		if !slices.Equal(s.requests, want) {
			t.Errorf("%d bytes: asked %q, Boost asked %q", size, s.requests, want)
		}
		for _, h := range s.headers {
			if h.Get("Authorization") != "Basic dXNlcjpwYXNz" || h.Get("X-Test") != "1" {
				t.Errorf("headers not sent: %v", h)
			}
		}
		if p.received.Load() != int64(size) {
			t.Errorf("%d of %d bytes counted", p.received.Load(), size)
		}
	}
}

// TestPullGoesOnWhereItBroke breaks connections in the middle, also one that
// falls silent.
func TestPullGoesOnWhereItBroke(t *testing.T) {
	data := content(300_000)
	s := serveFile(t, data, func(w http.ResponseWriter, r *http.Request, nth int) bool {
		if r.Method == http.MethodHead || nth > 6 {
			return false
		}
		var at int
		for _, c := range strings.TrimPrefix(r.Header.Get("Range"), "bytes=") {
			if c == '-' {
				break
			}
			at = at*10 + int(c-'0')
		}
		w.Header().Set("Content-Range", strings.Replace(r.Header.Get("Range"), "=", " ", 1)+"/300000")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(data[at : at+10_000])
		_ = http.NewResponseController(w).Flush()
		if nth == 4 {
			<-r.Context().Done() // silent until the other side has had enough
		}
		panic(http.ErrAbortHandler)
	})
	p := pullOf(s, len(data))
	p.silence = time.Second
	got, err := p.run(t)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("wrong content, err %v", err)
	}
	if want := "GET bytes=50000-300000"; s.requests[6] != want {
		t.Errorf("resumed with %q, want %q; all: %q", s.requests[6], want, s.requests)
	}
	if p.received.Load() != int64(len(data)) {
		t.Errorf("%d bytes counted", p.received.Load())
	}
}

// TestPullWithoutRanges pulls from a server that answers 200 to everything,
// across a break.
func TestPullWithoutRanges(t *testing.T) {
	data := content(11 << 20)
	s := serveFile(t, data, func(w http.ResponseWriter, r *http.Request, nth int) bool {
		w.Header().Set("Content-Length", "11534336")
		if r.Method == http.MethodHead {
			return true
		}
		if nth == 2 {
			_, _ = w.Write(data[:1<<20])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(data)
		return true
	})
	got, err := pullOf(s, len(data)).run(t)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("wrong content, err %v", err)
	}
	if len(s.requests) != 3 {
		t.Errorf("requests %q, want a HEAD and two GETs", s.requests)
	}
}

func TestPullGivesUp(t *testing.T) {
	data := content(1000)
	fail := func(status int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.WriteHeader(status)
			return true
		}
	}
	for name, c := range map[string]struct {
		size      int
		misbehave func(http.ResponseWriter, *http.Request, int) bool
		want      string
		requests  int
	}{
		"other length": {999, nil, "deal size mismatch: head: 1000, dealInfo: 999", 1},
		"gone":         {1000, fail(http.StatusNotFound), "http HEAD req failed: code: 404, status: 404 Not Found", 1},
		"elsewhere":    {1000, fail(http.StatusFound), "http HEAD req failed: code: 302, status: 302 Found", 1},
		"broken": {1000, fail(http.StatusBadGateway),
			"could not finish transfer even after 3 attempts, lastErr: http HEAD req failed: code: 502, status: 502 Bad Gateway", 3},
		"refused later": {1000, func(w http.ResponseWriter, r *http.Request, _ int) bool {
			return r.Method == http.MethodGet && fail(http.StatusUnauthorized)(w, r, 0)
		}, "http GET req failed: code: 401, status: 401 Unauthorized", 2},
		"another range": {1000, func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.Method == http.MethodHead {
				return false
			}
			w.Header().Set("Content-Range", "bytes 5-9/1000")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, `http response has Content-Range "bytes 5-9/1000", asked for 0`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveFile(t, data, c.misbehave)
			_, err := pullOf(s, c.size).run(t)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if len(s.requests) != c.requests {
				t.Errorf("requests %q, want %d", s.requests, c.requests)
			}
		})
	}
}

// TestPullEndsWithItsContext cancels while bytes are held up.
func TestPullEndsWithItsContext(t *testing.T) {
	s := serveFile(t, content(1000), nil)
	p := pullOf(s, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	p.pace = func(ctx context.Context, _ int) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "pulled"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := p.to(ctx, file); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestPullTakesNoMoreThanAsked: a server that sends more than its length says
// must not fill the disk.
func TestPullTakesNoMoreThanAsked(t *testing.T) {
	data := content(1000)
	s := serveFile(t, data, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Method == http.MethodHead {
			return false
		}
		w.WriteHeader(http.StatusOK) // chunked, endless
		for {
			if _, err := w.Write(data); err != nil {
				return true
			}
		}
	})
	got, err := pullOf(s, 1000).run(t)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, err %v", len(got), err)
	}
}
