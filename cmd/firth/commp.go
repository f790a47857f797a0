package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
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
	if err := c.checkPadded(); err != nil {
		return err
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
	if err != nil && isURL(c.File) {
		return err // which names it
	}
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
	if a.Verified {
		fmt.Fprintln(call.out, "verified      it is the piece of --verify")
	}
	if a.RawSize == 0 {
		fmt.Fprintf(call.err, "note: %s: is empty; this is the commitment of zeros, which no provider takes\n", c.File)
	}
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
	f, err := openInput(call.ctx, c.File)
	if err != nil {
		return nil, 0, err
	}
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	return f, size, nil
}

// checkPadded refuses sizes of pieces that there are none of before anything is
// read.
func (c *commpCmd) checkPadded() error {
	n := uint64(c.Padded)
	if n == 0 || n >= 128 && n <= commp.MaxPaddedSize && n&(n-1) == 0 {
		return nil
	}
	if n < 128 || n > commp.MaxPaddedSize {
		return fault.New(fault.Invalid, "--padded: no piece has %d bytes; the smallest has 128, the largest %d", n, uint64(commp.MaxPaddedSize))
	}
	below := uint64(1) << (bits.Len64(n) - 1)
	return fault.New(fault.Invalid, "--padded: %s is no power of two; near are %s and %s", size(int64(n)), size(int64(below)), size(int64(2*below)))
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

// openInput opens what may be a pipe with a name, too, whose writer an
// interrupted command does not wait for: then a goroutine is left behind that
// goes with the process.
func openInput(ctx context.Context, path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return openRegular(path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, pathFault(path, err)}
	}()
	select {
	case o := <-done:
		if o.f != nil {
			context.AfterFunc(ctx, func() { _ = o.f.Close() })
		}
		return o.f, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
