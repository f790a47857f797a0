package indexdag

import (
	"context"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/firth-project/firth/base/fault"
)

const (
	maxGroup    = 128       // small files that are got as one
	maxGap      = 256 << 10 // bytes of other files that may stand between them
	maxFailures = 100       // that are told one by one
)

// Fetched is what came of getting a file or directory.
type Fetched struct {
	Files    int64 // that are there now, those that were before included
	Kept     int64 // of those, that were there before and are right
	Dirs     int64
	Symlinks int64
	Bytes    int64 // of all files that are there now
	Failed   int64
	Failures []Failure // the first hundred
}

// Failure is an entry that was not got.
type Failure struct {
	Path string // in the index
	Err  error
}

// Fetch gets the entry at a path of an index into the directory dir, which is
// made when it is absent: a file or directory under its own name, of the whole
// dataset what is in it. A file appears whole, checked and synced or not at
// all. What is there and has the CID of the index is kept; what is there
// otherwise is Conflict, or replaced when the options say so. Symbolic links
// are made with their targets verbatim and never followed, those found in dir
// neither; times are those of the index, modes are not kept.
//
// What cannot be got does not stop the rest: the error then has the kind of the
// first failure and names it, and Fetched lists them.
func (f *Fetcher) Fetch(ctx context.Context, r *Reader, what, dir string) (Fetched, error) {
	e, err := r.Lookup(ctx, what)
	if err != nil {
		return Fetched{}, err
	}
	h := r.Header()
	if err := f.opens(h); err != nil {
		return Fetched{}, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return Fetched{}, diskError(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Fetched{}, diskError(err)
	}
	defer root.Close()
	t := &fetching{f: f, r: r, h: h, root: root, units: make(chan unit)}
	if e.Path != "" {
		t.cut = len(e.Path) - len(e.Name())
	}
	err = t.run(ctx, e)
	if err == nil && t.got.Failed > 0 {
		first := t.got.Failures[0]
		err = fault.New(fault.KindOf(first.Err), "%d of %d files and directories were not got, such as %.200q: %w",
			t.got.Failed, t.got.Failed+t.got.Files+t.got.Dirs+t.got.Symlinks, first.Path, first.Err)
	}
	return t.got, err
}

// fetching is one Fetch.
type fetching struct {
	f    *Fetcher
	r    *Reader
	h    Header
	root *os.Root
	cut  int // bytes of paths in the index that lead to what is got

	units chan unit
	group unit   // small files that are being gathered
	bad   string // directory that could not be made

	mu  sync.Mutex
	got Fetched
}

// unit is one large file, or some small ones whose blocks stand close together.
type unit struct {
	files []Entry
	run   Range // of several: where they all are
}

func (t *fetching) run(ctx context.Context, e Entry) error {
	g, ctx := errgroup.WithContext(ctx)
	for range streams {
		g.Go(func() error {
			for u := range t.units {
				if err := t.fetch(ctx, u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(t.units)
		err := t.r.walk(ctx, e.Path, func(e Entry) error { return t.entry(ctx, e) }, func(dir Entry, err error) error {
			t.fail(dir, err)
			return nil
		})
		if err != nil {
			return err
		}
		return t.flush(ctx)
	})
	return g.Wait()
}

// local is where an entry goes, below root.
func (t *fetching) local(e Entry) string { return e.Path[t.cut:] }

// entry makes a directory or link, or has a file got.
func (t *fetching) entry(ctx context.Context, e Entry) error {
	if t.bad != "" && strings.HasPrefix(e.Path, t.bad) {
		t.fail(e, fault.New(fault.Conflict, "its directory could not be made"))
		return nil
	}
	switch {
	case e.Path == "":
		return nil
	case e.Kind == Dir:
		err := t.mkdir(t.local(e))
		if err != nil {
			t.bad = e.Path + "/"
		}
		t.count(e, err, func(g *Fetched) { g.Dirs++ })
		return nil
	case e.Kind == Symlink:
		t.count(e, t.symlink(e), func(g *Fetched) { g.Symlinks++ })
		return nil
	}
	if t.joins(e) {
		t.group.run.Length = e.Sources[0].CAR[0].Offset + e.Sources[0].CAR[0].Length - t.group.run.Offset
		t.group.files = append(t.group.files, e)
		return nil
	}
	if err := t.flush(ctx); err != nil {
		return err
	}
	t.group = unit{files: []Entry{e}}
	if groupable(e) {
		t.group.run = e.Sources[0].CAR[0]
		return nil
	}
	return t.flush(ctx)
}

// groupable tells a file that is one run of a CAR, and not a long one.
func groupable(e Entry) bool {
	if e.link.Defined() || len(e.Sources) != 1 {
		return false
	}
	s := e.Sources[0]
	return len(s.CAR) == 1 && len(s.Selector) == 0 && s.Piece.Defined() && s.span() <= small/8 && s.Offset == 0 && s.Length == e.stored()
}

// joins reports whether a file stands close behind those that are gathered.
func (t *fetching) joins(e Entry) bool {
	n := len(t.group.files)
	if n == 0 || n == maxGroup || !groupable(e) {
		return false
	}
	s, end := e.Sources[0], t.group.run.Offset+t.group.run.Length
	return s.Piece == t.group.files[0].Sources[0].Piece && s.CAR[0].Offset >= end && s.CAR[0].Offset-end <= maxGap &&
		s.CAR[0].Offset+s.CAR[0].Length-t.group.run.Offset <= small
}

// flush hands on what was gathered.
func (t *fetching) flush(ctx context.Context) error {
	if len(t.group.files) == 0 {
		return nil
	}
	u := t.group
	t.group = unit{}
	select {
	case t.units <- u:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *fetching) fail(e Entry, err error) { t.count(e, err, nil) }

// count remembers what came of an entry.
func (t *fetching) count(e Entry, err error, well func(*Fetched)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		well(&t.got)
		return
	}
	t.got.Failed++
	if len(t.got.Failures) < maxFailures {
		t.got.Failures = append(t.got.Failures, Failure{e.Path, err})
	}
}

// fetch gets the files of a unit. Its error ends everything.
func (t *fetching) fetch(ctx context.Context, u unit) error {
	missing := u.files[:0:0]
	for _, e := range u.files {
		there, err := t.there(ctx, e)
		if err == nil && !there {
			missing = append(missing, e)
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.count(e, err, func(g *Fetched) { g.Files++; g.Kept++; g.Bytes += e.Size })
	}
	if len(missing) == 0 {
		return nil
	}
	var held map[cid.Cid][]byte
	if len(missing) > 1 {
		var err error
		if held, err = t.f.hold(ctx, missing[0].Sources[0].Piece, []Range{u.run}); err != nil {
			return err
		}
	}
	made := make([]*outFile, len(missing))
	for i, e := range missing {
		var err error
		if made[i], err = t.make(ctx, e, held); err != nil {
			if ctx.Err() != nil {
				discard(made)
				return ctx.Err()
			}
			t.fail(e, err)
		}
	}
	t.publish(missing, made)
	return nil
}

// publish syncs files and gives them their names, then syncs the directories.
func (t *fetching) publish(entries []Entry, made []*outFile) {
	var synced sync.WaitGroup
	errs := make([]error, len(made))
	for i, out := range made {
		if out != nil {
			synced.Go(func() { errs[i] = out.sync(entries[i]) })
		}
	}
	synced.Wait()
	dirs := map[string]bool{}
	for i, out := range made {
		if out == nil {
			continue
		}
		err := errs[i]
		if err == nil {
			err = t.name(out)
		}
		if err != nil {
			out.discard()
		}
		out.f.Close()
		dirs[path.Dir(out.path)] = true
		t.count(entries[i], err, func(g *Fetched) { g.Files++; g.Bytes += entries[i].Size })
	}
	for dir := range dirs {
		if err := t.syncDir(dir); err != nil {
			t.fail(Entry{Path: dir}, fmt.Errorf("sync: %w", err))
		}
	}
}
