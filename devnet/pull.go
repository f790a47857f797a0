package devnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	pullParts    = 5        // parallel ranges of a large file
	pullOneBelow = 10 << 20 // bytes; smaller files are one range
	pullBuffer   = 32 << 10 // bytes a connection
)

// pull fetches the data of one deal over HTTP, as Boost does: a HEAD whose
// length must be the deal's, then ranges; a broken connection is taken up where
// it broke. Redirects are not followed. Memory is pullBuffer and net/http's own
// buffers for each of at most five connections, whatever the length.
type pull struct {
	url      string
	header   map[string]string
	size     int64 // bytes the deal promises
	client   *http.Client
	received *atomic.Int64
	silence  time.Duration // longest wait for the next bytes
	attempts int           // tries of a range that brings nothing, before giving up
	backoff  time.Duration // before the second try; doubles
	// pace is asked before bytes are taken and may hold them up; an error of
	// it ends the pull.
	pace func(ctx context.Context, bytes int) error
}

// finalError is an error that trying again cannot help. It does not show in the
// text, which clients read.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(format string, args ...any) error { return finalError{fmt.Errorf(format, args...)} }

func newPullClient(silence time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: silence}).DialContext,
			TLSHandshakeTimeout:   silence,
			ResponseHeaderTimeout: silence,
			DisableCompression:    true, // the length is the check
			MaxIdleConnsPerHost:   pullParts,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// to fetches everything into the file. What is in the file after an error is
// of no use.
func (p *pull) to(ctx context.Context, file *os.File) error {
	ranged, err := p.head(ctx)
	if err != nil {
		return err
	}
	parts := int64(pullParts)
	if p.size < pullOneBelow || !ranged {
		parts = 1
	}
	group, ctx := errgroup.WithContext(ctx)
	part := p.size / parts
	for i := range parts {
		start, end := i*part, (i+1)*part
		if i == parts-1 {
			end = p.size
		}
		group.Go(func() error { return p.fetch(ctx, file, start, end) })
	}
	return group.Wait()
}

// head asks for the length and compares it with what the deal says.
func (p *pull) head(ctx context.Context) (ranged bool, err error) {
	err = p.retry(ctx, func(ctx context.Context) (bool, error) {
		resp, err := p.do(ctx, http.MethodHead, "")
		if err != nil {
			return false, fmt.Errorf("failed to send HEAD http req: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false, statusError("HEAD", resp)
		}
		length, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64)
		if err != nil {
			return false, final("can't determine deal size from the head request, no header")
		}
		if length != p.size {
			return false, final("deal size mismatch: head: %d, dealInfo: %d", length, p.size)
		}
		ranged = resp.Header.Get("Accept-Ranges") == "bytes"
		return true, nil
	})
	return ranged, err
}

// fetch brings the bytes from start to end, end not included, into the file.
func (p *pull) fetch(ctx context.Context, file *os.File, start, end int64) error {
	at := start
	return p.retry(ctx, func(ctx context.Context) (bool, error) {
		before := at
		err := p.fetchOnce(ctx, file, &at, end)
		return at > before, err
	})
}

// fetchOnce asks for what is missing and moves at along as it arrives.
func (p *pull) fetchOnce(ctx context.Context, file *os.File, at *int64, end int64) error {
	if *at >= end {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The last byte asked for is one beyond the part, as Boost does: a server
	// must clamp it at the end of the file.
	resp, err := p.do(ctx, http.MethodGet, fmt.Sprintf("bytes=%d-%d", *at, end))
	if err != nil {
		return fmt.Errorf("failed to send http req: %w", err)
	}
	defer resp.Body.Close()
	watch := time.AfterFunc(p.silence, cancel)
	defer watch.Stop()
	switch resp.StatusCode {
	case http.StatusOK: // ranges are not served: the bytes before are not wanted
		if _, err := io.CopyN(io.Discard, &watched{resp.Body, watch, p.silence}, *at); err != nil {
			return fmt.Errorf("http response read error: %w", err)
		}
	case http.StatusPartialContent:
		if err := checkRange(resp.Header.Get("Content-Range"), *at); err != nil {
			return err
		}
	default:
		return statusError("GET", resp)
	}
	return p.take(ctx, &watched{resp.Body, watch, p.silence}, file, at, end)
}

func (p *pull) take(ctx context.Context, body io.Reader, file *os.File, at *int64, end int64) error {
	buf := make([]byte, pullBuffer)
	for *at < end {
		n, err := body.Read(buf[:min(int64(len(buf)), end-*at)])
		if n > 0 {
			if err := p.pace(ctx, n); err != nil {
				return finalError{err}
			}
			if _, err := file.WriteAt(buf[:n], *at); err != nil {
				return final("writing the output file: %w", err)
			}
			*at += int64(n)
			p.received.Add(int64(n))
		}
		if err != nil && *at < end {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("http response read error: %w", err)
		}
	}
	return nil
}

// retry calls try until it is done, it fails for good, or has failed attempts
// times in a row without bringing anything.
func (p *pull) retry(ctx context.Context, try func(context.Context) (progress bool, err error)) error {
	wait := p.backoff
	for failures := 0; ; {
		progress, err := try(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("transfer context canceled err: %w", ctx.Err())
		case errors.As(err, new(finalError)):
			return err
		case progress:
			failures, wait = 0, p.backoff
		}
		if failures++; failures >= p.attempts {
			return fmt.Errorf("could not finish transfer even after %d attempts, lastErr: %w", p.attempts, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait *= 2
	}
}

func (p *pull) do(ctx context.Context, method, byteRange string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url, nil)
	if err != nil {
		return nil, finalError{err}
	}
	for name, value := range p.header {
		req.Header.Set(name, value)
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
		}
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	return p.client.Do(req)
}

// statusError makes an error of an answer; a 4xx is final.
func statusError(method string, resp *http.Response) error {
	err := fmt.Errorf("http %s req failed: code: %d, status: %s", method, resp.StatusCode, resp.Status)
	if resp.StatusCode/100 == 4 || resp.StatusCode/100 == 3 {
		return finalError{err}
	}
	return err
}

// checkRange makes sure that a partial answer starts where it was asked to.
func checkRange(header string, at int64) error {
	var first int64
	if _, err := fmt.Sscanf(header, "bytes %d-", &first); err != nil || first != at {
		return final("http response has Content-Range %q, asked for %d", header, at)
	}
	return nil
}

// watched puts off the end of a request each time bytes arrive.
type watched struct {
	io.Reader
	watch   *time.Timer
	silence time.Duration
}

func (w *watched) Read(b []byte) (int, error) {
	w.watch.Reset(w.silence)
	n, err := w.Reader.Read(b)
	w.watch.Stop() // what the reader does with the bytes is not the sender's silence
	return n, err
}
