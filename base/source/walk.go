package source

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// entry is a name of one directory, as small as a listing of a million allows.
type entry struct {
	name  string
	kind  Kind
	bad   bool  // note is why it is unreadable; else the target of a link
	size  int64 // bytes
	mtime int64 // nanoseconds since 1970; 0 unknown
	hash  string
	note  string
}

func (e *entry) item(path string) Item {
	i := Item{Path: path, Kind: e.kind, Size: e.size, Hash: e.hash}
	if e.mtime != 0 {
		i.ModTime = time.Unix(0, e.mtime)
	}
	if e.bad {
		i.Unreadable = e.note
	} else {
		i.Target = e.note
	}
	return i
}

// compareKeys is the byte order of keys for two names of one directory.
func compareKeys(a string, aDir bool, b string, bDir bool) int {
	n := min(len(a), len(b))
	if c := strings.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	next := func(s string, dir bool) int {
		switch {
		case len(s) > n:
			return int(s[n]) + 1
		case dir:
			return '/' + 1
		}
		return 0
	}
	return next(a, aDir) - next(b, bDir)
}

// treeWalk goes through a tree one directory at a time: what the names of a
// directory are is asked once, sorted, and held until all below is visited.
type treeWalk struct {
	ctx   context.Context
	m     *matcher
	list  func(ctx context.Context, dir string) ([]entry, error)
	visit func(Item) error
}

// run walks the whole tree behind after.
func (w *treeWalk) run(after string) error {
	entries, err := w.list(w.ctx, "")
	if err != nil {
		return fault.Wrap(err, "list the root")
	}
	return w.below("", verdict{}, entries, after)
}

// below visits the entries of one directory, whose path is dir, and all below
// them; after is relative to it.
func (w *treeWalk) below(dir string, above verdict, entries []entry, after string) error {
	slices.SortFunc(entries, func(a, b entry) int {
		return compareKeys(a.name, a.kind == KindDir, b.name, b.kind == KindDir)
	})
	for i := range entries {
		e := &entries[i]
		if err := w.ctx.Err(); err != nil {
			return err
		}
		isDir := e.kind == KindDir
		inside, resumes := "", false
		if after != "" && isDir && strings.HasPrefix(after, e.name) && strings.HasPrefix(after[len(e.name):], "/") {
			inside, resumes = after[len(e.name)+1:], true
		} else if after != "" && compareToAfter(e.name, isDir, after) <= 0 {
			continue
		}
		path := e.name
		if dir != "" {
			path = dir + "/" + e.name
		}
		here, wanted := w.m.judge(above, path, isDir)
		switch {
		case here.skip:
		case isDir && !e.bad:
			if err := w.enter(e, path, here, wanted && !resumes, resumes, inside); err != nil {
				return err
			}
		case wanted && !resumes:
			if err := w.visit(e.item(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter lists a directory, tells it, and goes below. A directory that cannot be
// listed is told even when only what is in it was wanted.
func (w *treeWalk) enter(e *entry, path string, here verdict, tell, resumes bool, after string) error {
	entries, err := w.list(w.ctx, path)
	item := e.item(path)
	if err != nil {
		if fatal(err) || resumes {
			return fault.Wrap(err, "list %q", path)
		}
		item.Unreadable = err.Error()
		return w.visit(item)
	}
	if tell {
		if err := w.visit(item); err != nil {
			return err
		}
	}
	return w.below(path, here, entries, after)
}

// fatal reports whether an error is of the source as a whole, not of one name.
func fatal(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Exhausted, fault.Internal:
		return true
	}
	return false
}

// compareToAfter holds a name's key against a key relative to its directory.
func compareToAfter(name string, dir bool, after string) int {
	if !dir {
		return strings.Compare(name, after)
	}
	if c := strings.Compare(name, after[:min(len(name), len(after))]); c != 0 {
		return c
	}
	if len(after) == len(name) { // "name/" is longer
		return 1
	}
	if c := int('/') - int(after[len(name)]); c != 0 {
		return c
	}
	return len(name) + 1 - len(after)
}
