package indexdag

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// FetchRange writes length bytes of the file at a path of an index, from an
// offset on, to w. Only what holds them is got: blocks, or of a file that was
// encrypted or compressed the parts, each of which is a file of temporary space
// while it is unpacked. Each block is checked before anything of it is written.
// A range that is not all in the file is Invalid, a path of something else too.
func (f *Fetcher) FetchRange(ctx context.Context, r *Reader, what string, offset, length int64, w io.Writer) error {
	e, err := r.Lookup(ctx, what)
	if err != nil {
		return err
	}
	h := r.Header()
	if err := f.opens(h); err != nil {
		return err
	}
	switch {
	case e.Kind != File:
		return fault.New(fault.Invalid, "%.200q: is a %s, and ranges are of files", what, e.Kind)
	case offset < 0 || length < 0 || offset > e.Size || length > e.Size-offset:
		return fault.New(fault.Invalid, "%.200q: %d bytes from %d, the file has %d", what, length, offset, e.Size)
	}
	all, err := r.sourcesOf(ctx, e)
	if err != nil {
		return err
	}
	if !h.encoded() {
		return f.plainRange(ctx, all, offset, offset+length, f.counting(w))
	}
	stored, err := os.CreateTemp("", "firth-get-*")
	if err != nil {
		return diskError(err)
	}
	defer func() {
		stored.Close()
		_ = os.Remove(stored.Name())
	}()
	return f.encodedRange(ctx, h, e, all, stored, &window{w: w, from: offset, end: offset + length})
}

// plainRange writes the bytes of a file that is stored as it is.
func (f *Fetcher) plainRange(ctx context.Context, all []Source, from, end int64, w io.Writer) error {
	for same := range alternatives(all) {
		s := same[0]
		a, b := max(from, s.Offset), min(end, s.Offset+s.Length)
		if a >= b {
			continue
		}
		var err error
		for _, s := range same {
			var n int64
			n, err = f.copyRange(ctx, s, a-s.Offset, b-a, w)
			if a += n; err == nil || ctx.Err() != nil {
				break
			}
		}
		if err != nil {
			return fault.Wrap(err, "bytes %d to %d", a, b)
		}
	}
	return nil
}

// copyRange writes bytes of a source.
func (f *Fetcher) copyRange(ctx context.Context, s Source, offset, length int64, w io.Writer) (int64, error) {
	if len(s.Selector) > 0 {
		var err error
		if s.Cid, err = f.selected(ctx, s); err != nil {
			return 0, err
		}
	}
	in, size, err := dag.OpenFile(ctx, f.within(s.Piece, nil), s.Cid)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if size != s.Length {
		return 0, fault.New(fault.Invalid, "file %s: has %d bytes, the index says %d", s.Cid, size, s.Length)
	}
	if _, err := in.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	return io.CopyN(w, in, length)
}

// encodedRange unpacks what holds the bytes of a window.
func (f *Fetcher) encodedRange(ctx context.Context, h Header, e Entry, all []Source, stored *os.File, w *window) error {
	if w.from == w.end {
		return nil
	}
	if !all[0].alone() { // one stream, whichever sources it is in
		if err := f.parts(ctx, all, stored, e.stored()); err != nil {
			return err
		}
		return w.over(f.undo(h, io.NewSectionReader(stored, 0, e.stored()), w, e.Size))
	}
	for same := range alternatives(all) {
		plain := same[0].Plain
		if plain.Offset >= w.end || plain.Offset+plain.Length <= w.from {
			continue
		}
		w.at = plain.Offset
		if err := w.over(f.unpack(ctx, h, same, stored, w)); err != nil {
			return fault.Wrap(err, "bytes %d to %d", plain.Offset, plain.Offset+plain.Length)
		}
	}
	return nil
}

// errBehind ends the unpacking of what is behind a window.
var errBehind = errors.New("behind what is wanted")

// window passes on what of the bytes that are written from at on is between
// from and end.
type window struct {
	w             io.Writer
	at, from, end int64
}

func (w *window) Write(p []byte) (int, error) {
	a, b := max(w.from, w.at), min(w.end, w.at+int64(len(p)))
	at := w.at
	w.at += int64(len(p))
	if a < b {
		if _, err := w.w.Write(p[a-at : b-at]); err != nil {
			return 0, err
		}
	}
	if w.at > w.end {
		return 0, errBehind
	}
	return len(p), nil
}

// over returns how unpacking ended, where the end of the window is a good one.
func (w *window) over(err error) error {
	if errors.Is(err, errBehind) {
		return nil
	}
	return err
}
