package indexdag_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/base/indexdag/routertest"
)

// A record that is given to a delegated router is resolved from there.
func TestRouter(t *testing.T) {
	router := routertest.New()
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	index := write(t, newMemory(), indexdag.Header{Name: "set"}, []indexdag.Entry{some("a", 1)}).Root()
	key, err := indexdag.NewKey()
	must(t, err)
	place, err := indexdag.OpenPlace(server.URL, nil)
	must(t, err)
	if _, _, err := indexdag.Resolve(t.Context(), []indexdag.Place{place}, dns(t, nil), key.Name()); !fault.Is(err, fault.NotFound) {
		t.Errorf("before: %v", err)
	}
	for i, base := range []string{server.URL, server.URL + "/", server.URL + "/routing/v1", server.URL + "/routing/v1/"} {
		r, err := indexdag.OpenRouter(base, nil)
		must(t, err)
		record, err := key.Record(index, uint64(i+1), time.Now().Add(time.Hour), time.Minute)
		must(t, err)
		must(t, r.Put(t.Context(), key.Name(), record))
		kept, err := indexdag.VerifyRecord(key.Name(), router.Record(key.Name()))
		if err != nil || kept.Sequence != uint64(i+1) {
			t.Errorf("%s: %+v %v", base, kept, err)
		}
	}
	c, path, err := indexdag.Resolve(t.Context(), []indexdag.Place{place}, dns(t, nil), key.Name()+"/a")
	if err != nil || c != index || path != "a" {
		t.Errorf("%s %q %v", c, path, err)
	}
	r, err := indexdag.OpenRouter(server.URL, nil)
	must(t, err)
	if err := r.Put(t.Context(), key.Name(), []byte("no record")); !fault.Is(err, fault.Invalid) {
		t.Errorf("no record: %v", err)
	}
	router.Refuse(1)
	record, err := key.Record(index, 9, time.Now().Add(time.Hour), time.Minute)
	must(t, err)
	if err := r.Put(t.Context(), key.Name(), record); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "not now") {
		t.Errorf("refused: %v", err)
	}
}

func TestRouterRefusals(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || r.Header.Get("Content-Type") != indexdag.RecordType {
			t.Errorf("%s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"))
		}
		http.Error(w, "says why", status)
	}))
	t.Cleanup(server.Close)
	secret := strings.Replace(server.URL, "//", "//me:tell-nobody@", 1)
	r, err := indexdag.OpenRouter(secret, nil)
	must(t, err)
	for code, kind := range map[int]fault.Kind{
		400: fault.Invalid, 401: fault.Forbidden, 403: fault.Forbidden, 404: fault.Invalid, 405: fault.Invalid, 406: fault.Invalid,
		429: fault.Unavailable, 500: fault.Unavailable, 501: fault.Invalid, 502: fault.Unavailable, 503: fault.Unavailable, 418: fault.Unavailable,
	} {
		status = code
		if err := r.Put(t.Context(), "k51", []byte("x")); !fault.Is(err, kind) || !strings.Contains(err.Error(), "says why") {
			t.Errorf("%d: %v", code, err)
		}
	}
	server.Close()
	if err := r.Put(t.Context(), "k51", nil); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "tell-nobody") {
		t.Errorf("gone: %v", err)
	}
	for _, bad := range []string{"", "x", "ftp://x", "http://", "https://x/?q=1", "https://x/#f", "https://x y"} {
		if _, err := indexdag.OpenRouter(bad, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
