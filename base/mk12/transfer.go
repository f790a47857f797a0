package mk12

import (
	"encoding/json"
	"net/url"

	"github.com/firth-project/firth/base/fault"
)

// The transfer types. An offline deal has type "".
const (
	TransferHTTP   = "http"   // the provider fetches http or https
	TransferLibp2p = "libp2p" // HTTP over a libp2p stream, URL libp2p:// and a multiaddr
)

// HTTPParams is what Transfer.Params holds: where the provider fetches the
// bytes, and what it must send along. Headers is null on the wire when there
// are none; a reader must also take an absent key.
type HTTPParams struct {
	URL     string
	Headers map[string]string
}

// HTTPTransfer makes the transfer of a deal whose size bytes of CAR the
// provider fetches from rawURL, which must be absolute http or https.
func HTTPTransfer(rawURL string, headers map[string]string, size uint64) (Transfer, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Transfer{}, fault.New(fault.Invalid, "transfer URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return Transfer{}, fault.New(fault.Invalid, "transfer URL %q: want http://host/… or https://host/…", rawURL)
	}
	if len(headers) == 0 {
		headers = nil
	}
	params, err := json.Marshal(HTTPParams{URL: rawURL, Headers: headers})
	if err != nil {
		return Transfer{}, fault.Wrap(err, "encode transfer parameters")
	}
	return Transfer{Type: TransferHTTP, Params: params, Size: size}, nil
}

// HTTP returns the parameters of a transfer of type http or libp2p; another
// type, or parameters that are not JSON with a URL, are Invalid.
func (t Transfer) HTTP() (HTTPParams, error) {
	var p HTTPParams
	if t.Type != TransferHTTP && t.Type != TransferLibp2p {
		return p, fault.New(fault.Invalid, "transfer type %q is not %s or %s", t.Type, TransferHTTP, TransferLibp2p)
	}
	if err := json.Unmarshal(t.Params, &p); err != nil {
		return HTTPParams{}, fault.New(fault.Invalid, "transfer parameters are not JSON {URL, Headers}: %w", err)
	}
	if p.URL == "" {
		return HTTPParams{}, fault.New(fault.Invalid, "transfer parameters name no URL")
	}
	return p, nil
}
