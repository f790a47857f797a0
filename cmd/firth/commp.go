package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

type commpCmd struct {
	File string `arg:"" help:"File to read, or - for standard input."`
}

// commpAnswer is the JSON contract of `firth commp`.
type commpAnswer struct {
	PieceCID   string `json:"piece_cid"` // v2, FRC-0069
	PieceCIDv1 string `json:"piece_cid_v1"`
	RawSize    uint64 `json:"raw_size"`
	PaddedSize uint64 `json:"padded_size"`
}

func (c *commpCmd) Run(call *call) error {
	in := call.stdin()
	var size int64
	if c.File != "-" {
		f, err := openRegular(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		in = f
	}
	w := commp.New()
	p := call.progress("hashing", size)
	_, err := io.Copy(w, p.reader(call.ctx, in))
	p.done()
	if err != nil {
		return fault.Wrap(err, "read %s", c.File)
	}
	piece, err := w.Sum()
	if err != nil {
		return err
	}
	a := commpAnswer{piece.CIDv2.String(), piece.CIDv1.String(), piece.RawSize, piece.PaddedSize}
	if call.global.JSON {
		return call.printJSON(a)
	}
	fmt.Fprintf(call.out, "piece CID     %s\npiece CID v1  %s\nsize          %d bytes\npadded size   %d bytes\n",
		a.PieceCID, a.PieceCIDv1, a.RawSize, a.PaddedSize)
	return nil
}

// openRegular opens a file for reading and refuses what is none.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathFault(path, err)
	}
	if info.IsDir() {
		return nil, fault.New(fault.Invalid, "%s: is a directory; name a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathFault(path, err)
	}
	return f, nil
}

// pathFault gives an error about a path of the user's its kind; nil stays nil.
func pathFault(path string, err error) error {
	var inner *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "%s: there is no such file or directory", path)
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Forbidden, "%s: may not be read or written by this user", path)
	case errors.Is(err, syscall.ENOSPC):
		return fault.New(fault.Exhausted, "%s: the disk is full", path)
	case errors.As(err, &inner):
		err = inner.Err // the path is said already
	}
	return fault.New(fault.Invalid, "%s: %w", path, err)
}
