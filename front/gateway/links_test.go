package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
)

func TestReadersBeyondTheLimitComeAgain(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	door := limited(1, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-leave
	}))
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		door.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w
	}
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- ask() }()
	<-inside
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d %v", w.Code, w.Header())
	}
	close(leave)
	if w := <-done; w.Code != http.StatusOK {
		t.Errorf("the first: %d", w.Code)
	}
	go func() { done <- ask() }()
	<-inside
	<-done
}

// FuzzLink: nothing but what PieceURL made opens a piece.
func FuzzLink(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	links := NewLinks([]byte("secret"), "http://x", func() time.Time { return now })
	_, headers := links.PieceURL("piece")
	good := strings.TrimPrefix(headers["Authorization"], "Bearer ")
	for _, seed := range []string{good, "", "firthp_", "firthp__", "firthp_-1_", "firthp_1800000001_AAAA", good + "A", good + "\n", good[:20], strings.ToUpper(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		err := links.check(token, "piece")
		if claim := strings.TrimPrefix(token, linkPrefix); (err == nil) != (claim == strings.TrimPrefix(good, linkPrefix)) {
			t.Errorf("%q: %v", token, err)
		}
		if err != nil && !fault.Is(err, fault.Forbidden) {
			t.Errorf("%q: %v", token, err)
		}
		if links.check(token, "other") == nil {
			t.Errorf("%q opens another piece", token)
		}
	})
}

// One client cannot take the last quarter of the places when he has one already.
func TestPlacesAreShared(t *testing.T) {
	p := &places{most: 8, by: map[string]int{}}
	for i := range 8 {
		if err := p.take("greedy"); (err == nil) != (i < 6) || err != nil && !fault.Is(err, fault.Unavailable) {
			t.Errorf("place %d: %v", i, err)
		}
	}
	if err := p.take("other"); err != nil {
		t.Error(err)
	}
	if err := p.take("third"); err != nil || p.taken != 8 {
		t.Errorf("%d taken: %v", p.taken, err)
	}
	if p.take("fourth") == nil {
		t.Error("there are more than there are")
	}
	for range 6 {
		p.give("greedy")
	}
	p.give("other")
	p.give("third")
	if p.taken != 0 || len(p.by) != 0 {
		t.Errorf("%d places are lost, %v", p.taken, p.by)
	}
}

func TestClientsAreNetworks(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.1:5": "10.0.0.1", "[::ffff:10.0.0.1]:5": "10.0.0.1", "[2001:db8:1:2:3::4]:9": "2001:db8:1:2::/64",
		"[2001:db8:1:2::]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "odd": "odd", "name:1": "name",
	} {
		if got := clientOf(&http.Request{RemoteAddr: addr}); got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
}
