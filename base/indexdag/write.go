package indexdag

import (
	"iter"
	"slices"
	"strings"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// WriterOptions choose what a Writer does besides.
type WriterOptions struct {
	// Directory tells the canonical CID of a directory when all that is in it
	// was added; undefined leaves it out. May be nil.
	Directory func(path string) cid.Cid
}

// Writer makes an index DAG of entries that come in byte order of their whole
// paths, a directory's being "name/", as a dag.DirectoryWriter takes them. Its
// memory is a page (256 KiB) a level and open directory: 512 KiB for
// each directory of more than some 700 files above the current path, less for
// smaller ones.
type Writer struct {
	emit  func(blocks.Block) error
	o     WriterOptions
	last  string     // key of the whole path that was added last
	open  []*opening // the root first
	spent []byte     // of the last item, used again
	key   []byte     // of the last item, used again
	spare []byte     // of a directory that is closed, a page for the next
}

// opening is a directory that may still get entries.
type opening struct {
	entry Entry
	pages *pager
	// files are the names of entries that a directory coming later could
	// share: each is the beginning of the next.
	files []string
}

// NewWriter begins an empty index and calls emit with every node once or, when
// two directories are alike, again; children before parents. After an error of
// emit the writer is of no use.
func NewWriter(emit func(blocks.Block) error, o WriterOptions) *Writer {
	w := &Writer{emit: emit, o: o}
	w.push(Entry{Kind: Dir})
	return w
}

func (w *Writer) push(e Entry) {
	o := &opening{entry: e, pages: newPager(Dir.String(), w.emit)}
	o.pages.levels[0].items, w.spare = w.spare, nil
	w.open = append(w.open, o)
}

// Add takes the next entry. Parents that were not added are made. An entry
// that is not behind the last one, or whose sources leave bytes out, is
// Invalid; a path that is taken, or below what is no directory, is Conflict.
// Of a directory only Path, Cid and ModTime count.
func (w *Writer) Add(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	key := e.Path
	if e.Kind == Dir {
		key += "/"
	}
	if err := w.follows(e.Path, key); err != nil {
		return err
	}
	name := e.Name()
	if dir := strings.TrimSuffix(e.Path[:len(e.Path)-len(name)], "/"); dir != w.open[len(w.open)-1].entry.Path {
		parents := strings.Split(e.Path, "/")
		if err := w.descend(e.Path, parents[:len(parents)-1]); err != nil {
			return err
		}
	}
	in := w.open[len(w.open)-1]
	w.last = key
	if e.Kind == Dir {
		if in.holds(name) {
			return fault.New(fault.Conflict, "%.200q: a file and a directory", e.Path)
		}
		w.push(Entry{Path: e.Path, Kind: Dir, Cid: e.Cid, ModTime: e.ModTime})
		return nil
	}
	in.files = append(in.shared(name), name)
	in.entry.Files++
	if e.Kind == File {
		in.entry.Size += e.Size
	}
	return fault.Wrap(w.item(in, e), "%.200q", e.Path)
}

// follows judges the order.
func (w *Writer) follows(path, key string) error {
	switch {
	case len(w.open) == 0:
		return fault.New(fault.Invalid, "%.200q: the index is finished", path)
	case key > w.last:
		return nil
	case strings.TrimSuffix(w.last, "/") == path || strings.HasPrefix(w.last, path+"/"):
		return fault.New(fault.Conflict, "%.200q: already in the index", path)
	}
	return fault.New(fault.Invalid, "%.200q: comes after %.200q, out of order", key, w.last)
}

// descend closes the directories that are complete and opens those of names.
func (w *Writer) descend(path string, names []string) error {
	same := 0
	for same < len(names) && same+1 < len(w.open) && w.open[same+1].entry.Name() == names[same] {
		same++
	}
	for len(w.open) > same+1 {
		if err := w.close(); err != nil {
			return err
		}
	}
	for i, name := range names[same:] {
		if w.open[len(w.open)-1].holds(name) {
			return fault.New(fault.Conflict, "%.200q: %.200q is not a directory", path, name)
		}
		w.push(Entry{Path: strings.Join(names[:same+i+1], "/"), Kind: Dir})
	}
	return nil
}

// close emits the innermost directory and puts it into the one above.
func (w *Writer) close() error {
	top := len(w.open) - 1
	done := w.open[top]
	link, err := done.pages.finish()
	if err != nil {
		return err
	}
	w.spare = done.pages.levels[0].items[:0]
	e := done.entry
	if w.o.Directory != nil && !e.Cid.Defined() {
		e.Cid = w.o.Directory(e.Path)
	}
	w.open = w.open[:top]
	in := w.open[top-1]
	in.files = in.shared(e.Name())
	in.entry.Size += e.Size
	in.entry.Files += e.Files
	w.spent = appendDir(w.spent[:0], e, link)
	w.key = appendName(w.key[:0], e.Key())
	return in.pages.add(w.key, w.spent)
}

// item puts a file or link into its directory; sources that are many get pages
// of their own.
func (w *Writer) item(in *opening, e Entry) error {
	w.key = appendName(w.key[:0], e.Key())
	key := w.key
	w.spent = appendEntry(w.spent[:0], e, cid.Undef)
	if len(w.spent) <= maxInline || len(e.Sources) < 2 {
		return in.pages.add(key, w.spent)
	}
	pages := newPager("sources", w.emit)
	for _, s := range e.Sources {
		if err := pages.add(appendInt(nil, s.Offset), appendSource(nil, s)); err != nil {
			return err
		}
	}
	link, err := pages.finish()
	if err != nil {
		return err
	}
	w.spent = appendEntry(w.spent[:0], e, link)
	return in.pages.add(key, w.spent)
}

// shared returns the files that name begins with. Names between "a" and "a/"
// all begin with "a", so of the files before only these can still meet a
// directory of their name.
func (o *opening) shared(name string) []string {
	for len(o.files) > 0 && !strings.HasPrefix(name, o.files[len(o.files)-1]) {
		o.files = o.files[:len(o.files)-1]
	}
	return o.files
}

// holds reports whether a file or link of this name is there.
func (o *opening) holds(name string) bool { return slices.Contains(o.shared(name), name) }

// Finish takes the pieces of the dataset in their order and returns the root
// of the index, a node that is emitted last. Nothing can be added afterwards.
func (w *Writer) Finish(h Header, pieces iter.Seq2[Piece, error]) (cid.Cid, error) {
	if len(w.open) == 0 {
		return cid.Undef, fault.New(fault.Invalid, "index %q: is finished", h.Name)
	}
	for _, text := range []string{h.Name, h.Profile, h.Encryption, h.Compression} {
		if len(text) > maxText {
			return cid.Undef, fault.New(fault.Invalid, "index: %.40q… has %d bytes, limit %d", text, len(text), maxText)
		}
	}
	for len(w.open) > 1 {
		if err := w.close(); err != nil {
			return cid.Undef, err
		}
	}
	root := w.open[0]
	w.open = nil
	tree, err := root.pages.finish()
	if err != nil {
		return cid.Undef, err
	}
	list, err := w.pieces(pieces)
	if err != nil {
		return cid.Undef, err
	}
	h.Files, h.Bytes = root.entry.Files, root.entry.Size
	b, err := nodeBlock(appendHeader(nil, h, tree, list))
	if err != nil {
		return cid.Undef, err
	}
	return b.Cid(), w.emit(b)
}

func (w *Writer) pieces(pieces iter.Seq2[Piece, error]) (cid.Cid, error) {
	pages, n := newPager("pieces", w.emit), int64(0)
	for p, err := range pieces {
		if err == nil && (!p.Cid.Defined() || p.Size < 0) {
			err = fault.New(fault.Invalid, "piece %d: CID %s, %d bytes", n, p.Cid, p.Size)
		}
		if err == nil {
			err = pages.add(appendInt(nil, n), appendPiece(nil, p))
		}
		if err != nil {
			return cid.Undef, fault.Wrap(err, "pieces of the index")
		}
		n++
	}
	return pages.finish()
}
