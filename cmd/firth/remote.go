package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"

	"github.com/firth-project/firth/app"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

// client reaches the node this command line is about: the one named by --api,
// or the one that runs in the home.
func (c *call) client() (*client.Client, error) {
	api, token := c.global.API, c.global.Token
	if api == "" || token == "" {
		home, err := c.home()
		if err != nil {
			return nil, err
		}
		access, err := app.ReadAccess(home)
		if err != nil && api == "" {
			return nil, err
		}
		if api == "" {
			api = access.API
		}
		if token == "" && api == access.API {
			token = access.Token
		}
	}
	cl, err := client.New(api, client.Options{Token: token, UserAgent: "firth-cli/" + app.Version().Version})
	return cl, fault.Mark(fault.Invalid, err)
}

// ask speaks with the node, and explains why it could not.
func (c *call) ask(fn func(ctx context.Context, cl *client.Client) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return nodeFault(fn(c.ctx, cl))
}

// nodeFault explains what came of speaking with a node: that none was there,
// that it broke off, that it did not know the token, or what went wrong with
// the local file that was being sent. Other errors pass as they are.
func nodeFault(err error) error {
	var (
		answered *client.Error
		request  *url.Error
		ours     *fault.Error
		file     *fs.PathError
		dial     *net.OpError
		garbled  *json.SyntaxError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answered) && answered.Status == http.StatusUnauthorized:
		return fault.New(fault.Forbidden, "%w; give a token with --token, or --home of the node's own home", err)
	case errors.As(err, &answered):
		return err
	case errors.As(err, &request) && errors.As(request.Err, &ours):
		return ours // a reader of ours ended the request: its reason is the news
	case errors.As(err, &ours):
		return err
	case errors.Is(err, context.Canceled):
		return fault.New(fault.Unavailable, "interrupted; nothing that was not reported as done counts (%w)", context.Canceled)
	case errors.Is(err, client.ErrChanged):
		return fault.New(fault.Conflict, "%w; try again when nothing writes to it", inner(err))
	case errors.As(err, &file):
		return pathFault(file.Path, file)
	case errors.As(err, &garbled):
		return fault.New(fault.Unavailable, "what answers there is no Firth node (%w)", err)
	case request == nil:
		return err
	case errors.As(err, &dial) && dial.Op == "dial":
		return fault.New(fault.Unavailable, "no node answers at %s (%w); start one with `firth serve`", hostOf(request), request.Err)
	}
	return fault.New(fault.Unavailable, "the node at %s broke off (%w); ask again", hostOf(request), request.Err)
}

// inner is what lies below the words of the HTTP client.
func inner(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

func hostOf(e *url.Error) string {
	if u, err := url.Parse(e.URL); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	return e.URL
}

// fromNode reads a download; one that breaks off is the node's doing. The
// error below is not passed on: io.ErrUnexpectedEOF would tell a reader of CARs
// that the CAR itself is cut short.
type fromNode struct{ r io.Reader }

func (f fromNode) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err != nil && err != io.EOF && !errors.Is(err, context.Canceled) {
		err = fault.New(fault.Unavailable, "the node broke off (%v); ask again", err)
	}
	return n, err
}
