package provider

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func TestHTTPURL(t *testing.T) {
	for text, want := range map[string]string{
		"/ip4/127.0.0.1/tcp/8080/http":                                 "http://127.0.0.1:8080",
		"/ip6/::1/tcp/8080/http":                                       "http://[::1]:8080",
		"/dns/example.org/https":                                       "https://example.org:443",
		"/dns4/example.org/tcp/443/https":                              "https://example.org:443",
		"/dns4/example.org/tcp/8443/tls/http":                          "https://example.org:8443",
		"/dns4/example.org/tcp/80/http/http-path/retrieval%2Fv1":       "http://example.org:80/retrieval/v1",
		"/dns4/example.org/tcp/80/http/http-path/%2Fretrieval%2Fv1%2F": "http://example.org:80/retrieval/v1",
		"/ip4/127.0.0.1/tcp/8080":                                      "",
		"/ip4/127.0.0.1/udp/8080/quic-v1":                              "",
	} {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := httpURL(a.Bytes()); got != want || (err != nil) != (want == "") {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
	if _, err := httpURL([]byte{0xff}); err == nil {
		t.Error("nonsense was read")
	}
}

func FuzzHTTPURL(f *testing.F) {
	for _, text := range []string{"/ip4/127.0.0.1/tcp/8080/http", "/dns4/a/tcp/1/tls/http"} {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(a.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if url, err := httpURL(raw); err == nil && url == "" {
			t.Error("neither a URL nor an error")
		}
	})
}
