package source_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/base/source/sourcetest"
)

// waits collects what an observer is told.
type waits struct {
	mu  sync.Mutex
	all []source.Wait
}

func (w *waits) tell(one source.Wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, one)
}

// waited opens a source, looks at its first item and returns what was told.
func waited(t *testing.T, url string, options map[string]string) ([]source.Wait, error) {
	t.Helper()
	w := &waits{}
	ctx := source.OnWait(t.Context(), w.tell)
	s, err := source.Open(ctx, source.Spec{URL: url, Options: options})
	if err == nil {
		err = s.Walk(ctx, "", source.Filter{}, func(source.Item) error { return nil })
		s.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all, err
}

// places are sources of every kind that is spoken over a network, at one
// address.
func places(host, scheme string) map[string]map[string]string {
	return map[string]map[string]string{
		"s3:bucket/prefix":                      {"endpoint": scheme + "://" + host, "access_key_id": "k", "secret_access_key": "s", "force_path_style": "true"},
		"gs:bucket/prefix":                      {"endpoint": scheme + "://" + host + "/storage/v1/", "anonymous": "true"},
		"azure:container":                       {"endpoint": scheme + "://" + host + "/a", "account": "a", "key": "aGVsbG8="},
		scheme + "://" + host + "/dir/":         {},
		"webdav+" + scheme + "://" + host + "/": {},
		"sftp://u@" + host + "/dir":             {"pass": "p", "known_hosts_file": "none"},
	}
}

// Each try that fails is told with its reason at once, in words that name the
// server, and so is the end.
func TestWaitRefused(t *testing.T) {
	t.Parallel()
	host, _ := sourcetest.Refused(t)
	for url, options := range places(host, "http") {
		options["retries"], options["retry_wait"] = "2", "10ms"
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			all, err := waited(t, url, options)
			if !fault.Is(err, fault.Unavailable) || len(all) != 2 {
				t.Fatalf("%d waits: %v", len(all), err)
			}
			for i, w := range all {
				if text := w.String(); !strings.Contains(text, "cannot reach "+host+": connection refused") || !strings.Contains(text, "source ") ||
					w.Tried != i+1 || w.Of != 3 || w.Next.Before(began) {
					t.Errorf("wait %d: %s, %+v", i, text, w)
				}
			}
		})
	}
}

// What nobody mends by waiting is told without a second try.
func TestNoWait(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		tls    bool
		kind   fault.Kind
		say    string
	}{
		{"key", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, false, fault.Forbidden, "may not be read"},
		{"gone", http.NotFound, false, fault.NotFound, ""},
		{"trust", http.NotFound, true, fault.Forbidden, "certificate is not trusted"},
	} {
		var asked atomic.Int64
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			test.answer(w, r)
		}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are refused
		start, scheme := server.Start, "http"
		if test.tls {
			start, scheme = server.StartTLS, "https"
		}
		start()
		t.Cleanup(server.Close)
		_, host, _ := strings.Cut(server.URL, "://")
		for url, options := range places(host, scheme) {
			if strings.HasPrefix(url, "sftp") {
				continue
			}
			all, err := waited(t, url, options)
			if len(all) != 0 || !fault.Is(err, test.kind) || !strings.Contains(err.Error(), test.say) || asked.Load() > 3 {
				t.Errorf("%s of %s: %d requests, waits %v: %v", test.name, url, asked.Load(), all, err)
			}
			asked.Store(0)
		}
	}
}

// A host that nobody knows is named. No name server is asked for this one: a
// label has 63 bytes at most (RFC 1035, 2.3.4).
func TestWaitNoHost(t *testing.T) {
	t.Parallel()
	host := strings.Repeat("n", 64) + ".example"
	for url, options := range places(host+":9", "http") {
		options["retries"] = "0"
		_, err := waited(t, url, options)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cannot reach "+host+": ") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// busy refuses the first requests for now, and says how long that is.
type busy struct {
	next http.Handler
	left atomic.Int64
}

func (b *busy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.left.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	b.next.ServeHTTP(w, r)
}

// A server that says when it is to be asked again is not asked before, and
// whoever was told of the wait is told of its end.
func TestWaitThrottled(t *testing.T) {
	t.Parallel()
	dav := &webdav.Handler{FileSystem: webdav.Dir(t.TempDir()), LockSystem: webdav.NewMemLS()}
	index := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/html") })
	for url, next := range map[string]http.Handler{"s3:odd": bucketOf("k"), "http": index, "webdav+http": dav} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			b := &busy{next: next}
			b.left.Store(2)
			server := httptest.NewServer(b)
			t.Cleanup(server.Close)
			options := map[string]string{"retry_wait": "1ms"}
			if strings.HasPrefix(url, "s3") {
				options = quick("endpoint", server.URL, "access_key_id", "k", "secret_access_key", "s", "force_path_style", "true")
			} else {
				url += strings.TrimPrefix(server.URL, "http") + "/"
			}
			began := time.Now()
			all, err := waited(t, url, options)
			if err != nil || len(all) < 2 || all[len(all)-1].Reason != nil || time.Since(began) < time.Second {
				t.Fatalf("after %s %v: %v", time.Since(began), all, err)
			}
			if w := all[0]; w.Next.Sub(began) < time.Second || !strings.Contains(w.String(), "429") {
				t.Errorf("%s, in %s", w, w.Next.Sub(began))
			}
		})
	}
}

// A wait ends when whoever asked has gone.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	_, err := source.Open(source.OnWait(ctx, func(source.Wait) { stop() }), source.Spec{URL: server.URL + "/"})
	if !fault.Is(err, fault.Unavailable) || ctx.Err() == nil {
		t.Errorf("%v", err)
	}
}
