package indexdag

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

const (
	webPatience = time.Minute // for an answer, and for each next byte of it
	maxRecord   = 10 << 10    // bytes of an IPNS record (IPNS specification)
	maxSkipped  = 1 << 20     // bytes that are read away to reach a byte of a server without ranges
)

// webPlace speaks GET /piece/{cid} with Range, and the trustless gateway's
// GET /ipfs/{cid}?format=raw and GET /ipns/{name}?format=ipns-record, of
// which a delegated router knows its own form.
type webPlace struct {
	base   string
	client *http.Client

	mu    sync.Mutex
	older bool // the server knew a piece by its CID v1 alone
}

func newWebPlace(base string, client *http.Client) (*webPlace, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "%.200q: is no URL of a piece server, such as https://host or https://host/path", base)
	}
	if client == nil {
		client = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: webPatience / 4}).DialContext,
			TLSHandshakeTimeout:   webPatience / 4,
			ResponseHeaderTimeout: webPatience,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       webPatience,
			DisableCompression:    true,
			ForceAttemptHTTP2:     true,
		}}
	}
	return &webPlace{base: strings.TrimRight(base, "/"), client: client}, nil
}

func (w *webPlace) String() string {
	if u, err := url.Parse(w.base); err == nil {
		return u.Redacted()
	}
	return w.base
}

// Range asks by the CID of the version that the server knows.
func (w *webPlace) Range(ctx context.Context, piece cid.Cid, offset, length int64) (io.ReadCloser, error) {
	w.mu.Lock()
	older := w.older
	w.mu.Unlock()
	names := []cid.Cid{piece}
	if v1, _, err := commp.CIDv1(piece); err == nil {
		names = append(names, v1)
		if older {
			names[0], names[1] = names[1], names[0]
		}
	}
	var err error
	for i, name := range names {
		var body io.ReadCloser
		if body, err = w.rangeOf(ctx, name, offset, length); err == nil {
			w.mu.Lock()
			w.older = older != (i > 0)
			w.mu.Unlock()
			return body, nil
		}
		if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
			return nil, err
		}
	}
	return nil, err
}

func (w *webPlace) rangeOf(ctx context.Context, name cid.Cid, offset, length int64) (io.ReadCloser, error) {
	res, err := w.get(ctx, "/piece/"+name.String(), "Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusPartialContent {
		var from int64
		if _, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != offset {
			res.Body.Close()
			return nil, fault.New(fault.Invalid, "piece %s: asked for bytes from %d, the answer has %.80q", name, offset, res.Header.Get("Content-Range"))
		}
		return limited{io.LimitReader(res.Body, length), res.Body}, nil
	}
	// The whole piece: a server without ranges is of use at the beginning.
	if offset > maxSkipped {
		res.Body.Close()
		return nil, fault.New(fault.Invalid, "piece %s: the server knows no ranges, byte %d is too far away", name, offset)
	}
	if _, err := io.CopyN(io.Discard, res.Body, offset); err != nil {
		res.Body.Close()
		return nil, fault.New(fault.Unavailable, "piece %s: %w", name, err)
	}
	return limited{io.LimitReader(res.Body, length), res.Body}, nil
}

// limited closes more than it reads.
type limited struct {
	io.Reader
	io.Closer
}

func (w *webPlace) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	res, err := w.get(ctx, "/ipfs/"+c.String()+"?format=raw", "Accept", "application/vnd.ipld.raw")
	if err != nil {
		return nil, err
	}
	return w.all(res, dag.MaxBlockSize)
}

// Record asks for the record as a gateway gives it, and where there is none as a
// delegated router does.
func (w *webPlace) Record(ctx context.Context, name string) ([]byte, error) {
	res, err := w.get(ctx, "/ipns/"+name+"?format=ipns-record", "Accept", RecordType)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return w.routed(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	return w.all(res, maxRecord)
}

// routed asks for a record as Delegated Routing V1 has it. A router says in
// words, with status 200, that it has none (IPIP-513).
func (w *webPlace) routed(ctx context.Context, name string) ([]byte, error) {
	res, err := w.get(ctx, routingPath+name, "Accept", RecordType)
	if err != nil {
		return nil, err
	}
	data, err := w.all(res, maxRecord)
	if media := res.Header.Get("Content-Type"); err == nil && strings.HasPrefix(media, "text/") {
		return nil, fault.New(fault.NotFound, "%s: %.200q", routingPath+name, data)
	}
	return data, err
}

func (w *webPlace) all(res *http.Response, limit int64) ([]byte, error) {
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.Unavailable, "%s: %w", res.Request.URL.Path, err)
	case int64(len(data)) > limit:
		return nil, fault.New(fault.Unavailable, "%s: more than %d bytes", res.Request.URL.Path, limit)
	}
	return data, nil
}

// get sends a request; the answer is 200 or 206.
func (w *webPlace) get(ctx context.Context, path, header, value string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		cancel(nil)
		return nil, fault.New(fault.Invalid, "%s: %w", w, err)
	}
	req.Header.Set(header, value)
	res, err := w.client.Do(req)
	if err != nil {
		cancel(nil)
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL may hold a password
		}
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 200)) // the status is what counts
		res.Body.Close()
		cancel(nil)
		return nil, fault.New(refusal(res.StatusCode), "%s: %s: %.200q", strings.SplitN(path, "?", 2)[0], res.Status, text)
	}
	res.Body = &patient{body: res.Body, ctx: ctx, cancel: cancel}
	return res, nil
}

// refusal is the kind of an answer that is none. A gateway that does not find
// a block answers with a time-out.
func refusal(status int) fault.Kind {
	switch status {
	case http.StatusNotFound, http.StatusGone, http.StatusGatewayTimeout, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusRequestedRangeNotSatisfiable:
		return fault.NotFound
	case http.StatusTooManyRequests, http.StatusInternalServerError:
		return fault.Unavailable
	}
	return fault.KindOfStatus(status)
}

// patient ends a body that gives nothing for a while.
type patient struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (p *patient) Read(b []byte) (int, error) {
	t := time.AfterFunc(webPatience, func() {
		p.cancel(fault.New(fault.Unavailable, "nothing came for %s", webPatience))
	})
	defer t.Stop()
	n, err := p.body.Read(b)
	if why := context.Cause(p.ctx); err != nil && why != nil {
		err = why
	}
	return n, err
}

func (p *patient) Close() error {
	err := p.body.Close()
	p.cancel(nil)
	return err
}
