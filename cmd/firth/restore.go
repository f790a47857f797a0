package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// received is a DAG whose every block was checked and of which none is missing.
type received struct {
	root   cid.Cid
	blocks *block.Store
	temp   string // a folder that goes away after use
}

// receive reads a CAR that claims to hold the DAG of root into a folder made
// in dir, checks every block against its CID and the DAG for completeness, and
// lets use have it. The folder is gone when receive returns.
func receive(ctx context.Context, car io.Reader, root, dir string, use func(received) error) (err error) {
	c, err := cid.Decode(root)
	if err != nil {
		return fault.New(fault.Invalid, "%q is no CID: %w", root, err)
	}
	temp, err := os.MkdirTemp(dir, ".firth-get-*")
	if err != nil {
		return pathFault(dir, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	store, err := block.Open(ctx, filepath.Join(temp, "blocks"), block.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if _, err := dag.AddCAR(ctx, store, car, dag.CAROptions{}); err != nil {
		return fault.Wrap(err, "receive %s", root)
	}
	if err := dag.Complete(ctx, store, c); err != nil {
		return fault.New(fault.Unavailable, "what was received of %s is not whole (%w); ask again, or another provider with --provider", root, err)
	}
	return use(received{root: c, blocks: store, temp: temp})
}

// restore receives the DAG of root and writes it to path, which must not exist.
// Blocks wait in a folder beside path meanwhile, so twice the size is needed;
// nothing is left of a restore that fails.
func restore(ctx context.Context, car io.Reader, root, path string) (done dag.Exported, err error) {
	err = receive(ctx, car, root, filepath.Dir(path), func(r received) error {
		whole := filepath.Join(r.temp, "whole")
		if done, err = dag.Export(ctx, r.blocks, r.root, whole); err != nil {
			return err
		}
		return place(whole, path)
	})
	return done, err
}

// place moves what is at from to path at once. Something already there is a
// Conflict and stays, even if it came a moment ago.
func place(from, path string) error {
	if err := absent(path); err != nil {
		return err
	}
	info, err := os.Lstat(from)
	if err != nil {
		return pathFault(from, err)
	}
	if !info.IsDir() { // rename would replace a file; link does not
		err := os.Link(from, path)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return occupied(path, err)
		}
	}
	return occupied(path, os.Rename(from, path))
}

// absent refuses a path where something is.
func absent(path string) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		return occupied(path, fs.ErrExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return pathFault(path, err)
}

func occupied(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return fault.New(fault.Conflict, "%s: is there already; name another place with -o, or replace it with --force", path)
	}
	return pathFault(path, err)
}

// replace moves what is at from to path and, once it is there, removes what was
// there before. When that cannot be done, what was there is there again.
func replace(from, path string) error {
	before, err := os.Lstat(path)
	after, failed := os.Lstat(from)
	if err == nil && failed == nil && !before.IsDir() && !after.IsDir() {
		return pathFault(path, os.Rename(from, path)) // replaces in one step
	}
	aside := from + ".before"
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pathFault(path, err)
	}
	if err := os.Rename(from, path); err != nil {
		if back := os.Rename(aside, path); back != nil && !errors.Is(back, fs.ErrNotExist) {
			err = errors.Join(err, back)
		}
		return pathFault(path, err)
	}
	return pathFault(path, os.RemoveAll(aside))
}
