package indexdag

import (
	"context"
	"iter"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

const (
	keptPages = 16         // pages a Reader remembers
	maxDirs   = 10_000_000 // directories one Walk enters: shared nodes let a few blocks describe more
	maxPages  = 1 << 20    // pages of sources or pieces that are read, for the same reason
)

// Reader reads an index, one block at a time. Its memory is 16 pages, some
// 8 MiB. Methods may be called from several goroutines.
type Reader struct {
	g      dag.Getter
	root   cid.Cid
	header Header
	tree   Entry // the root directory
	pieces cid.Cid

	mu   sync.Mutex
	kept []keptPage // the one used last at the end
}

type keptPage struct {
	c cid.Cid
	p *page
}

// Open reads the root of an index. What is none is Invalid; a block that is
// missing is NotFound and named.
func Open(ctx context.Context, g dag.Getter, root cid.Cid) (*Reader, error) {
	r := &Reader{g: g, root: root}
	p, err := r.load(ctx, root)
	if err != nil {
		return nil, fault.Wrap(err, "open index %s", root)
	}
	r.tree = Entry{Kind: Dir, link: root}
	switch {
	case p.kind == "dataset":
		r.header, r.pieces = p.header, p.pieces
		r.tree = Entry{Kind: Dir, link: p.tree, Cid: p.header.Root, Size: p.header.Bytes, Files: p.header.Files}
	case p.old != nil && !p.old.isFile():
		r.header.Bytes, r.tree.Size = p.old.size, p.old.size
	default:
		return nil, fault.New(fault.Invalid, "open index %s: is a node of an index, not its root", root)
	}
	return r, nil
}

// Root returns the CID of the index.
func (r *Reader) Root() cid.Cid { return r.root }

// Header returns what the index says of the dataset; Version is 0 of an index
// of Singularity v1, which says little.
func (r *Reader) Header() Header { return r.header }

// load fetches and parses a node.
func (r *Reader) load(ctx context.Context, c cid.Cid) (*page, error) {
	r.mu.Lock()
	i := slices.IndexFunc(r.kept, func(k keptPage) bool { return k.c == c })
	if i >= 0 {
		k := r.kept[i]
		r.kept = append(slices.Delete(r.kept, i, i+1), k)
		r.mu.Unlock()
		return k.p, nil
	}
	r.mu.Unlock()
	if c.Type() != cid.DagCBOR {
		return nil, fault.New(fault.Invalid, "block %s: not an index node, codec %#x", c, c.Type())
	}
	b, err := r.g.Get(ctx, c)
	if ipld.IsNotFound(err) && !fault.Is(err, fault.NotFound) {
		err = fault.Mark(fault.NotFound, err)
	}
	if err != nil {
		return nil, fault.Wrap(err, "block %s", c)
	}
	if len(b.RawData()) > dag.MaxBlockSize {
		return nil, fault.New(fault.Invalid, "block %s: %d bytes, limit %d", c, len(b.RawData()), dag.MaxBlockSize)
	}
	p, err := parsePage(b.RawData())
	if err != nil {
		return nil, fault.Wrap(err, "block %s", c)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) == keptPages {
		r.kept = slices.Delete(r.kept, 0, 1)
	}
	r.kept = append(r.kept, keptPage{c, p})
	return p, nil
}

// entries returns the first page of a directory.
func (r *Reader) entries(ctx context.Context, e Entry) (*page, error) {
	if e.below != nil {
		return e.below, nil
	}
	p, err := r.load(ctx, e.link)
	if err == nil && p.kind != Dir.String() {
		err = fault.New(fault.Invalid, "block %s: %s of an index where a directory should be", e.link, p.kind)
	}
	return p, err
}

// child loads page i below p and holds it to what p says of it.
func (r *Reader) child(ctx context.Context, p *page, i, height int) (*page, error) {
	l := p.pages[i]
	if height == maxHeight {
		return nil, fault.New(fault.Invalid, "block %s: more than %d pages above it", l.link, maxHeight)
	}
	below, err := r.load(ctx, l.link)
	if err != nil {
		return nil, err
	}
	if below.kind != p.kind || below.old != nil || p.kind == Dir.String() && below.first() != l.first {
		return nil, fault.New(fault.Invalid, "block %s: is not the page of an index it is said to be", l.link)
	}
	return below, nil
}

// find looks an entry up by its key: one block a level of pages.
func (r *Reader) find(ctx context.Context, p *page, key string) (Entry, bool, error) {
	for height := 0; len(p.pages) > 0; height++ {
		i := sort.Search(len(p.pages), func(i int) bool { return p.pages[i].first > key }) - 1
		if i < 0 {
			return Entry{}, false, nil
		}
		var err error
		if p, err = r.child(ctx, p, i, height); err != nil {
			return Entry{}, false, err
		}
	}
	i, ok := slices.BinarySearchFunc(p.entries, key, func(e Entry, key string) int { return strings.Compare(e.Key(), key) })
	if !ok {
		return Entry{}, false, nil
	}
	return p.entries[i], true, nil
}

// step finds the entry of a name in a directory.
func (r *Reader) step(ctx context.Context, dir Entry, name string) (Entry, error) {
	p, err := r.entries(ctx, dir)
	if err != nil {
		return Entry{}, err
	}
	for _, key := range []string{name, name + "/"} {
		e, ok, err := r.find(ctx, p, key)
		if ok && e.Kind == unread {
			e, err = r.settle(ctx, e)
		}
		if ok || err != nil {
			return e, err
		}
	}
	return Entry{}, fault.New(fault.NotFound, "%.200q: not in the index", name)
}

// settle reads what an entry of version 1 is.
func (r *Reader) settle(ctx context.Context, e Entry) (Entry, error) {
	p, err := r.load(ctx, e.link)
	if err != nil {
		return Entry{}, err
	}
	is, err := p.oldEntry(e.Path)
	is.below = nil
	if is.Kind == Dir {
		is.link = e.link
	}
	return is, err
}

// Lookup returns the entry at a path; empty steps count for nothing, and ""
// is the root. It reads a block for each page on the way, so of a directory of
// any size at most a few. What is not there, or is below what is no directory,
// is NotFound. Links are not followed.
func (r *Reader) Lookup(ctx context.Context, path string) (Entry, error) {
	at, names := r.tree, []string{}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if len(names) == pathsDeep {
			return Entry{}, fault.New(fault.Invalid, "path %.40q…: more than %d names deep", path, pathsDeep)
		}
		if at.Kind != Dir {
			return Entry{}, fault.New(fault.NotFound, "%.200q: %.200q is not a directory", path, strings.Join(names, "/"))
		}
		next, err := r.step(ctx, at, name)
		if err != nil {
			return Entry{}, fault.Wrap(err, "look up %.200q", path)
		}
		at, names = next, append(names, name)
	}
	at.Path = strings.Join(names, "/")
	return at, nil
}

// List returns at most limit entries of the directory at a path whose keys are
// behind after, in their order; "" begins, and the Key of the last one
// continues.
func (r *Reader) List(ctx context.Context, path, after string, limit int) ([]Entry, error) {
	dir, err := r.Lookup(ctx, path)
	if err != nil {
		return nil, err
	}
	if dir.Kind != Dir {
		return nil, fault.New(fault.Invalid, "list %.200q: is not a directory", path)
	}
	var out []Entry
	err = r.each(ctx, dir, after, func(e Entry) (bool, error) {
		if len(out) < limit {
			out = append(out, e)
		}
		return len(out) < limit, nil
	}, strict)
	return out, fault.Wrap(err, "list %.200q", path)
}

// strict lets no part of an index be unreadable.
func strict(err error) error { return err }

// each visits the entries of a directory behind a key. What cannot be read of
// the directory is broken's to judge: without an error from it, the rest is
// visited.
func (r *Reader) each(ctx context.Context, dir Entry, after string, visit func(Entry) (more bool, err error), broken func(error) error) error {
	judge := func(err error) error {
		if err == nil || ctx.Err() != nil {
			return err
		}
		return broken(fault.Wrap(err, "index of directory %.200q", "/"+dir.Path))
	}
	p, err := r.entries(ctx, dir)
	if err == nil && p.old != nil {
		p, err = r.settled(ctx, p)
	}
	if err != nil {
		return judge(err)
	}
	prefix := dir.Path
	if prefix != "" {
		prefix += "/"
	}
	_, err = r.eachOf(ctx, p, 0, after, func(e Entry) (bool, error) {
		if after != "" && e.Key() <= after { // also holds pages to their order
			return false, fault.New(fault.Invalid, "directory %.200q: %.80q behind %.80q", dir.Path, e.Key(), after)
		}
		after = e.Key()
		e.Path = prefix + e.Path
		return visit(e)
	}, judge)
	return err
}

func (r *Reader) eachOf(ctx context.Context, p *page, height int, after string, visit func(Entry) (bool, error), broken func(error) error) (bool, error) {
	from := max(0, sort.Search(len(p.pages), func(i int) bool { return p.pages[i].first > after })-1)
	for i := from; i < len(p.pages); i++ {
		below, err := r.child(ctx, p, i, height)
		if err != nil {
			if err := broken(err); err != nil {
				return false, err
			}
			continue
		}
		if more, err := r.eachOf(ctx, below, height+1, after, visit, broken); !more || err != nil {
			return false, err
		}
	}
	from = sort.Search(len(p.entries), func(i int) bool { return p.entries[i].Key() > after })
	if after == "" {
		from = 0
	}
	for _, e := range p.entries[from:] {
		if more, err := visit(e); !more || err != nil {
			return false, err
		}
	}
	return true, ctx.Err()
}

// settled is a page of version 1 whose every entry is known.
func (r *Reader) settled(ctx context.Context, p *page) (*page, error) {
	out := &page{kind: p.kind, old: p.old, entries: slices.Clone(p.entries)}
	for i, e := range out.entries {
		if e.Kind != unread {
			continue
		}
		is, err := r.settle(ctx, e)
		if err != nil {
			return nil, fault.Wrap(err, "%.80q", e.Path)
		}
		out.entries[i] = is
	}
	slices.SortFunc(out.entries, func(a, b Entry) int { return strings.Compare(a.Key(), b.Key()) })
	return out, nil
}

// Walk visits the entry at a path and everything beneath, in byte order of
// whole paths, directories before what is in them. An error of visit ends it
// and comes back unchanged. An index that has more in it than it says is
// Invalid.
func (r *Reader) Walk(ctx context.Context, path string, visit func(Entry) error) error {
	return r.walk(ctx, path, visit, func(_ Entry, err error) error { return err })
}

// walk is Walk, where broken judges what cannot be read of a directory.
func (r *Reader) walk(ctx context.Context, path string, visit func(Entry) error, broken func(dir Entry, err error) error) error {
	e, err := r.Lookup(ctx, path)
	if err != nil {
		return err
	}
	w := walk{r: r, visit: visit, broken: broken, files: math.MaxInt64, dirs: maxDirs}
	if r.header.Version == formatOurs && e.Kind == Dir {
		w.files = e.Files
	}
	return w.enter(ctx, e, 0)
}

type walk struct {
	r           *Reader
	visit       func(Entry) error
	broken      func(Entry, error) error
	files, dirs int64 // that may still come
}

func (w *walk) enter(ctx context.Context, e Entry, depth int) error {
	if err := w.visit(e); err != nil || e.Kind != Dir {
		return err
	}
	if depth == pathsDeep || len(e.Path) > maxPath {
		return fault.New(fault.Invalid, "path %.40q…: %d names and %d bytes, limits %d and %d", e.Path, depth, len(e.Path), pathsDeep, maxPath)
	}
	return w.r.each(ctx, e, "", func(in Entry) (bool, error) {
		left := &w.files
		if in.Kind == Dir {
			left = &w.dirs
		}
		if *left--; *left < 0 {
			return false, fault.New(fault.Invalid, "index %s: has more in it than it says", w.r.root)
		}
		return true, w.enter(ctx, in, depth+1)
	}, func(err error) error { return w.broken(e, err) })
}

// Sources yields the places of a file's bytes in order of their offset. That
// they leave nothing out is for who uses them to see. It ends after an error.
func (r *Reader) Sources(ctx context.Context, e Entry) iter.Seq2[Source, error] {
	return func(yield func(Source, error) bool) {
		if e.Kind == Dir || !e.link.Defined() {
			for _, s := range e.Sources {
				if !yield(s, nil) {
					return
				}
			}
			return
		}
		r.pagesOf(ctx, e.link, "sources", func(p *page) bool {
			for _, s := range p.sources {
				if !yield(s, nil) {
					return false
				}
			}
			return true
		}, func(err error) { yield(Source{}, fault.Wrap(err, "sources of %.200q", e.Path)) })
	}
}

// Pieces yields the pieces of the dataset. It ends after an error.
func (r *Reader) Pieces(ctx context.Context) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		if !r.pieces.Defined() {
			return
		}
		r.pagesOf(ctx, r.pieces, "pieces", func(p *page) bool {
			for _, q := range p.list {
				if !yield(q, nil) {
					return false
				}
			}
			return true
		}, func(err error) { yield(Piece{}, fault.Wrap(err, "pieces of the index")) })
	}
}

// pagesOf visits the lowest pages of a tree.
func (r *Reader) pagesOf(ctx context.Context, root cid.Cid, kind string, visit func(*page) bool, broken func(error)) {
	p, err := r.load(ctx, root)
	if err == nil && p.kind != kind {
		err = fault.New(fault.Invalid, "block %s: %s of an index where %s should be", root, p.kind, kind)
	}
	if err == nil {
		left := maxPages
		_, err = r.lowest(ctx, p, 0, func(p *page) (bool, error) {
			if left--; left < 0 {
				return false, fault.New(fault.Invalid, "block %s: more than %d pages beneath", root, maxPages)
			}
			return visit(p), nil
		})
	}
	if err != nil {
		broken(err)
	}
}

func (r *Reader) lowest(ctx context.Context, p *page, height int, visit func(*page) (bool, error)) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if len(p.pages) == 0 {
		return visit(p)
	}
	for i := range p.pages {
		below, err := r.child(ctx, p, i, height)
		if err != nil {
			return false, err
		}
		if more, err := r.lowest(ctx, below, height+1, visit); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}
