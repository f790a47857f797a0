package fetch_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
)

// Errors go to logs and people: no password is in them.
func TestErrorsTellNoPasswords(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	with := func(url string) string { return strings.Replace(url, "http://", "http://ann:s3cret@", 1) }
	led := httptest.NewServer(http.RedirectHandler(gone.URL+"/?X-Amz-Signature=s3cret", http.StatusFound))
	defer led.Close()
	for _, url := range []string{with(s.URL), with(gone.URL), s.URL + "/a?b=c&sig=s3cret", gone.URL + "/a?sig=s3cret", led.URL, "http://host/%zz?b&Sig=s3cret", "http://ann:s3cret@host/%zz", "http://ann:p@s3cret@host/%zz", "http://ann:s3cret@", "ftp://ann:s3cret@host/"} {
		_, err := fetch.Open(t.Context(), http.DefaultClient, url, quick)
		_, other := fetch.OpenFile(t.Context(), http.DefaultClient, url)
		if err == nil || other == nil || strings.Contains(err.Error()+other.Error(), "s3cret") {
			t.Errorf("%v; %v", err, other)
		}
	}
}

// What opens an URL is taken out of it and put back as it was written.
func TestSecrets(t *testing.T) {
	for text, want := range map[string]struct {
		plain string
		n     int // secrets
	}{
		"https://host/a.car":                                         {"https://host/a.car", 0},
		"https://host/a%2Fb.car?id=7&x=%20+&&":                       {"https://host/a%2Fb.car?id=7&x=%20+&&", 0},
		"https://ann:p%40ss@host/a?token=":                           {"https://host/a?token=", 1},
		"https://host/a?X-Amz-Date=1&X-Amz-Signature=ab%2Fc&x=y":     {"https://host/a?X-Amz-Date=1&X-Amz-Signature=***&x=y", 1},
		"https://b.blob.core.windows.net/c/a.car?sv=1&sig=a%2Bb%3D":  {"https://b.blob.core.windows.net/c/a.car?sv=1&sig=***", 1},
		"https://ann@host/?ACCESS%5FTOKEN=one&token=two=2&token=%zz": {"https://host/?ACCESS%5FTOKEN=***&token=***&token=***", 4},
		"https://host/a?signature=***":                               {"https://host/a?signature=***", 1},
	} {
		plain, s, err := fetch.Take(text)
		if n := len(s.Values) + min(len(s.User), 1); err != nil || plain != want.plain || n != want.n || s.None() != (n == 0) {
			t.Errorf("%s: %s, %+v, %v", text, plain, s, err)
		}
		if got, err := s.Into(plain); got != text || err != nil {
			t.Errorf("%s came back as %s, %v", text, got, err)
		}
		if _, err := (fetch.Secrets{}).Into(plain); fault.Is(err, fault.Conflict) != (len(s.Values) > 0) {
			t.Errorf("%s: without its secrets %v", text, err)
		}
	}
	if _, _, err := fetch.Take("http://ann:s3cret@host/%zz"); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}
