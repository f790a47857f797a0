package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

func TestMayFetch(t *testing.T) {
	cfg := Default()
	cfg.Fetch.Allow = "10.1.0.0/16, fd00:1::/32"
	allowed, err := fetchAllowed(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{
		"8.8.8.8:80":                true,
		"[2606:4700::1111]:443":     true,
		"10.1.2.3:80":               true,
		"[fd00:1::5]:80":            true,
		"10.2.2.3:80":               false,
		"[fd00:2::5]:80":            false,
		"127.0.0.1:80":              false,
		"[::1]:80":                  false,
		"[::ffff:127.0.0.1]:80":     false,
		"[::ffff:10.2.0.1]:80":      false,
		"169.254.169.254:80":        false,
		"[fe80::1%eth0]:80":         false,
		"0.0.0.0:80":                false,
		"192.168.1.1:80":            false,
		"172.16.0.1:80":             false,
		"100.64.0.1:80":             false,
		"224.0.0.1:80":              false,
		"255.255.255.255:80":        false,
		"[64:ff9b::a9fe:a9fe]:80":   false,
		"metadata.google.internal:": false,
	}
	for address, want := range tests {
		err := mayFetch(address, allowed)
		if (err == nil) != want || err != nil && !fault.Is(err, fault.Forbidden) {
			t.Errorf("mayFetch(%s) = %v, want allowed %v", address, err, want)
		}
	}
}

// The guard is where the connection is made, so a redirect meets it too.
func TestFetcherIsGuarded(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	defer server.Close()

	far := Default() // its chain is on the internet
	c, err := fetcher(far)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(server.URL); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a private address was tried: %v", err)
	}

	near := Default()
	near.Chain.RPC = "http://127.0.0.1:1234/rpc/v1"
	if c, err = fetcher(near); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(server.URL); err == nil || fault.Is(err, fault.Forbidden) {
		t.Errorf("a local network's provider was refused: %v", err)
	}

	near.Fetch.Allow = "10.0.0.0"
	if _, err := fetcher(near); !fault.Is(err, fault.Invalid) {
		t.Errorf("a prefix without its length: %v, want invalid", err)
	}
}
