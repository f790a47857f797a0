package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// fetcher reads files by HTTP and trusts no answer: the version, the range and
// the length that a server says it sends must be those asked for.
type fetcher struct {
	client *http.Client
	set    settings
	// address returns the URL of a file, good for the next request.
	address func(ctx context.Context, path string) (string, error)
	headers http.Header
	md5     bool // an ETag that looks like an MD5 is one (S3)
	atomic  bool // one answer is of one version, however long it takes (S3)
}

func (f *fetcher) open(ctx context.Context, path, id string) (content, Item, error) {
	ctx = naming(ctx, "%q", path)
	var first *stream
	var found Item
	err := f.set.try(ctx, func() (err error) {
		first, found, err = f.get(ctx, path, 0, id)
		return err
	})
	if err != nil {
		return nil, Item{}, err
	}
	if found.Size < 0 {
		first.body.Close()
		return nil, Item{}, fault.New(fault.Invalid, "the server does not tell its size")
	}
	file := &remoteFile{ctx: ctx, set: f.set, size: found.Size, idle: []*stream{first}}
	file.dial = func(ctx context.Context, off int64) (*stream, error) {
		s, _, err := f.get(ctx, path, off, found.ID())
		return s, err
	}
	if !f.atomic {
		file.same = func(ctx context.Context) error {
			now, err := f.stat(ctx, path)
			if err != nil {
				return err
			}
			return expect(found.ID(), now)
		}
	}
	return file, found, nil
}

// get asks for a file from a byte on, of the version id.
func (f *fetcher) get(ctx context.Context, path string, off int64, id string) (*stream, Item, error) {
	res, err := f.do(ctx, http.MethodGet, path, rangeFrom(off))
	if err != nil {
		return nil, Item{}, err
	}
	s, found, err := f.accept(res, path, off, id)
	if err != nil {
		res.Body.Close()
		return nil, Item{}, err
	}
	return s, found, nil
}

func rangeFrom(off int64) string {
	if off == 0 {
		return ""
	}
	return fmt.Sprintf("bytes=%d-", off)
}

func (f *fetcher) do(ctx context.Context, method, path, span string) (*http.Response, error) {
	url, err := f.address(ctx, path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "not a URL: %s", hidePassword(url))
	}
	for name, values := range f.headers {
		req.Header[name] = values
	}
	// Bytes as they are stored: a packed transfer has another length and no
	// ranges.
	req.Header.Set("Accept-Encoding", "identity")
	if span != "" {
		req.Header.Set("Range", span)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return nil, remoteFault(err)
	}
	return res, nil
}

// accept holds an answer against the question.
func (f *fetcher) accept(res *http.Response, path string, off int64, id string) (*stream, Item, error) {
	found := f.itemOf(res, path)
	s := &stream{body: res.Body, pos: off}
	switch res.StatusCode {
	case http.StatusOK:
		if s.end = found.Size; off > 0 {
			if err := expect(id, found); err != nil {
				return nil, found, err
			}
			return nil, found, fault.New(fault.Invalid, "the server ignores Range: asked for the bytes from %d on, it sends all; it can be read in one go only", off)
		}
	case http.StatusPartialContent:
		from, to, total, err := parseContentRange(res.Header.Get("Content-Range"))
		if err != nil {
			return nil, found, err
		}
		found.Size = total
		if err := expect(id, found); err != nil {
			return nil, found, err
		}
		if s.end = to + 1; from != off {
			return nil, found, fault.New(fault.Invalid, "the server sends another range: asked for bytes from %d on, it sends %d-%d", off, from, to)
		}
		if n := res.ContentLength; n >= 0 && n != s.end-from {
			return nil, found, fault.New(fault.Invalid, "the server sends another length: %d bytes as the range %d-%d", n, from, to)
		}
	default:
		return nil, found, statusFault(res)
	}
	return s, found, expect(id, found)
}

// parseContentRange reads "bytes 0-99/200", RFC 9110 section 14.4; total is -1
// when the server does not know it.
func parseContentRange(s string) (from, to, total int64, err error) {
	bad := func() (int64, int64, int64, error) {
		return 0, 0, 0, fault.New(fault.Invalid, "the server sends a part and names it %q: not a range", s)
	}
	span, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return bad()
	}
	span, whole, ok1 := strings.Cut(span, "/")
	first, last, ok2 := strings.Cut(span, "-")
	from, err1 := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	to, err2 := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || from < 0 || to < from {
		return bad()
	}
	if whole == "*" {
		return from, to, -1, nil
	}
	if total, err = strconv.ParseInt(whole, 10, 64); err != nil || total <= to {
		return bad()
	}
	return from, to, total, nil
}

// stat asks for size, time and ETag without the bytes; with one byte where
// HEAD is refused, as it is by signed URLs, or does not tell the size.
func (f *fetcher) stat(ctx context.Context, path string) (Item, error) {
	res, err := f.do(ctx, http.MethodHead, path, "")
	if err != nil {
		return Item{}, err
	}
	res.Body.Close()
	item := f.itemOf(res, path)
	if res.StatusCode == http.StatusOK && item.Size >= 0 {
		return item, nil
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		return Item{}, statusFault(res)
	}
	if res, err = f.do(ctx, http.MethodGet, path, "bytes=0-0"); err != nil {
		return Item{}, err
	}
	defer res.Body.Close()
	item = f.itemOf(res, path)
	switch res.StatusCode {
	case http.StatusPartialContent:
		_, _, item.Size, err = parseContentRange(res.Header.Get("Content-Range"))
		return item, err
	case http.StatusRequestedRangeNotSatisfiable: // an empty file has no byte 0
		item.Size = 0
		return item, nil
	case http.StatusOK:
		return item, nil
	}
	return Item{}, statusFault(res)
}

// itemOf reads what an answer says of the file.
func (f *fetcher) itemOf(res *http.Response, path string) Item {
	i := Item{Path: path, Size: res.ContentLength}
	if strings.HasSuffix(res.Request.URL.Path, "/") && !strings.HasSuffix(path, "/") {
		i.Kind = KindDir // where the answer came from, behind redirects
	}
	if t, err := http.ParseTime(res.Header.Get("Last-Modified")); err == nil {
		i.ModTime = t.UTC()
	}
	tag := res.Header.Get("ETag")
	if strings.HasPrefix(tag, `"`) { // a weak one (W/"…") does not name bytes
		i.Hash = "etag:" + tag
		if sum := strings.ToLower(strings.Trim(tag, `"`)); f.md5 && isMD5(sum) {
			i.Hash = "md5:" + sum
		}
	}
	return i
}

func isMD5(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

// statusFault is the error of an answer that is none, with the first words of
// its body: S3 says there why.
func statusFault(res *http.Response) error {
	words, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	text := res.Status
	if code := between(string(words), "<Code>", "</Code>"); code != "" {
		text += " (" + code + ")"
	}
	return busyFor(kindOfStatus(res.StatusCode, fmt.Errorf("the server says %s", text)), res.Header)
}

// throttled is an error of a listing with the wait that the server asks for,
// which rclone does not pass on: it is asked once more, for that alone.
func (f *fetcher) throttled(ctx context.Context, path string, err error) error {
	var known throttled
	if f == nil || err == nil || !isBusy(statusOf(err)) || errors.As(err, &known) {
		return err
	}
	res, asked := f.do(ctx, http.MethodHead, path, "")
	if asked != nil {
		return err
	}
	defer res.Body.Close()
	if isBusy(res.StatusCode) {
		return busyFor(err, res.Header)
	}
	return err
}

// isBusy reports whether a server says that it is to be asked later.
func isBusy(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// busyFor is an error with the wait that its answer names, if it does.
func busyFor(err error, answer http.Header) error {
	if after := retryAfter(answer.Get("Retry-After")); after > 0 {
		return throttled{err, after}
	}
	return err
}

func between(s, from, to string) string {
	_, s, ok := strings.Cut(s, from)
	s, _, ok2 := strings.Cut(s, to)
	if !ok || !ok2 {
		return ""
	}
	return s
}

func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return time.Until(t)
	}
	return 0
}
