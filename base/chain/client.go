package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/firth-project/firth/base/fault"
)

const (
	maxAnswerBytes = 32 << 20 // no call of this client has larger answers
	callTimeout    = 30 * time.Second
	waitTimeout    = 15 * time.Minute // StateWaitMsg: Lotus' own limit is its caller's patience
)

// Client calls one node. Its methods may be used from any goroutine; each is
// one POST with its own time limit (30 s; waiting for a message 15 min) within
// its context. Errors are Unavailable when the node cannot be reached or does
// not answer properly, NotFound for actors, deals and messages it does not
// have, Invalid for methods it does not offer, Forbidden for a token it does
// not like, and as the node's words say otherwise.
type Client struct {
	at     endpoint
	http   *http.Client
	log    *slog.Logger
	next   atomic.Int64
	follow followTimes
}

// Option changes a client.
type Option func(*Client)

// PollEvery sets how often Follow asks a node without websockets for its head,
// instead of a pace that adapts itself to the chain's.
func PollEvery(d time.Duration) Option {
	return func(c *Client) { c.follow.pollMin, c.follow.pollMax = d, d }
}

// Dial makes a client for a node's address: a URL (http, https, ws, wss), to
// which /rpc/v1 is added when it is missing, or what Lotus writes:
// "TOKEN:/ip4/127.0.0.1/tcp/1234/http". The token is sent as a bearer token; ""
// sends the one in the address, or none. Nothing is sent before the first call;
// a bad address is Invalid.
func Dial(_ context.Context, url, token string, log *slog.Logger, opts ...Option) (*Client, error) {
	at, err := parseEndpoint(url, token)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	c := &Client{at: at, http: &http.Client{Transport: transport}, log: log, follow: defaultFollowTimes()}
	for _, o := range opts {
		o(c)
	}
	return c, nil
}

// URL returns where calls are posted to.
func (c *Client) URL() string { return c.at.post }

// Close frees idle connections. Calls under way are not stopped.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call posts one method and decodes its result into out. A null result leaves
// out as it is.
func (c *Client) call(ctx context.Context, limit time.Duration, out any, method string, params ...any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(rpcRequest{Jsonrpc: "2.0", ID: c.next.Add(1), Method: "Filecoin." + method, Params: params})
	if err != nil {
		return fault.New(fault.Invalid, "%s: parameters: %w", method, err)
	}
	answer, err := c.post(ctx, method, body)
	if err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error.fault(method)
	}
	if len(answer.Result) == 0 {
		return fault.New(fault.Unavailable, "%s: the node answered neither result nor error", method)
	}
	if err := json.Unmarshal(answer.Result, out); err != nil {
		return fault.New(fault.Unavailable, "%s: the node's answer: %w", method, err)
	}
	return nil
}

func (c *Client) post(ctx context.Context, method string, body []byte) (rpcResponse, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.at.post, bytes.NewReader(body))
	if err != nil {
		return rpcResponse{}, fault.New(fault.Invalid, "%s: %w", method, err)
	}
	req.Header = c.header()
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return rpcResponse{}, fault.New(fault.Unavailable, "%s: %w", method, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return rpcResponse{}, fault.New(fault.Unavailable, "%s: the node's answer: %w", method, err)
	}
	if len(data) > maxAnswerBytes {
		return rpcResponse{}, fault.New(fault.Exhausted, "%s: the node's answer is larger than %d bytes", method, maxAnswerBytes)
	}
	var answer rpcResponse
	if err = json.Unmarshal(data, &answer); err == nil && (answer.Error != nil || resp.StatusCode == http.StatusOK) {
		return answer, nil
	}
	if resp.StatusCode != http.StatusOK {
		return rpcResponse{}, fault.New(kindOfStatus(resp.StatusCode), "%s: the node answered %s: %.200q", method, resp.Status, data)
	}
	return rpcResponse{}, fault.New(fault.Unavailable, "%s: the node's answer is not JSON-RPC: %w", method, err)
}

// kindOfStatus gives what no program of the node said itself (a proxy, a wrong
// path) as Unavailable.
func kindOfStatus(status int) fault.Kind {
	switch k := fault.KindOfStatus(status); k {
	case fault.Forbidden, fault.Exhausted:
		return k
	}
	return fault.Unavailable
}

func (c *Client) header() http.Header {
	h := http.Header{}
	if c.at.token != "" {
		h.Set("Authorization", "Bearer "+c.at.token)
	}
	return h
}

// get is call for a method with one result.
func get[R any](ctx context.Context, c *Client, method string, params ...any) (R, error) {
	var r R
	err := c.call(ctx, callTimeout, &r, method, params...)
	return r, err
}

// getTipSet is get with the check that a tipset is whole.
func getTipSet(ctx context.Context, c *Client, method string, params ...any) (*TipSet, error) {
	ts, err := get[*TipSet](ctx, c, method, params...)
	if err != nil {
		return nil, err
	}
	return ts, fault.Wrap(ts.check(), "%s", method)
}
