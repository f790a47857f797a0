package source

import (
	"context"

	"github.com/firth-project/firth/base/fault"
)

// Source is an opened source. Its methods may be called from several
// goroutines.
type Source struct {
	spec Spec
	tree tree
}

// tree is what a back end does. Paths are those of its items.
type tree interface {
	// walk visits the items behind after in the order of Source.Walk; an error
	// of visit ends it and is returned as it is.
	walk(ctx context.Context, after string, m *matcher, visit func(Item) error) error
	// open returns the content of a file whose version is id, or any when id
	// is empty.
	open(ctx context.Context, path, id string) (content, Item, error)
	// current is Source.Current.
	current(ctx context.Context) error
	close() error
}

// content is the bytes of one version of one file.
type content interface {
	ReadAt(p []byte, off int64) (int, error)
	check(ctx context.Context) error
	Close() error
}

// Open makes a source ready: it looks whether the root is there and may be
// read. Errors: Invalid for a URL or option that cannot work, NotFound,
// Forbidden, Unavailable when nobody answers after the retries.
func Open(ctx context.Context, spec Spec) (*Source, error) {
	ctx = naming(ctx, "source %s", hidePassword(spec.URL))
	t, err := openTree(ctx, spec)
	if err != nil {
		return nil, fault.Wrap(err, "source %s", hidePassword(spec.URL))
	}
	return &Source{spec: spec, tree: t}, nil
}

func openTree(ctx context.Context, spec Spec) (tree, error) {
	p, err := parseURL(spec.URL)
	if err != nil {
		return nil, err
	}
	settings, options, err := readOptions(p, spec.Options)
	if err != nil {
		return nil, err
	}
	switch p.kind {
	case "local":
		return openLocal(ctx, p.path, settings.timeout, settings.stall)
	case "http":
		return openWeb(ctx, p.path, options, settings)
	}
	return openRemote(ctx, p, options, settings)
}

// String shows where the source is, without secrets.
func (s *Source) String() string { return hidePassword(s.spec.URL) }

// Walk visits the items of the source that the filter wants, those whose Key is
// greater than after ("" visits all), in the byte order of their keys: whole
// paths, a directory as "name/", so a directory comes right before what is
// below it. What cannot be read is visited with the reason in Unreadable, and
// the walk goes on. An error of visit ends the walk and is returned; other
// errors are of the source as a whole (Unavailable after the retries,
// Forbidden, NotFound). At most one directory, or one page of a listing, is
// held in memory.
func (s *Source) Walk(ctx context.Context, after string, f Filter, visit func(Item) error) error {
	m, err := newMatcher(f)
	if err != nil {
		return err
	}
	return s.tree.walk(naming(ctx, "source %s", s), after, m, visit)
}

// Open opens a file that Walk visited. With an id, only that version: Conflict
// says that the file has changed since. NotFound says that it is gone,
// Forbidden that it may not be read, Unavailable that the source did not answer
// after the retries, Invalid that the path names something else than a file.
// Reads of a remote file end when ctx does, and so do those of a file on a mount
// that may stop to answer (a network's, FUSE): a read that brings no byte for
// the option "stall", 5 minutes, is Unavailable. At most 32 calls of a source
// that never came back are left behind; then it is Unavailable at once.
func (s *Source) Open(ctx context.Context, path string, id string) (*File, error) {
	c, item, err := s.tree.open(ctx, path, id)
	if err != nil {
		return nil, fault.Wrap(err, "%q", path)
	}
	return &File{content: c, item: item}, nil
}

// Current reports whether the source is what its URL names now. Of a directory
// of this machine it is not when another has come to stand there since it was
// opened: a disk that was mounted, a tree that was moved, a link that points
// elsewhere. That is Conflict, and NotFound where nothing stands; whoever wants
// what is there now opens the source anew. Of sources elsewhere it is always.
func (s *Source) Current(ctx context.Context) error {
	return fault.Wrap(s.tree.current(naming(ctx, "source %s", s)), "source %s", s)
}

// Close lets go of connections, and of the directory, whose disk can be
// unmounted then. Files stay open.
func (s *Source) Close() error { return s.tree.close() }

// changed is the error for a version that is no more.
func changed(want, got string) error {
	return fault.New(fault.Conflict, "changed since the scan: was %s, is %s", want, got)
}
