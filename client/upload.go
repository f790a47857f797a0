package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"time"
)

// AddOptions are what an upload may be told; the zero value is usable.
type AddOptions struct {
	Profile string // import profile; "" is the node's default
}

// EntryKind is what a name in a tree stands for.
type EntryKind int

// The kinds of entry. The zero value is a file.
const (
	File EntryKind = iota
	Directory
	Symlink
)

// Media types of the parts that are no file.
const (
	DirectoryType = "application/x-directory"
	SymlinkType   = "application/symlink" // the body is the target
)

// Entry is one name in a tree. Path is relative and slash-separated; folders
// on the way to it need no entry of their own.
type Entry struct {
	Path   string
	Kind   EntryKind
	Target string    // of a symlink
	Body   io.Reader // of a file; read once, before the next entry is asked for
}

// AddFile stores one file, streamed from r, and returns when it is durable. An
// error of r ends the upload and comes back wrapped; nothing is then kept as
// stored.
func (c *Client) AddFile(ctx context.Context, name string, r io.Reader, o AddOptions) (Content, error) {
	return c.add(ctx, call{
		query: query("name", name, "profile", o.Profile), body: io.NopCloser(r),
		header: http.Header{"Content-Type": {"application/octet-stream"}},
	})
}

// AddTree stores a tree as one content, streamed entry by entry in one request,
// and returns when it is durable. An error among the entries ends the upload
// and comes back wrapped.
func (c *Client) AddTree(ctx context.Context, name string, entries iter.Seq2[Entry, error], o AddOptions) (Content, error) {
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := writeTree(form, entries)
		if err == nil {
			err = form.Close()
		}
		pw.CloseWithError(err)
	}()
	q := query("name", name, "profile", o.Profile)
	q.Set("tree", "true")
	out, err := c.add(ctx, call{query: q, body: pr, header: http.Header{"Content-Type": {form.FormDataContentType()}}})
	pr.CloseWithError(io.ErrClosedPipe) // an early answer lets the writer go
	<-done
	return out, err
}

func (c *Client) add(ctx context.Context, k call) (Content, error) {
	k.method, k.path = http.MethodPost, "/v1/contents"
	k.header.Set("Accept", "application/json")
	k.header.Set("Expect", "100-continue") // so that a refusal is heard before the bytes are sent
	var out Content
	res, err := c.send(ctx, k)
	if err != nil {
		return out, err
	}
	return out, readJSON(res, &out)
}

func writeTree(form *multipart.Writer, entries iter.Seq2[Entry, error]) error {
	for e, err := range entries {
		if err == nil {
			err = writeEntry(form, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeEntry(form *multipart.Writer, e Entry) error {
	media := "application/octet-stream"
	switch e.Kind {
	case Directory:
		media = DirectoryType
	case Symlink:
		media = SymlinkType
	}
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {mime.FormatMediaType("form-data", map[string]string{"name": "file", "filename": e.Path})},
		"Content-Type":        {media},
	})
	switch {
	case err != nil:
		return err
	case e.Kind == Symlink:
		_, err = io.WriteString(part, e.Target)
	case e.Kind == File && e.Body != nil:
		_, err = io.Copy(part, e.Body)
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", e.Path, err)
	}
	return nil
}

// LocalTree yields what is below a local directory in name order: files,
// directories (empty ones too) and symlinks, which are kept and not followed.
// A file is open while it is being yielded, and reading it ends as OpenLocal
// says. Anything else, such as a socket, is an error that names it.
func LocalTree(dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			if err != nil || name == dir {
				return err
			}
			rel, err := filepath.Rel(dir, name)
			if err != nil {
				return err
			}
			more, err := yieldLocal(name, Entry{Path: filepath.ToSlash(rel)}, d.Type(), yield)
			if err == nil && !more {
				return filepath.SkipAll
			}
			return err
		})
		if err != nil {
			yield(Entry{}, err)
		}
	}
}

// yieldLocal yields one local name; more is false when the caller broke off.
func yieldLocal(name string, e Entry, mode os.FileMode, yield func(Entry, error) bool) (more bool, err error) {
	switch {
	case mode.IsDir():
		e.Kind = Directory
	case mode.IsRegular():
		f, err := OpenLocal(name)
		if err != nil {
			return false, err
		}
		defer f.Close()
		e.Body = f
	case mode&os.ModeSymlink != 0:
		e.Kind = Symlink
		if e.Target, err = os.Readlink(name); err != nil {
			return false, err
		}
	default:
		return false, fmt.Errorf("%s: neither file, directory nor symlink (%s)", name, mode)
	}
	return yield(e, nil), nil
}

// ErrChanged is in the chain of an error about a local file that somebody wrote
// to while it was read.
var ErrChanged = errors.New("changed while it was read")

// OpenLocal opens a local file for an upload. Reading it to its end fails with
// ErrChanged, naming the file, when its size or time of change moved since it
// was opened: what was read may be no state the file ever had.
func OpenLocal(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &steadyFile{File: f, size: info.Size(), changed: info.ModTime()}, nil
}

// steadyFile is a file that has to stay as it was when it was opened.
type steadyFile struct {
	*os.File
	size    int64
	changed time.Time
	read    int64
}

func (f *steadyFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	if f.read += int64(n); f.read <= f.size && err != io.EOF {
		return n, err // a file that only grows must not be followed for ever
	}
	if f.read == f.size {
		if info, failed := f.Stat(); failed == nil && info.Size() == f.size && info.ModTime().Equal(f.changed) {
			return n, err
		}
	}
	return n, fmt.Errorf("%s: %w", f.Name(), ErrChanged)
}

// WriteTo hides os.File's, which would read past Read.
func (f *steadyFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}
