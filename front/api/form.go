package api

import (
	"errors"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/content"
)

// maxTarget bounds the target of a symbolic link, in bytes; Linux has it so.
const maxTarget = 4096

// form is a tree as multipart/form-data (RFC 7578). One part is looked at ahead;
// none is held in memory.
type form struct {
	parts *multipart.Reader
	ahead *formPart // the next part; nil at the end
	count int
}

// formPart is a part with its path.
type formPart struct {
	path string
	kind content.Kind
	body io.Reader
}

func openForm(r io.Reader, boundary string) (*form, error) {
	if boundary == "" {
		return nil, fault.New(fault.Invalid, "content type multipart/form-data: has no boundary")
	}
	f := &form{parts: multipart.NewReader(r, boundary)}
	return f, f.advance()
}

// advance looks at the next part.
func (f *form) advance() error {
	f.ahead = nil
	// NextRawPart: what a part says of its transfer encoding is not ours to undo.
	p, err := f.parts.NextRawPart()
	switch {
	case err == io.EOF:
		return nil
	case errors.Is(err, io.EOF):
		return fault.New(fault.Invalid, "form: ends before its last boundary, after %d parts: %w", f.count, io.ErrUnexpectedEOF)
	case known(err):
		return err
	case err != nil:
		return fault.New(fault.Invalid, "form: after %d parts: %w", f.count, err)
	}
	f.count++
	path, err := pathOf(p.Header.Get("Content-Disposition"))
	if err != nil {
		return fault.Wrap(err, "form: part %d", f.count)
	}
	f.ahead = &formPart{path: path, body: partBody{p}}
	switch media, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); media {
	case client.DirectoryType:
		f.ahead.kind, f.ahead.path = content.Directory, strings.TrimSuffix(path, "/")
	case client.SymlinkType:
		f.ahead.kind = content.Symlink
	}
	return nil
}

// known reports whether an error already says of what kind it is.
func known(err error) bool {
	var classified *fault.Error
	return errors.As(err, &classified)
}

// pathOf returns a part's path. multipart.Part.FileName would cut its
// directories off. Where there are two spellings filename* holds, RFC 6266.
func pathOf(disposition string) (string, error) {
	kind, params, err := mime.ParseMediaType(disposition)
	switch {
	case err != nil:
		return "", fault.New(fault.Invalid, "Content-Disposition %.200q: %w", disposition, err)
	case kind != "form-data":
		return "", fault.New(fault.Invalid, "Content-Disposition is %.40q, want form-data", kind)
	case params["filename"] == "":
		return "", fault.New(fault.Invalid, "field %.200q has no filename; name and profile go into the query", params["name"])
	}
	return params["filename"], nil
}

// partBody is a part's bytes; a form that ends within them is a broken form.
type partBody struct{ r io.Reader }

func (b partBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF && !known(err) {
		err = fault.New(fault.Invalid, "form: %w", err)
	}
	return n, err
}

// entries yields the parts in order, each valid until the next.
func (f *form) entries() iter.Seq2[content.Entry, error] {
	return func(yield func(content.Entry, error) bool) {
		for f.ahead != nil {
			e, err := f.ahead.entry()
			if !yield(e, err) || err != nil {
				return
			}
			if err := f.advance(); err != nil {
				yield(content.Entry{}, err)
				return
			}
		}
	}
}

func (p *formPart) entry() (content.Entry, error) {
	e := content.Entry{Path: p.path, Kind: p.kind}
	switch p.kind {
	case content.File:
		e.Body = p.body
	case content.Symlink:
		target, err := io.ReadAll(io.LimitReader(p.body, maxTarget+1))
		if err == nil && (len(target) == 0 || len(target) > maxTarget) {
			err = fault.New(fault.Invalid, "%q: target must have 1 to %d bytes", p.path, maxTarget)
		}
		if err != nil {
			return e, fault.Wrap(err, "form")
		}
		e.Target = string(target)
	}
	return e, nil
}
