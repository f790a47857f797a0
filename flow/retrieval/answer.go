package retrieval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// errSlow ends a request that stands still.
var errSlow = errors.New("no byte came in time")

// answer is the body of a successful answer. A provider that lets it stand
// still is given up; the time the reader takes between two reads is its own.
type answer struct {
	http.Header
	a      *attempt
	status int
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	clock  *time.Timer
	asked  time.Time
}

// get asks for a path below the source's URL. Statuses other than 200 and 206
// are a refusal.
func (a *attempt) get(ctx context.Context, path string, header http.Header) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	out := &answer{a: a, ctx: ctx, cancel: cancel, asked: a.clock()}
	out.clock = time.AfterFunc(a.settings.FirstByte, func() { cancel(errSlow) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.source.url+path, nil)
	if err != nil {
		out.clock.Stop()
		return nil, missed(CodeUnreachable, "%w", err)
	}
	req.Header = header
	req.Header.Set("Accept-Encoding", "identity") // what is inflated on the way could not be bounded by its bytes
	req.Header.Set("User-Agent", "firth")
	res, err := a.http.Do(req)
	if err != nil {
		out.clock.Stop()
		return nil, out.judge(err, failureOf(err))
	}
	out.status, out.Header, out.body = res.StatusCode, res.Header, res.Body
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		text, _ := io.ReadAll(io.LimitReader(out, 200)) // as much as can be had
		out.Close()
		return nil, missed(CodeRefused, "answered %s: %s", res.Status, strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "?")), " "))
	}
	return out, nil
}

// failureOf is the code of a request that had no answer.
func failureOf(err error) string {
	var dial *net.OpError
	switch {
	case known(err): // our own rule about redirects
		return CodeRefused
	case errors.As(err, &dial) && dial.Op == "dial":
		return CodeUnreachable
	}
	return CodeBroken
}

func known(err error) bool {
	var classified *fault.Error
	return errors.As(err, &classified)
}

// Read implements io.Reader.
func (o *answer) Read(p []byte) (int, error) {
	if o.a.ttfb.Load() != 0 {
		o.clock.Reset(o.a.settings.Idle) // before it, the time limit on the first byte still runs
	}
	n, err := o.body.Read(p)
	o.clock.Stop()
	if n > 0 {
		o.a.ttfb.CompareAndSwap(0, max(1, int64(o.a.clock().Sub(o.asked))))
	}
	if err != nil && err != io.EOF {
		err = o.judge(err, CodeBroken)
	}
	return n, err
}

// judge tells the provider's failures from the caller's going away.
func (o *answer) judge(err error, code string) error {
	switch cause := context.Cause(o.ctx); {
	case errors.Is(cause, errSlow):
		return missed(CodeTimeout, "%w", errSlow)
	case cause != nil:
		return cause
	}
	return &miss{code, fmt.Errorf("connection: %w", err)}
}

// Close gives the connection back, or up if much is left on it.
func (o *answer) Close() {
	o.clock.Stop()
	o.cancel(context.Canceled)
	_ = o.body.Close() // what was wanted of it was read
}
