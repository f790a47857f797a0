package app

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// fetcher makes the HTTP client for addresses that strangers name, such as a
// provider's retrieval URL. It connects to public addresses and to the prefixes
// allowed, and looks at the address that DNS gave at the moment of connecting,
// on every redirect too: the guard is in the dialer.
func fetcher(cfg Config) (*http.Client, error) {
	allowed, err := fetchAllowed(cfg)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{
		Timeout: 10 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			return mayFetch(address, allowed)
		},
	}
	return &http.Client{Transport: &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   8,
		DisableCompression:    true,
	}}, nil
}

// fetchAllowed reads fetch.allow. A chain on loopback means that the whole
// network is on this machine, so its providers may be.
func fetchAllowed(cfg Config) ([]netip.Prefix, error) {
	var allowed []netip.Prefix
	for text := range strings.SplitSeq(cfg.Fetch.Allow, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "configuration fetch.allow: %q is no prefix like 10.0.0.0/8", text)
		}
		allowed = append(allowed, p.Masked())
	}
	if u, err := url.Parse(cfg.Chain.RPC); err == nil {
		host, err := netip.ParseAddr(u.Hostname())
		if u.Hostname() == "localhost" || err == nil && host.IsLoopback() {
			allowed = append(allowed, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
		}
	}
	return allowed, nil
}

// shared are ranges that are not public though netip does not say so: carrier
// NAT (RFC 6598), benchmarks (RFC 2544), reserved (RFC 1112), NAT64 (RFC 6052),
// which may lead to any of the others.
var shared = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
}

// mayFetch decides about one resolved address.
func mayFetch(address string, allowed []netip.Prefix) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault.New(fault.Forbidden, "connect to %s: is no address", address)
	}
	ip := ap.Addr().Unmap().WithZone("")
	if within(ip, allowed) {
		return nil
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || within(ip, shared) {
		return fault.New(fault.Forbidden, "connect to %s: is not a public address; fetch.allow can let its network in", address)
	}
	return nil
}

func within(ip netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
