package source

import (
	"context"
	"errors"
	"path"

	rclone "github.com/rclone/rclone/fs"

	"github.com/firth-project/firth/base/fault"
)

// errEnough ends a listing of which enough was seen.
var errEnough = errors.New("enough listed")

func (r *remote) walk(ctx context.Context, after string, m *matcher, visit func(Item) error) error {
	switch {
	case r.file != "":
		w := treeWalk{ctx: ctx, m: m, visit: visit, list: r.only}
		return w.run(after)
	case r.flat() && r.set.ordered:
		return r.walkFlat(ctx, after, m, visit)
	}
	w := treeWalk{ctx: ctx, m: m, visit: visit, list: r.list}
	return w.run(after)
}

// only tells the one file that is the source.
func (r *remote) only(ctx context.Context, _ string) (out []entry, err error) {
	err = r.set.try(ctx, func() error {
		o, err := r.tree.NewObject(r.with(ctx), standard(r.file))
		if err != nil {
			return remoteFault(err)
		}
		out = []entry{entryOf(r.itemOfObject(o, r.file))}
		return nil
	})
	return out, err
}

// list tells the names of one directory.
func (r *remote) list(ctx context.Context, dir string) (out []entry, err error) {
	if depth(dir) > maxDepth {
		return nil, fault.New(fault.Invalid, "lies deeper than %d directories: a circle of links, perhaps", maxDepth)
	}
	listed, err := r.entries(ctx, r.tree, dir)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, d := range listed {
		e := r.entryOf(d)
		if e.note = oddName(e.name); e.note != "" {
			e.bad = true
		} else if known[e.name] {
			e.bad, e.note = true, "is listed twice in its directory"
		}
		known[e.name] = true
		out = append(out, e)
	}
	if r.every == nil {
		return out, nil
	}
	// Over SFTP rclone tells a link as what it points to, or not at all.
	if listed, err = r.entries(ctx, r.every, dir); err != nil {
		return nil, err
	}
	for _, d := range listed {
		if name := plain(path.Base(d.Remote())); !known[name] {
			out = append(out, entry{name: name, kind: KindSymlink, bad: true, note: "is a symbolic link or a special file: it is not followed, and SFTP listings do not tell its target"})
		}
	}
	return out, nil
}

func (r *remote) entries(ctx context.Context, f rclone.Fs, dir string) (out rclone.DirEntries, err error) {
	err = r.set.try(ctx, func() error {
		out, err = f.List(r.with(ctx), standard(dir))
		return r.fetch.throttled(ctx, dir, remoteFault(err))
	})
	return out, err
}

func (r *remote) entryOf(d rclone.DirEntry) entry {
	name := plain(path.Base(d.Remote()))
	o, ok := d.(rclone.Object)
	if !ok {
		return entry{name: name, kind: KindDir}
	}
	return entryOf(r.itemOfObject(o, name))
}

// entryOf is the entry of a file's item, whose path is its name.
func entryOf(i Item) entry {
	e := entry{name: i.Path, kind: i.Kind, size: i.Size, hash: i.Hash, bad: i.Unreadable != "", note: i.Unreadable}
	if !i.ModTime.IsZero() {
		e.mtime = i.ModTime.UnixNano()
	}
	return e
}

func depth(dir string) int {
	n := 1
	for i := range len(dir) {
		if dir[i] == '/' {
			n++
		}
	}
	return n
}
