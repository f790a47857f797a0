package indexdag

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// routerPatience is how long a router may take for a record: it may put it into
// a distributed hash table first.
const routerPatience = 2 * time.Minute

// routingPath is where a Delegated Routing V1 server takes and gives records.
const routingPath = "/routing/v1/ipns/"

// Router is a server that keeps IPNS records for others and tells them to whom
// asks (Delegated Routing V1 HTTP API).
type Router struct {
	base   string // without /routing/v1
	client *http.Client
}

// OpenRouter returns the router at a URL, with or without /routing/v1 at its
// end. The client asks it; nil is one that waits two minutes for an answer.
// What is no http or https URL is Invalid.
func OpenRouter(where string, client *http.Client) (*Router, error) {
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "router %.200q: is no URL such as https://delegated-ipfs.dev", where)
	}
	if client == nil {
		client = &http.Client{Timeout: routerPatience, Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: routerPatience / 8}).DialContext,
			TLSHandshakeTimeout: routerPatience / 8,
			DisableKeepAlives:   true, // it is asked once in hours
		}}
	}
	base := strings.TrimRight(where, "/")
	return &Router{strings.TrimRight(strings.TrimSuffix(base, "/routing/v1"), "/"), client}, nil
}

// String is the router's URL without a password.
func (r *Router) String() string {
	u, err := url.Parse(r.base)
	if err != nil {
		return "router"
	}
	return u.Redacted()
}

// Put gives the router the record of a name. Invalid and Forbidden mean that it
// will not take this one however often it is asked; Unavailable, that it may
// another time.
func (r *Router) Put(ctx context.Context, name string, record []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.base+routingPath+url.PathEscape(name), bytes.NewReader(record))
	if err != nil {
		return fault.New(fault.Invalid, "router %s: %w", r, err)
	}
	req.Header.Set("Content-Type", RecordType)
	res, err := r.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL may hold a password
		}
		return fault.New(fault.Unavailable, "router %s: %w", r, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 200)) // the status is what counts
	return fault.New(unwilling(res.StatusCode), "router %s: answered %s to the record: %.200q", r, res.Status, bytes.TrimSpace(text))
}

// unwilling is the kind of a router's refusal.
func unwilling(status int) fault.Kind {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusGone:
		return fault.Invalid // it is no such server, or takes no records
	case http.StatusTooManyRequests, http.StatusInternalServerError:
		return fault.Unavailable
	}
	if kind := fault.KindOfStatus(status); kind != fault.Internal {
		return kind
	}
	return fault.Unavailable
}
