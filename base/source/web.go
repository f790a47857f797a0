package source

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"

	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/rest"
	"golang.org/x/sync/errgroup"

	"github.com/firth-project/firth/base/fault"
)

// web is a tree of index pages of an HTTP server, or one file there. rclone
// reads the pages; size and time of each file are asked for here, because
// rclone leaves out the files that it gets no answer for.
type web struct {
	*backend
	tree  rclone.Fs // of a directory
	fetch *fetcher
	root  *url.URL // of a directory; of the file otherwise
	file  string   // name of the one file that is the source
}

// webAsks is how many files are asked for their size at once.
const webAsks = 8

func openWeb(ctx context.Context, raw string, options map[string]string, set settings) (*web, error) {
	root, err := url.Parse(raw)
	if err != nil {
		return nil, fault.New(fault.Invalid, "not a URL")
	}
	headers, err := readHeaders(options)
	if err != nil {
		return nil, err
	}
	b, err := newBackend("http", set)
	if err != nil {
		return nil, err
	}
	w := &web{backend: b, root: root}
	client := b.client()
	client.CheckRedirect = keepSecrets(headers)
	w.fetch = &fetcher{client: client, set: set, headers: headers, address: w.address}
	if err := w.look(ctx, headers); err != nil {
		_ = w.close()
		return nil, err
	}
	return w, nil
}

// look finds out whether the root is a file or a directory: a URL that ends in
// "/", or is sent on to one that does, is a directory.
func (w *web) look(ctx context.Context, headers http.Header) (err error) {
	if !strings.HasSuffix(w.root.Path, "/") {
		w.file = path.Base(w.root.Path)
		var found Item
		if err := w.set.try(ctx, func() error {
			found, err = w.fetch.stat(ctx, w.file)
			return err
		}); err != nil {
			return err
		}
		if found.Kind != KindDir {
			return nil
		}
		w.file = ""
		w.root = w.root.JoinPath("/")
	}
	options := map[string]string{"url": w.root.String(), "no_head": "true", "headers": joinHeaders(headers)}
	if w.tree, _, err = w.start(ctx, "", options); err != nil {
		return err
	}
	_, err = w.names(ctx, "")
	return fault.Wrap(err, "list the root")
}

// joinHeaders writes headers as rclone's option.
func joinHeaders(h http.Header) string {
	var list rclone.CommaSepList
	for name, values := range h {
		for _, v := range values {
			list = append(list, name, v)
		}
	}
	return list.String()
}

// keepSecrets follows redirects, but takes no header to another host or out of
// TLS.
func keepSecrets(headers http.Header) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return fault.New(fault.Invalid, "sent on more than 10 times")
		}
		if first := via[0].URL; !rest.SameHost(req.URL, first) || first.Scheme == "https" && req.URL.Scheme != "https" {
			for name := range headers {
				req.Header.Del(name)
			}
		}
		return nil
	}
}

func (w *web) current(context.Context) error { return nil }

func (w *web) close() error { return w.backend.close(w.tree) }

// address is the URL of a path, or of the one file.
func (w *web) address(_ context.Context, at string) (string, error) {
	if w.file != "" {
		return w.root.String(), nil
	}
	u, err := rest.URLJoin(w.root, rest.URLPathEscape(at))
	if err != nil {
		return "", fault.New(fault.Invalid, "no URL can be made of that name")
	}
	return u.String(), nil
}

func (w *web) open(ctx context.Context, at, id string) (content, Item, error) {
	if !wellFormed(at) || w.file != "" && at != w.file {
		return nil, Item{}, fault.New(fault.NotFound, "not in this source")
	}
	return w.fetch.open(ctx, at, id)
}

func (w *web) walk(ctx context.Context, after string, m *matcher, visit func(Item) error) error {
	t := treeWalk{ctx: ctx, m: m, visit: visit, list: w.list}
	if w.file != "" {
		t.list = func(ctx context.Context, _ string) ([]entry, error) {
			e, err := w.ask(ctx, "", w.file)
			return []entry{e}, err
		}
	}
	return t.run(after)
}

// names reads one index page.
func (w *web) names(ctx context.Context, dir string) (out rclone.DirEntries, err error) {
	err = w.set.try(ctx, func() error {
		out, err = w.tree.List(w.with(ctx), dir)
		if err != nil && strings.Contains(err.Error(), "can't parse content type") {
			return fault.New(fault.Invalid, "not an index page: %w", err)
		}
		return w.fetch.throttled(ctx, dir, remoteFault(err))
	})
	return out, err
}

// list tells what one index page links to.
func (w *web) list(ctx context.Context, dir string) ([]entry, error) {
	if depth(dir) > maxDepth {
		return nil, fault.New(fault.Invalid, "lies deeper than %d directories: a circle of links, perhaps", maxDepth)
	}
	names, err := w.names(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := make([]entry, len(names))
	ask, ctx := errgroup.WithContext(ctx)
	ask.SetLimit(webAsks)
	for i, d := range names {
		name := path.Base(d.Remote())
		if _, isFile := d.(rclone.Object); !isFile {
			out[i] = entry{name: name, kind: KindDir}
			continue
		}
		ask.Go(func() (err error) {
			out[i], err = w.ask(ctx, dir, name)
			return err
		})
	}
	return out, ask.Wait()
}

// ask is the entry of one file. The error is of the source, not of the file.
func (w *web) ask(ctx context.Context, dir, name string) (entry, error) {
	if why := oddName(name); why != "" {
		return entry{name: name, bad: true, note: why}, nil
	}
	at := path.Join(dir, name)
	var item Item
	err := w.set.try(ctx, func() (err error) {
		item, err = w.fetch.stat(ctx, at)
		return err
	})
	switch {
	case err != nil && fatal(err):
		return entry{}, fault.Wrap(err, "%q", at)
	case err != nil:
		return entry{name: name, bad: true, note: err.Error()}, nil
	}
	if item.Size < 0 {
		item.Unreadable = "the server does not tell its size"
	}
	item.Path = name
	return entryOf(item), nil
}
