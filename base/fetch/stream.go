package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// Options say how patient a stream is; the zero value is.
type Options struct {
	Header http.Header   // sent with every request
	Tries  int           // to go on, in a row without a byte; 0 is 6
	Pause  time.Duration // before the second try, doubled before each other; 0 is a second

	// From is the byte to begin at, which needs a Version: that which the thing
	// has to be of, as Stream.Version said when it was opened before. If it is
	// another by now, or nobody can say, the error is fault.Conflict.
	From    int64
	Version string
}

// Stream is a GET that survives broken connections. It is for one goroutine.
type Stream struct {
	ctx    context.Context
	client *http.Client
	url    string
	o      Options

	body    io.ReadCloser
	at      int64
	size    int64  // -1 is unknown
	version string // what If-Range is sent with; "" is none
	resumed int
	dry     int // connections in a row that gave no byte
}

// Open asks for the thing at an URL. What a server refuses is fault.NotFound,
// Forbidden or Invalid; one that cannot be reached or answered is Unavailable, at
// once: patience is for what has begun.
func Open(ctx context.Context, client *http.Client, url string, o Options) (*Stream, error) {
	if err := check(url); err != nil {
		return nil, err
	}
	if o.Tries <= 0 {
		o.Tries = 6
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	s := &Stream{ctx: ctx, client: client, url: url, o: o, size: -1, at: o.From, version: o.Version}
	if err := s.resume(); err != nil {
		return nil, err
	}
	if o.Version != "" && s.version != o.Version {
		_ = s.body.Close()
		return nil, fault.New(fault.Conflict, "%s: is another version than it was", Shown(url))
	}
	return s, nil
}

// check refuses what is not HTTP before anybody connects.
func check(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fault.New(fault.Invalid, "%.200q: is no http:// or https:// address", Shown(text))
	}
	return nil
}

// Size is the length of the whole in bytes, -1 where the server does not say.
func (s *Stream) Size() int64 { return s.size }

// Version names the version of the thing that is read, "" where the server does
// not.
func (s *Stream) Version() string { return s.version }

// Resumed is how often the stream was taken up again.
func (s *Stream) Resumed() int { return s.resumed }

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if s.body == nil {
			if err := s.again(s.resume); err != nil {
				return 0, err
			}
			s.resumed++
		}
		n, err := s.body.Read(p)
		s.at += int64(n)
		if n > 0 {
			s.dry = 0
		}
		switch {
		case err == nil && n > 0:
			return n, nil
		case errors.Is(err, io.EOF) && (s.size < 0 || s.at == s.size):
			return n, io.EOF
		case err == nil:
			continue
		}
		_ = s.body.Close()
		s.body = nil
		if n > 0 {
			return n, nil
		}
		if s.ctx.Err() != nil {
			return 0, s.ctx.Err()
		}
		if s.dry++; s.dry >= s.o.Tries {
			return 0, fault.New(fault.Unavailable, "%s: broke off at byte %d, and %d more times without a byte", Shown(s.url), s.at, s.dry-1)
		}
	}
}

// Close ends the stream.
func (s *Stream) Close() error {
	if s.body == nil {
		return nil
	}
	return s.body.Close()
}

// again tries until fn succeeds or says that trying is of no use.
func (s *Stream) again(fn func() error) error {
	pause := s.o.Pause
	for try := 1; ; try++ {
		err := fn()
		if err == nil || !fault.Is(err, fault.Unavailable) || try >= s.o.Tries || s.ctx.Err() != nil {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-s.ctx.Done():
			wait.Stop()
			return s.ctx.Err()
		}
		pause = min(2*pause, time.Minute)
	}
}

func (s *Stream) open() error {
	res, err := ask(s.ctx, s.client, s.url, s.o.Header, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return refused(s.url, res)
	}
	s.body, s.size, s.version = res.Body, res.ContentLength, versionOf(res.Header)
	return nil
}

// resume goes on at s.at.
func (s *Stream) resume() error {
	if s.at == 0 { // nothing to go on from
		return s.open()
	}
	if s.version == "" {
		return fault.New(fault.Conflict, "%s: broke off at byte %d, and the server names no version (ETag or Last-Modified) to take it up by", Shown(s.url), s.at)
	}
	res, err := ask(s.ctx, s.client, s.url, s.o.Header, http.Header{
		"Range": {fmt.Sprintf("bytes=%d-", s.at)}, "If-Range": {s.version},
	})
	if err != nil {
		return err
	}
	if err := s.accept(res); err != nil {
		_ = res.Body.Close()
		return err
	}
	s.body = res.Body
	return nil
}

// accept checks that an answer is the rest of the same version. A server that
// knows no ranges sends all of it again, of which the beginning is passed over.
func (s *Stream) accept(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusPartialContent:
		from, total, ok := contentRange(res.Header.Get("Content-Range"))
		if !ok || from != s.at || s.size >= 0 && total >= 0 && total != s.size {
			return fault.New(fault.Conflict, "%s: asked for bytes from %d of %d, answered with %q", Shown(s.url), s.at, s.size, res.Header.Get("Content-Range"))
		}
		s.size = max(s.size, total)
	case http.StatusOK:
		if v := versionOf(res.Header); v != s.version || s.size >= 0 && res.ContentLength != s.size {
			return changed(s.url)
		}
		if _, err := io.CopyN(io.Discard, res.Body, s.at); err != nil {
			return fault.New(fault.Unavailable, "%s: %w", Shown(s.url), err)
		}
		s.size = max(s.size, res.ContentLength)
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		return changed(s.url)
	default:
		return refused(s.url, res)
	}
	return nil
}

func changed(url string) error {
	return fault.New(fault.Conflict, "%s: changed while it was read", Shown(url))
}

func ask(ctx context.Context, client *http.Client, address string, headers ...http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.Mark(fault.Invalid, err)
	}
	for _, h := range headers {
		for name, values := range h {
			req.Header[name] = values
		}
	}
	req.Header.Set("Accept-Encoding", "identity")
	res, err := client.Do(req)
	var at *url.Error
	if errors.As(err, &at) { // where it was led to, perhaps
		at.URL = Shown(at.URL)
	}
	var known *fault.Error
	if err != nil && errors.As(err, &known) {
		return nil, fault.Mark(known.Kind, err) // the client's own refusal
	}
	if err != nil {
		return nil, fault.Mark(fault.Unavailable, err)
	}
	if coding := res.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		_ = res.Body.Close()
		return nil, fault.New(fault.Invalid, "%s: the server sends it encoded as %.40q though the bytes as they are were asked for", Shown(address), coding)
	}
	return res, nil
}

// refused gives an answer that is no success its kind.
func refused(url string, res *http.Response) error {
	kind := fault.KindOfStatus(res.StatusCode)
	if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests {
		kind = fault.Unavailable
	} else if kind == fault.Internal {
		kind = fault.Invalid
	}
	return fault.New(kind, "%s: the server answers %q", Shown(url), res.Status)
}

// versionOf is the strong entity tag, else the time of change; a weak tag says
// nothing about bytes (RFC 9110, 8.8.1).
func versionOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 5-9/10"; total is -1 for "*".
func contentRange(text string) (from, total int64, ok bool) {
	rest, isBytes := strings.CutPrefix(text, "bytes ")
	span, whole, cut := strings.Cut(rest, "/")
	first, _, dash := strings.Cut(span, "-")
	if !isBytes || !cut || !dash {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if whole == "*" {
		return from, -1, true
	}
	total, err = strconv.ParseInt(whole, 10, 64)
	return from, total, err == nil
}
