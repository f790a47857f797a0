package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
)

// patience is how long a stream may stand still before it is given up.
const patience = 2 * time.Minute

type upload struct {
	Exchange
	Name    string `query:"name" maxLength:"1024" doc:"default: the file's name in a form, or the first directory's"`
	Profile string `query:"profile" doc:"import profile that decides the CID; default unixfs-v1-2025"`
	Tree    bool   `query:"tree" doc:"a form with one file is a directory with one file too"`
}

func (d *door) uploadRoute() {
	add(d, route{
		id: "addContent", method: http.MethodPost, path: "/v1/contents", tag: "content", scope: account.WriteContent, status: http.StatusCreated,
		summary: "Store a file or a tree", detail: uploadDetail,
	}, func(ctx context.Context, g account.Grant, in *upload) (*body[client.Content], error) {
		c, err := d.receive(ctx, g, in)
		if err != nil {
			return nil, err
		}
		out, err := d.content(ctx, d.counter(), c)
		return &body[client.Content]{out}, err
	})
}

const uploadDetail = "The body is streamed and may be of any size; 201 means that it is durable.\n\n" +
	"A body of any type but `multipart/form-data` is one file. A form is a tree: each part is a file, and its `filename` (or " +
	"`filename*`, RFC 5987) is its slash-separated path in the tree. A part of type `application/x-directory` is a directory, " +
	"needed only for empty ones; one of type `application/symlink` is a symbolic link whose body is its target. A form of one " +
	"file with no directory in its path is just that file, unless `tree` is true.\n\n" +
	"An upload that breaks off leaves a content in state `failed` with the reason."

// receive stores what the request carries.
func (d *door) receive(ctx context.Context, g account.Grant, in *upload) (content.Content, error) {
	from := &arriving{body: in.request.Body, control: http.NewResponseController(in.answer)}
	defer from.end()
	c, err := d.take(ctx, content.Add{Project: g.Project, Name: in.Name, Profile: in.Profile}, in, from)
	if err != nil {
		partSlowly(in.answer)
	}
	return c, err
}

// partSlowly has the connection closed after the answer, and only some time
// after: a client that still sends would otherwise be reset, and a reset throws
// away an answer that was not read yet.
func partSlowly(w http.ResponseWriter) {
	for {
		wrapped, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapped.Unwrap()
	}
	// net/http does it where a limit on the body was passed.
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}

func (d *door) take(ctx context.Context, a content.Add, in *upload, from io.Reader) (content.Content, error) {
	media, params, err := mime.ParseMediaType(in.request.Header.Get("Content-Type"))
	if err != nil && in.request.Header.Get("Content-Type") != "" {
		return content.Content{}, fault.New(fault.Invalid, "content type: %w", err)
	}
	if encoding := in.request.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return content.Content{}, fault.New(fault.Invalid, "content encoding %q: send the bytes as they are to be stored", encoding)
	}
	if media != "multipart/form-data" {
		return d.Contents.AddFile(ctx, a, from)
	}
	f, err := openForm(from, params["boundary"])
	if err != nil {
		return content.Content{}, err
	}
	if f.ahead == nil && !in.Tree {
		return content.Content{}, fault.New(fault.Invalid, "form: has no file; an empty directory needs ?tree=true")
	}
	a.Plain = !in.Tree
	if a.Name == "" && f.ahead != nil {
		a.Name, _, _ = strings.Cut(f.ahead.path, "/")
	}
	return d.Contents.AddTree(ctx, a, f.entries())
}

// arriving is a body on its way in. It may take as long as it likes, but not
// stand still, and what is wrong with it is not our fault.
type arriving struct {
	body    io.Reader
	control *http.ResponseController
	renew   time.Time
}

func (a *arriving) Read(p []byte) (int, error) {
	if now := time.Now(); now.After(a.renew) {
		_ = a.control.SetReadDeadline(now.Add(patience)) // a test's recorder has none
		a.renew = now.Add(patience / 8)
	}
	n, err := a.body.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fault.New(fault.Unavailable, "no byte of the upload came for %s", patience)
	}
	return n, fault.Mark(fault.Unavailable, err)
}

// end takes the time limit off the connection.
func (a *arriving) end() { _ = a.control.SetReadDeadline(time.Time{}) }
