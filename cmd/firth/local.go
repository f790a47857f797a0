package main

import (
	"context"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

// source is something local to be stored as one content.
type source struct {
	path  string
	name  string
	dir   bool
	files int64 // by a look before
	bytes int64
}

// look finds out what is at path and how much it is. What could not be stored
// is refused here, before anything is sent.
func look(path string) (source, error) {
	if path == "" {
		return source{}, fault.New(fault.Invalid, "one of the paths is empty; name a file or directory")
	}
	info, err := os.Stat(path)
	if err != nil {
		return source{}, pathFault(path, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return source{}, pathFault(path, err)
	}
	s := source{path: path, name: filepath.Base(abs), dir: info.IsDir()}
	if !s.dir {
		if !info.Mode().IsRegular() {
			return source{}, fault.New(fault.Invalid, "%s: is neither a file nor a directory (%s)", path, info.Mode())
		}
		s.files, s.bytes = 1, info.Size()
		return s, nil
	}
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return pathFault(name, err)
		}
		switch mode := d.Type(); {
		case mode.IsDir():
		case mode.IsRegular():
			info, err := d.Info()
			if err != nil {
				return pathFault(name, err)
			}
			s.files++
			s.bytes += info.Size()
		case mode&fs.ModeSymlink != 0:
			s.files++
		default:
			return fault.New(fault.Invalid, "%s: is neither a file, a directory nor a symlink (%s); leave it out", name, mode)
		}
		return nil
	})
	return s, err
}

// send stores a source as one content, showing how far it is.
func send(ctx context.Context, c *client.Client, s source, name string, o client.AddOptions, p *progress) (client.Content, error) {
	if name == "" {
		name = s.name
	}
	if s.dir {
		return c.AddTree(ctx, name, counted(ctx, client.LocalTree(strings.TrimRight(s.path, "/")+"/"), p), o)
	}
	f, err := client.OpenLocal(s.path)
	if err != nil {
		return client.Content{}, pathFault(s.path, err)
	}
	defer f.Close()
	return c.AddFile(ctx, name, p.reader(ctx, f), o)
}

// counted shows the bytes of a tree's files as they are read.
func counted(ctx context.Context, entries iter.Seq2[client.Entry, error], p *progress) iter.Seq2[client.Entry, error] {
	return func(yield func(client.Entry, error) bool) {
		for e, err := range entries {
			if e.Body != nil {
				e.Body = p.reader(ctx, e.Body)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
