package chain

import (
	"net/url"
	"strings"

	"github.com/multiformats/go-multiaddr"

	"github.com/firth-project/firth/base/fault"
)

// endpoint is where a node's RPC is: one path by POST, the same by websocket.
type endpoint struct {
	post   string // http or https
	socket string // ws or wss
	token  string
}

// parseEndpoint reads what people write for a node: a URL with or without
// /rpc/v1 (http, https, ws, wss), a multiaddr as Lotus keeps it in its api file
// (/ip4/127.0.0.1/tcp/1234/http), or either with "TOKEN:" before it, as in
// FULLNODE_API_INFO. A token given apart from it wins.
func parseEndpoint(address, token string) (endpoint, error) {
	address = strings.TrimSpace(address)
	if head, rest, ok := strings.Cut(address, ":"); ok && !strings.HasPrefix(address, "/") &&
		!strings.HasPrefix(rest, "//") && (strings.HasPrefix(rest, "/") || strings.Contains(rest, "://")) {
		address = rest
		if token == "" {
			token = head
		}
	}
	if strings.HasPrefix(address, "/") {
		var err error
		if address, err = urlOfMultiaddr(address); err != nil {
			return endpoint{}, err
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return endpoint{}, fault.New(fault.Invalid, "chain RPC address: %w", err)
	}
	secure := u.Scheme == "https" || u.Scheme == "wss"
	if !secure && u.Scheme != "http" && u.Scheme != "ws" || u.Host == "" {
		return endpoint{}, fault.New(fault.Invalid, "chain RPC address %q: want http(s)://host, ws(s)://host or [token:]/ip4/…/tcp/…/http", u.Redacted())
	}
	if path := strings.TrimRight(u.Path, "/"); strings.HasSuffix(path, "/rpc/v0") || strings.HasSuffix(path, "/rpc/v1") {
		u.Path = path
	} else {
		u.Path = path + "/rpc/v1"
	}
	e := endpoint{token: token}
	u.Scheme = pick(secure, "https", "http")
	e.post = u.String()
	u.Scheme = pick(secure, "wss", "ws")
	e.socket = u.String()
	return e, nil
}

func urlOfMultiaddr(s string) (string, error) {
	a, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		return "", fault.New(fault.Invalid, "chain RPC address: %w", err)
	}
	host, port, secure := "", "", false
	multiaddr.ForEach(a, func(c multiaddr.Component) bool {
		switch c.Protocol().Code {
		case multiaddr.P_IP4, multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6:
			host = c.Value()
		case multiaddr.P_IP6:
			host = "[" + c.Value() + "]"
		case multiaddr.P_TCP:
			port = c.Value()
		case multiaddr.P_TLS, multiaddr.P_HTTPS, multiaddr.P_WSS:
			secure = true
		}
		return true
	})
	if host == "" || port == "" {
		return "", fault.New(fault.Invalid, "chain RPC address %s: want a host and a TCP port", s)
	}
	return pick(secure, "https://", "http://") + host + ":" + port, nil
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
