package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"filippo.io/age"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
)

// fromFlags name the places that an index and the files of its dataset are got
// from, where no node is asked.
type fromFlags struct {
	From []string `help:"Ask no node: get it by the index of its dataset from these places, tried in this order: URLs of piece servers, gateways or storage providers, and directories of CARs." placeholder:"URL|DIR"`
	DNS  string   `name:"dns" help:"With --from: the DNS server that knows a domain; default is the system's." placeholder:"HOST:PORT"`
}

// open returns the index that ref means and the path in it.
func (f *fromFlags) open(ctx context.Context, ref string, o indexdag.FetchOptions) (*indexdag.Fetcher, *indexdag.Reader, string, error) {
	var places []indexdag.Place
	for _, where := range f.From {
		p, err := indexdag.OpenPlace(where, nil)
		if err != nil {
			return nil, nil, "", fault.Wrap(err, "--from")
		}
		places = append(places, p)
	}
	fetcher, err := indexdag.NewFetcher(places, o)
	if err != nil {
		return nil, nil, "", err
	}
	root, path, err := indexdag.Resolve(ctx, places, f.resolver(), ref)
	if err != nil {
		return nil, nil, "", err
	}
	r, err := indexdag.Open(ctx, fetcher, root)
	return fetcher, r, path, err
}

func (f *fromFlags) resolver() *net.Resolver {
	if f.DNS == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, f.DNS)
	}}
}

// identities reads the keys that open encrypted datasets.
func (g *getCmd) identities() (all []age.Identity, err error) {
	for _, name := range g.Identity {
		file, err := os.Open(name)
		if err != nil {
			return nil, pathFault(name, err)
		}
		ids, err := age.ParseIdentities(io.LimitReader(file, 1<<20))
		file.Close()
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: holds no age key: %w", name, err)
		}
		all = append(all, ids...)
	}
	return all, nil
}

// fetched is the JSON contract of `firth get --from`.
type fetched struct {
	Index    string    `json:"index"`
	Path     string    `json:"path"`
	Output   string    `json:"output"`
	Files    int64     `json:"files"`
	Kept     int64     `json:"kept"` // of the files, those that were there already
	Dirs     int64     `json:"dirs"`
	Symlinks int64     `json:"symlinks"`
	Bytes    int64     `json:"bytes"`
	Failed   int64     `json:"failed"`
	Failures []unlucky `json:"failures"` // the first hundred
}

type unlucky struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// fetch gets a file or directory by the index of its dataset.
func (g *getCmd) fetch(call *call) error {
	if g.Provider != "" {
		return fault.New(fault.Invalid, "--provider asks the node for a provider; with --from, name the provider's URL there")
	}
	if g.Range != "" && g.Output != "-" {
		return fault.New(fault.Invalid, "--range writes to standard output; say so with -o -")
	}
	keys, err := g.identities()
	if err != nil {
		return err
	}
	p := &progress{}
	f, r, path, err := g.open(call.ctx, g.Ref, indexdag.FetchOptions{
		Overwrite: g.Force, Identities: keys, Progress: func(n int64) { p.add(n) },
	})
	if err != nil {
		return interrupted(err)
	}
	e, err := r.Lookup(call.ctx, path)
	if err != nil {
		return interrupted(err)
	}
	*p = *call.progress(plain(g.Ref), e.Size)
	defer p.done()
	if g.Range != "" {
		return g.toRange(call, f, r, e)
	}
	if g.Output == "-" {
		return g.toOutput(call, f, r, e)
	}
	got, err := f.Fetch(call.ctx, r, path, g.Output)
	p.done()
	return errors.Join(g.tell(call, r, e, got), interrupted(err))
}

func (g *getCmd) tell(call *call, r *indexdag.Reader, e indexdag.Entry, got indexdag.Fetched) error {
	if call.global.JSON {
		out := fetched{
			Index: r.Root().String(), Path: e.Path, Output: g.Output, Files: got.Files, Kept: got.Kept, Dirs: got.Dirs,
			Symlinks: got.Symlinks, Bytes: got.Bytes, Failed: got.Failed, Failures: []unlucky{},
		}
		for _, f := range got.Failures {
			out.Failures = append(out.Failures, unlucky{f.Path, f.Err.Error()})
		}
		return call.printJSON(out)
	}
	for _, f := range got.Failures {
		fmt.Fprintf(call.err, "%s: %s\n", plain(f.Path), plain(f.Err.Error()))
	}
	if more := got.Failed - int64(len(got.Failures)); more > 0 {
		fmt.Fprintf(call.err, "(and %d more)\n", more)
	}
	kept := ""
	if got.Kept > 0 {
		kept = fmt.Sprintf(", %d of them there already", got.Kept)
	}
	_, err := fmt.Fprintf(call.out, "%s  (%s, %s, every block verified%s)\n", g.Output, plural(int(got.Files), "file"), size(got.Bytes), kept)
	return err
}

// toOutput writes a file to standard output, after all of it was checked.
func (g *getCmd) toOutput(call *call, f *indexdag.Fetcher, r *indexdag.Reader, e indexdag.Entry) (err error) {
	if e.Kind != indexdag.File {
		return fault.New(fault.Invalid, "%s: is no file, standard output takes one; name a directory with -o", g.Ref)
	}
	dir, err := os.MkdirTemp("", "firth-get-*")
	if err != nil {
		return pathFault(os.TempDir(), err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if _, err := f.Fetch(call.ctx, r, e.Path, dir); err != nil {
		return interrupted(err)
	}
	file, err := os.Open(filepath.Join(dir, e.Name()))
	if err != nil {
		return pathFault(dir, err)
	}
	defer file.Close()
	_, err = io.Copy(call.out, file)
	return fault.Wrap(err, "write to standard output")
}

// toRange writes bytes of a file to standard output.
func (g *getCmd) toRange(call *call, f *indexdag.Fetcher, r *indexdag.Reader, e indexdag.Entry) error {
	first, last, found := strings.Cut(g.Range, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	end := e.Size - 1
	if err == nil && last != "" {
		end, err = strconv.ParseInt(last, 10, 64)
	}
	if err != nil || !found || from < 0 || end < from-1 {
		return fault.New(fault.Invalid, "--range %q: give the first and the last byte, such as 0-1023, or 1024-", g.Range)
	}
	return interrupted(f.FetchRange(call.ctx, r, e.Path, from, min(end, e.Size-1)-from+1, call.out))
}

func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return fault.New(fault.Unavailable, "interrupted; the same command goes on from here (%w)", context.Canceled)
	}
	return err
}

// listed is the JSON contract of an entry of `firth ls REF --from`.
type listed struct {
	Path   string `json:"path"`
	Type   string `json:"type"` // file, dir or link
	Size   int64  `json:"size"`
	Files  int64  `json:"files,omitempty"` // beneath a directory
	CID    string `json:"cid,omitempty"`
	Target string `json:"target,omitempty"`
}

// listPage is how many entries of a directory are asked for at a time.
const listPage = 1000

// list prints what is in a directory of an index.
func (l *lsCmd) list(call *call) error {
	_, r, path, err := l.open(call.ctx, l.Ref, indexdag.FetchOptions{})
	if err != nil {
		return interrupted(err)
	}
	entries := entriesOf(call.ctx, r, path)
	if call.global.JSON {
		return interrupted(call.array(func(emit func(any) error) error {
			return upTo(l.Limit, entries, func(e indexdag.Entry) error {
				cid := ""
				if e.Cid.Defined() {
					cid = e.Cid.String()
				}
				return emit(listed{e.Path, e.Kind.String(), e.Size, e.Files, cid, e.Target})
			}, nil)
		}))
	}
	limit := l.Limit
	if limit < 0 {
		limit = tableLimit
	}
	w := tabwriter.NewWriter(call.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TYPE\tSIZE\tFILES\tNAME")
	err = upTo(limit, entries, func(e indexdag.Entry) error {
		name, files := e.Name(), "-"
		switch e.Kind {
		case indexdag.Symlink:
			name += " -> " + e.Target
		case indexdag.Dir:
			files = fmt.Sprint(e.Files)
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Kind, size(e.Size), files, plain(name))
		return err
	}, func() { fmt.Fprintf(call.err, "(the first %d; --limit 0 shows all)\n", limit) })
	return interrupted(errors.Join(err, w.Flush()))
}

// entriesOf yields a file, or the entries of a directory.
func entriesOf(ctx context.Context, r *indexdag.Reader, path string) iter.Seq2[indexdag.Entry, error] {
	return func(yield func(indexdag.Entry, error) bool) {
		e, err := r.Lookup(ctx, path)
		if err != nil || e.Kind != indexdag.Dir {
			yield(e, err)
			return
		}
		for after, more := "", true; more; {
			page, err := r.List(ctx, path, after, listPage)
			if err != nil {
				yield(indexdag.Entry{}, err)
				return
			}
			for _, e := range page {
				after = e.Key()
				if !yield(e, nil) {
					return
				}
			}
			more = len(page) == listPage
		}
	}
}
