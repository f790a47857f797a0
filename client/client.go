package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// answerLimit bounds a JSON answer held in memory, in bytes.
const answerLimit = 64 << 20

// Options are what a Client may be told. The zero value is usable.
type Options struct {
	Token     string       // bearer secret, "firth_…"
	HTTP      *http.Client // default: no overall time limit, so that streams may last
	UserAgent string       // default "firth-client"
}

// Client speaks to one node. It is safe for use by many goroutines.
type Client struct {
	base  *url.URL
	token string
	agent string
	http  *http.Client
}

// New makes a client of the node at base, such as "http://127.0.0.1:8400". It
// connects to nothing; a base that is no http or https address is an error.
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil {
		return nil, fmt.Errorf("api address %q: %w", base, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("api address %q: want http://host:port", base)
	}
	c := &Client{base: u, token: o.Token, agent: o.UserAgent, http: o.HTTP}
	if c.agent == "" {
		c.agent = "firth-client"
	}
	if c.http == nil {
		c.http = &http.Client{Transport: transport()}
	}
	return c, nil
}

// transport limits what can hang before a body flows, never the body itself.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   16,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
	}
}

// call is one request.
type call struct {
	method string
	path   string // escaped, below the base
	query  url.Values
	body   io.Reader
	header http.Header
}

// send performs a call. Any status below 300 is the caller's to read and close;
// any other becomes a *Error.
func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	u := *c.base.JoinPath(k.path)
	u.RawQuery = k.query.Encode()
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), k.body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", k.method, k.path, err)
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		defer res.Body.Close()
		return nil, readError(res)
	}
	return res, nil
}

// do sends in as JSON (nil: no body) and reads the answer into out (nil: the
// answer is passed over).
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	k := call{method: method, path: path, query: query, header: http.Header{"Accept": {"application/json"}}}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		k.body = bytes.NewReader(body)
		k.header.Set("Content-Type", "application/json")
	}
	res, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	return readJSON(res, out)
}

// readJSON decodes an answer and closes it.
func readJSON(res *http.Response, out any) error {
	defer res.Body.Close()
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit+1))
	if err == nil && len(body) > answerLimit {
		err = fmt.Errorf("answer is larger than %d bytes", answerLimit)
	}
	if err == nil {
		err = json.Unmarshal(body, out)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", res.Request.Method, res.Request.URL.Path, err)
	}
	return nil
}

// get reads one thing.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.do(ctx, http.MethodGet, path, nil, nil, &out)
	return out, err
}

// post performs a verb that answers with the thing it changed.
func post[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	var out T
	err := c.do(ctx, http.MethodPost, path, nil, in, &out)
	return out, err
}

// seg escapes one element of a path.
func seg(s string) string { return url.PathEscape(s) }

func id(n int64) string { return strconv.FormatInt(n, 10) }

// query builds a query from name, value pairs and leaves empty values out.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Add(pairs[i], pairs[i+1])
		}
	}
	return q
}

// number is a query value; 0 is left out.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return id(n)
}
