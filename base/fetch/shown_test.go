package fetch_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/fetch"
)

// Errors go to logs and people: no password is in them.
func TestErrorsTellNoPasswords(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	with := func(url string) string { return strings.Replace(url, "http://", "http://ann:s3cret@", 1) }
	for _, url := range []string{with(s.URL), with(gone.URL), "http://ann:s3cret@host/%zz", "http://ann:p@s3cret@host/%zz", "http://ann:s3cret@", "ftp://ann:s3cret@host/"} {
		_, err := fetch.Open(t.Context(), http.DefaultClient, url, quick)
		_, other := fetch.OpenFile(t.Context(), http.DefaultClient, url)
		if err == nil || other == nil || strings.Contains(err.Error()+other.Error(), "s3cret") {
			t.Errorf("%v; %v", err, other)
		}
	}
}
