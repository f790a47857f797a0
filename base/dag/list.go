package dag

import (
	"context"
	"iter"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// Stat returns what c is, with an empty name. It reads one block. A block that
// is not UnixFS is Invalid, a missing one NotFound.
func Stat(ctx context.Context, g Getter, c cid.Cid) (Entry, error) {
	n, err := load(ctx, g, c)
	if err != nil {
		return Entry{}, fault.Wrap(err, "stat")
	}
	return n.entry(""), nil
}

// Links yields the entries of a directory with Name, Cid and TreeSize alone:
// only the blocks of the directory itself are read. The order is the DAG's: by
// name in a plain directory, by hash in a sharded one. It ends after an error.
func Links(ctx context.Context, g Getter, c cid.Cid) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		n, err := load(ctx, g, c)
		if err == nil {
			_, err = n.entries(ctx, g, func(e Entry) bool { return yield(e, nil) })
		}
		if err != nil {
			yield(Entry{}, fault.Wrap(err, "list"))
		}
	}
}

// List is Links with each Entry complete. It reads the first block of every
// entry that is not plain bytes, so one that is missing is NotFound.
func List(ctx context.Context, g Getter, c cid.Cid) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range Links(ctx, g, c) {
			if err == nil && e.Cid.Type() == cid.Raw {
				e.Size = int64(min(e.TreeSize, MaxBlockSize))
			} else if err == nil {
				var n *node
				if n, err = load(ctx, g, e.Cid); err == nil {
					e = n.entry(e.Name)
				}
				err = fault.Wrap(err, "list %q", e.Name)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// entries calls yield for each entry of a directory until it returns false.
func (n *node) entries(ctx context.Context, g Getter, yield func(Entry) bool) (more bool, err error) {
	switch n.kind {
	case shardDirectory:
		return n.values(ctx, g, trail{}, yield)
	case plainDirectory:
		for _, l := range n.links {
			if !yield(Entry{Name: l.Name, Cid: l.Cid, TreeSize: l.Size}) {
				return false, nil
			}
		}
		return true, nil
	}
	return false, fault.New(fault.Invalid, "%s: not a directory", n.c)
}

// Resolve follows a slash-separated path from root and returns the Entry it
// ends at, named by its last step; empty steps count for nothing. A step that
// is absent, or below something that is not a directory, is NotFound. Symbolic
// links are not followed.
func Resolve(ctx context.Context, g Getter, root cid.Cid, path string) (Entry, error) {
	n, err := load(ctx, g, root)
	if err != nil {
		return Entry{}, fault.Wrap(err, "resolve %.200q", path)
	}
	name, depth := "", 0
	for step := range strings.SplitSeq(path, "/") {
		if step == "" {
			continue
		}
		if depth++; depth > MaxDirectoryDepth {
			return Entry{}, fault.New(fault.Invalid, "resolve %.40q…: more than %d names deep", path, MaxDirectoryDepth)
		}
		if n, err = n.step(ctx, g, step); err != nil {
			return Entry{}, fault.Wrap(err, "resolve %.200q", path)
		}
		name = step
	}
	return n.entry(name), nil
}

func (n *node) step(ctx context.Context, g Getter, name string) (*node, error) {
	switch n.kind {
	case shardDirectory:
		e, ok, err := n.lookup(ctx, g, name)
		if err != nil {
			return nil, err
		}
		if ok {
			return load(ctx, g, e.Cid)
		}
	case plainDirectory:
		for _, l := range n.links {
			if l.Name == name {
				return load(ctx, g, l.Cid)
			}
		}
	default:
		return nil, fault.New(fault.NotFound, "%.80q: %s is not a directory", name, n.c)
	}
	return nil, fault.New(fault.NotFound, "%.80q: not in directory %s", name, n.c)
}
