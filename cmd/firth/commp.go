package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
	"github.com/firth-project/firth/client"
)

type commpCmd struct {
	File   string      `arg:"" name:"file" help:"File or http(s) URL to read, or - for standard input. A URL whose connection breaks is taken up where it was."`
	Verify string      `help:"Piece CID, version 1 or 2, that the bytes have to have; exit code 4 if they have another." placeholder:"CID"`
	Padded client.Size `help:"Compute the commitment of a larger piece, a power of two: zeros follow, at no cost." placeholder:"SIZE"`
}

// commpAnswer is the JSON contract of `firth commp`.
type commpAnswer struct {
	PieceCID   string `json:"piece_cid"` // v2, FRC-0069
	PieceCIDv1 string `json:"piece_cid_v1"`
	RawSize    uint64 `json:"raw_size"`
	PaddedSize uint64 `json:"padded_size"`
	Verified   bool   `json:"verified,omitempty"` // it is the one of --verify
}

func (c *commpCmd) Run(call *call) error {
	if c.Verify != "" {
		if _, _, err := commp.ParseCID(c.Verify); err != nil {
			return fault.New(fault.Invalid, "--verify: %w", err)
		}
	}
	in, size, err := c.open(call)
	if err != nil {
		return err
	}
	defer in.Close()
	w := commp.New()
	p := call.progress("hashing", size)
	_, err = io.Copy(w, p.reader(call.ctx, in))
	p.done()
	if err != nil {
		return fault.Wrap(err, "read %s", c.File)
	}
	piece, err := c.piece(w)
	if err != nil {
		return err
	}
	a := commpAnswer{piece.CIDv2.String(), piece.CIDv1.String(), piece.RawSize, piece.PaddedSize, c.Verify != ""}
	if call.global.JSON {
		return call.printJSON(a)
	}
	fmt.Fprintf(call.out, "piece CID     %s\npiece CID v1  %s\nsize          %d bytes\npadded size   %d bytes\n",
		a.PieceCID, a.PieceCIDv1, a.RawSize, a.PaddedSize)
	return nil
}

// open opens what is to be read; size is 0 where it is not known.
func (c *commpCmd) open(call *call) (in io.ReadCloser, size int64, err error) {
	switch {
	case c.File == "-":
		return io.NopCloser(call.stdin()), 0, nil
	case isURL(c.File):
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout, transport.DisableCompression = time.Minute, true
		s, err := fetch.Open(call.ctx, &http.Client{Transport: transport}, c.File, fetch.Options{})
		if err != nil {
			return nil, 0, err
		}
		return s, max(s.Size(), 0), nil
	}
	f, err := openRegular(c.File)
	if err != nil {
		return nil, 0, err
	}
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	return f, size, nil
}

// piece is the piece that is asked for: of the size of --padded, or of the
// smallest one that --verify can mean.
func (c *commpCmd) piece(w *commp.Writer) (commp.Piece, error) {
	natural, err := w.Sum()
	if err != nil {
		return natural, err
	}
	piece := natural
	if c.Padded != 0 {
		if piece, err = w.SumPadded(uint64(c.Padded)); err != nil {
			return piece, fault.New(fault.Invalid, "--padded: %w", err)
		}
	}
	if c.Verify == "" || c.is(piece) {
		return piece, nil
	}
	for padded := 2 * natural.PaddedSize; c.Padded == 0 && padded <= commp.MaxPaddedSize; padded *= 2 {
		if piece, err := w.SumPadded(padded); err != nil || c.is(piece) {
			return piece, err
		}
	}
	return piece, fault.New(fault.Conflict, "%s: is piece %s (%s), not %s", c.File, piece.CIDv2, piece.CIDv1, c.Verify)
}

func (c *commpCmd) is(p commp.Piece) bool {
	return c.Verify == p.CIDv2.String() || c.Verify == p.CIDv1.String()
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
