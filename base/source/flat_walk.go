package source

import (
	"context"
	"fmt"
	"strings"

	rclone "github.com/rclone/rclone/fs"

	"github.com/firth-project/firth/base/fault"
)

// flatWalk makes a tree of the keys of a bucket while they are listed. What it
// remembers is the directories around the last key.
type flatWalk struct {
	m     *matcher
	visit func(Item) error
	after string
	last  string    // the key listed last
	dirs  []flatDir // open directories, outermost first
	files []string  // files that the last key begins with: none of them can be a directory too
}

type flatDir struct {
	path string
	verdict
}

// walkFlat lists all keys below the root, page by page. A listing that breaks
// begins again, and passes over what was told.
func (r *remote) walkFlat(ctx context.Context, after string, m *matcher, visit func(Item) error) error {
	tell := visit
	visit = func(i Item) error {
		after = i.Key()
		return tell(i)
	}
	var stopped error
	err := r.set.try(ctx, func() error {
		w := flatWalk{m: m, visit: visit, after: after}
		err := r.links.Features().ListR(r.with(ctx), "", func(page rclone.DirEntries) error {
			for _, e := range page {
				if err := ctx.Err(); err != nil {
					return err
				}
				if stopped = w.add(r, e); stopped != nil {
					return errEnough
				}
			}
			return nil
		})
		if stopped != nil {
			return nil
		}
		return remoteFault(err)
	})
	if stopped != nil {
		return stopped
	}
	return fault.Wrap(err, "list keys")
}

// add takes the next key.
func (w *flatWalk) add(r *remote, d rclone.DirEntry) error {
	item := Item{Path: plain(d.Remote()), Kind: KindDir}
	if o, ok := d.(rclone.Object); ok {
		item = r.itemOfObject(o, item.Path)
	}
	key := item.Key()
	if key <= w.last && w.last != "" {
		if key == w.last {
			return nil
		}
		return fault.New(fault.Invalid, "the bucket lists its keys out of order (%q after %q): give option ordered=false, which lists directory by directory", key, w.last)
	}
	w.last = key
	return w.place(item)
}

// place puts an item below its directories, which are told with it.
func (w *flatWalk) place(item Item) error {
	key := item.Key()
	for len(w.files) > 0 && !strings.HasPrefix(key, w.files[len(w.files)-1]) {
		w.files = w.files[:len(w.files)-1]
	}
	for len(w.dirs) > 0 && !strings.HasPrefix(key, w.dirs[len(w.dirs)-1].path+"/") {
		w.dirs = w.dirs[:len(w.dirs)-1]
	}
	if name, ok := strings.CutSuffix(item.Path, "/"); ok && item.Kind == KindFile && wellFormed(name) {
		item = Item{Path: name, Kind: KindDir, Unreadable: fmt.Sprintf("is an object of %d bytes with a directory's name, which no directory can hold", item.Size)}
	}
	good := goodPart(item.Path)
	if err := w.enter(item.Path[:good]); err != nil {
		return err
	}
	if item.Unreadable = w.flaw(item); good < len(item.Path) || good == 0 {
		if _, wanted := w.m.judge(w.above(), item.Path, item.Kind == KindDir); !wanted {
			return nil
		}
		return w.pass(item)
	}
	here, wanted := w.m.judge(w.above(), item.Path, item.Kind == KindDir)
	switch {
	case item.Kind == KindDir:
		w.dirs = append(w.dirs, flatDir{item.Path, here})
	case item.Kind == KindFile:
		w.files = append(w.files, item.Path)
	}
	if !wanted {
		return nil
	}
	return w.pass(item)
}

// flaw says why an item cannot be part of a tree; "" when it can.
func (w *flatWalk) flaw(item Item) string {
	if why := oddName(item.Path); why != "" {
		return why
	}
	for _, file := range w.files {
		if strings.HasPrefix(item.Key(), file+"/") {
			return fmt.Sprintf("is below %q, which is a file: no directory tree can hold both", file)
		}
	}
	return item.Unreadable
}

// enter opens and tells the directories around a path that are not open yet.
func (w *flatWalk) enter(path string) error {
	from := 0
	if n := len(w.dirs); n > 0 {
		from = len(w.dirs[n-1].path) + 1
	}
	for {
		n := strings.IndexByte(path[from:], '/')
		if n < 0 {
			return nil
		}
		dir := path[:from+n]
		from += n + 1
		here, wanted := w.m.judge(w.above(), dir, true)
		w.dirs = append(w.dirs, flatDir{strings.Clone(dir), here})
		if !wanted {
			continue
		}
		item := Item{Path: dir, Kind: KindDir}
		item.Unreadable = w.flaw(item)
		if item.Unreadable != "" {
			continue // each key below says so
		}
		if err := w.pass(item); err != nil {
			return err
		}
	}
}

func (w *flatWalk) above() verdict {
	if n := len(w.dirs); n > 0 {
		return w.dirs[n-1].verdict
	}
	return verdict{}
}

// goodPart is how much of a path directories can be made of: all of it, or what
// is before the first odd name.
func goodPart(path string) int {
	for from := 0; from <= len(path); {
		n := strings.IndexByte(path[from:], '/')
		name, next := path[from:], len(path)+1
		if n >= 0 {
			name, next = path[from:from+n], from+n+1
		}
		if !wellFormed(name) {
			return from
		}
		from = next
	}
	return len(path)
}

// pass visits an item that lies behind after.
func (w *flatWalk) pass(item Item) error {
	if item.Key() <= w.after && w.after != "" {
		return nil
	}
	return w.visit(item)
}
