package disk

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/blob"
)

// List walks only the folders that can hold a wanted key, so the cost is that
// of what it yields plus one reading of each folder on the way.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		w := walk{ctx: ctx, prefix: prefix, after: after, yield: yield}
		w.folder(s.dir, "")
	}
}

type walk struct {
	ctx           context.Context
	prefix, after string
	yield         func(blob.Info, error) bool
}

// folder yields what stands below dir, whose keys begin with base. It returns
// false when the walk is over.
func (w *walk) folder(dir, base string) bool {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) { // deleted while we walked
		return true
	}
	if err != nil {
		w.yield(blob.Info{}, classify(err, "list %s", dir))
		return false
	}
	keys := make([]string, 0, len(entries)) // folders end in a slash, which is their place in key order
	for _, e := range entries {
		name, isFolder := strings.CutSuffix(e.Name(), folderMark)
		switch {
		case e.IsDir() && isFolder:
			keys = append(keys, base+name+"/")
		case e.Type().IsRegular() && blob.CheckKey(name) == nil:
			keys = append(keys, base+name)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !w.visit(dir, base, key) {
			return false
		}
	}
	return true
}

func (w *walk) visit(dir, base, key string) bool {
	if err := w.ctx.Err(); err != nil {
		w.yield(blob.Info{}, err)
		return false
	}
	if name, ok := strings.CutSuffix(key, "/"); ok {
		wanted := strings.HasPrefix(key, w.prefix) || strings.HasPrefix(w.prefix, key)
		if !wanted || (key < w.after && !strings.HasPrefix(w.after, key)) {
			return true
		}
		return w.folder(filepath.Join(dir, name[len(base):]+folderMark), key)
	}
	if !strings.HasPrefix(key, w.prefix) || key <= w.after {
		return true
	}
	st, err := os.Stat(filepath.Join(dir, key[len(base):]))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		w.yield(blob.Info{}, classify(err, "list %s", key))
		return false
	}
	return w.yield(blob.Info{Key: key, Size: st.Size(), ModTime: st.ModTime()}, nil)
}
