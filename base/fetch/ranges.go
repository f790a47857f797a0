package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/firth-project/firth/base/fault"
)

// File reads ranges of the thing at an URL, each with a request of its own. Its
// methods may be called from any number of goroutines.
type File struct {
	ctx     context.Context
	client  *http.Client
	url     string
	size    int64
	version string
}

// OpenFile asks a server for the size of a thing and whether it serves ranges
// of it; where it does not, the error is fault.Invalid.
func OpenFile(ctx context.Context, client *http.Client, url string) (*File, error) {
	if err := check(url); err != nil {
		return nil, err
	}
	res, err := ask(ctx, client, url, http.Header{"Range": {"bytes=0-0"}})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent && res.StatusCode != http.StatusOK {
		return nil, refused(url, res)
	}
	_, total, ok := contentRange(res.Header.Get("Content-Range"))
	if res.StatusCode != http.StatusPartialContent || !ok || total < 0 {
		return nil, fault.New(fault.Invalid, "%s: the server does not serve ranges of it", Shown(url))
	}
	return &File{ctx: ctx, client: client, url: url, size: total, version: versionOf(res.Header)}, nil
}

// Size is the length in bytes.
func (f *File) Size() int64 { return f.size }

// Version names the version that is read, "" where the server does not.
func (f *File) Version() string { return f.version }

// ReadAt implements io.ReaderAt. Bytes of another version than that of OpenFile
// are fault.Conflict.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	want := min(int64(len(p)), f.size-off)
	if want <= 0 {
		return 0, io.EOF
	}
	h := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+want-1)}}
	res, err := ask(f.ctx, f.client, f.url, h)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent {
		return 0, refused(f.url, res)
	}
	from, total, ok := contentRange(res.Header.Get("Content-Range"))
	if !ok || from != off || total != f.size || versionOf(res.Header) != f.version {
		return 0, changed(f.url)
	}
	n, err := io.ReadFull(res.Body, p[:want])
	if err != nil {
		return n, fault.New(fault.Unavailable, "%s: broke off at byte %d: %w", Shown(f.url), off+int64(n), err)
	}
	if want < int64(len(p)) {
		return n, io.EOF
	}
	return n, nil
}
