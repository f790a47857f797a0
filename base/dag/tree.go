package dag

import (
	"context"
	"io"
	"strings"
	"sync"

	"github.com/firth-project/firth/base/fault"
)

// Tree builds nested directories from files that arrive in any order. The root
// is the CID that `ipfs add -r` gives for the same tree and profile. Paths are
// relative and slash-separated, their names arbitrary bytes; missing parents
// are made. A path taken twice is Conflict. Methods may be called from several
// goroutines. Small files share a batch, so blocks are sure to be stored only
// when Finish has returned; memory is that batch and about 300 bytes an entry.
type Tree struct {
	b    *batch
	prof Profile

	mu   sync.Mutex
	root branch
}

// branch is a directory being built: a child is an Entry or a branch.
type branch map[string]child

type child struct {
	entry Entry
	below branch
}

// NewTree starts an empty tree whose blocks go to p.
func NewTree(p Putter, prof Profile) *Tree {
	return &Tree{b: newBatch(p), prof: prof, root: branch{}}
}

// AddFile imports what r yields as the file at path. The path is judged before
// r is read.
func (t *Tree) AddFile(ctx context.Context, path string, r io.Reader) (Entry, error) {
	if _, err := splitPath(path); err != nil {
		return Entry{}, err
	}
	e, err := t.b.addFile(ctx, r, t.prof)
	if err != nil {
		return Entry{}, fault.Wrap(err, "%q", path)
	}
	return t.place(path, e)
}

// AddSymlink adds a symbolic link at path.
func (t *Tree) AddSymlink(ctx context.Context, path, target string) (Entry, error) {
	if _, err := splitPath(path); err != nil {
		return Entry{}, err
	}
	e, err := t.b.addSymlink(ctx, target, t.prof)
	if err != nil {
		return Entry{}, fault.Wrap(err, "%q", path)
	}
	return t.place(path, e)
}

// AddEntry puts a node that is already stored, a whole directory perhaps, at
// path. Its Cid and TreeSize count.
func (t *Tree) AddEntry(path string, e Entry) error {
	if !e.Cid.Defined() {
		return fault.New(fault.Invalid, "%q: no CID", path)
	}
	_, err := t.place(path, e)
	return err
}

// Mkdir makes the directory at path and its parents. One that was made by this
// Tree is left as it is.
func (t *Tree) Mkdir(path string) error {
	names, err := splitPath(path)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err = t.descend(path, names)
	return err
}

func (t *Tree) place(path string, e Entry) (Entry, error) {
	names, err := splitPath(path)
	if err != nil {
		return Entry{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(names) - 1
	in, err := t.descend(path, names[:last])
	if err != nil {
		return Entry{}, err
	}
	if _, taken := in[names[last]]; taken {
		return Entry{}, fault.New(fault.Conflict, "%q: already in the tree", path)
	}
	e.Name = names[last]
	in[e.Name] = child{entry: e}
	return e, nil
}

// descend returns the directory of these names, making what is missing.
func (t *Tree) descend(path string, names []string) (branch, error) {
	at := t.root
	for _, name := range names {
		next, ok := at[name]
		switch {
		case !ok:
			next = child{below: branch{}}
			at[name] = next
		case next.below == nil:
			return nil, fault.New(fault.Conflict, "%q: %q is not a directory", path, name)
		}
		at = next.below
	}
	return at, nil
}

// Finish stores the directories, children before parents, and returns the
// root. Everything added is stored when it returns without an error. The tree
// may grow further and be finished again.
func (t *Tree) Finish(ctx context.Context) (Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, err := t.finish(ctx, t.root)
	if err != nil {
		return Entry{}, err
	}
	return e, fault.Wrap(t.b.flush(ctx), "store tree %s", e.Cid)
}

func (t *Tree) finish(ctx context.Context, in branch) (Entry, error) {
	if err := ctx.Err(); err != nil {
		return Entry{}, err
	}
	entries := make([]Entry, 0, len(in))
	for name, c := range in {
		e := c.entry
		if c.below != nil {
			var err error
			if e, err = t.finish(ctx, c.below); err != nil {
				return Entry{}, fault.Wrap(err, "%q", name)
			}
			e.Name = name
		}
		entries = append(entries, e)
	}
	return t.b.sink(ctx).addDirectory(entries, t.prof)
}

// splitPath cuts a path into names and judges each of them.
func splitPath(path string) ([]string, error) {
	names := strings.Split(path, "/")
	if len(names) > MaxDirectoryDepth {
		return nil, fault.New(fault.Invalid, "path %.40q…: %d names deep, limit %d", path, len(names), MaxDirectoryDepth)
	}
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, fault.Wrap(err, "path %.200q", path)
		}
	}
	return names, nil
}
