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
