package indexdag

import (
	"context"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/firth-project/firth/base/fault"
)

// make gets one file to a temporary place.
func (t *fetching) make(ctx context.Context, e Entry, held map[cid.Cid][]byte) (*outFile, error) {
	out, err := t.create(t.local(e), "")
	if err != nil {
		return nil, err
	}
	if held != nil {
		s := e.Sources[0]
		err = t.f.copyPart(ctx, t.f.within(s.Piece, held), s, out.f)
		out, err = t.decoded(e, out, err)
	} else {
		out, err = t.whole(ctx, e, out)
	}
	if err != nil {
		out.discard()
		return nil, err
	}
	return out, nil
}

// whole gets a file by all of its sources.
func (t *fetching) whole(ctx context.Context, e Entry, out *outFile) (*outFile, error) {
	all, err := t.r.sourcesOf(ctx, e)
	if err != nil {
		return out, err
	}
	if t.h.encoded() && len(all) > 0 && all[0].alone() {
		return out, t.streams(ctx, e, all, out)
	}
	return t.decoded(e, out, t.f.parts(ctx, all, out.f, e.stored()))
}

// decoded ends a file that is there as it is stored, unless that has failed.
func (t *fetching) decoded(e Entry, out *outFile, err error) (*outFile, error) {
	if err == nil {
		err = diskError(out.f.Truncate(e.stored()))
	}
	if err == nil && t.h.encoded() {
		return t.decode(e, out)
	}
	return out, err
}

// streams gets a file whose parts are encoded each by itself: one after the
// other, so that no more than one has to lie beside what they unpack to.
func (t *fetching) streams(ctx context.Context, e Entry, all []Source, out *outFile) error {
	stored, err := t.create(t.local(e), "stored")
	if err != nil {
		return err
	}
	defer stored.discard()
	for same := range alternatives(all) {
		plain := same[0].Plain
		err := t.f.unpack(ctx, t.h, same, stored.f, io.NewOffsetWriter(out.f, plain.Offset))
		if err != nil {
			return fault.Wrap(err, "bytes %d to %d", plain.Offset, plain.Offset+plain.Length)
		}
	}
	return diskError(out.f.Truncate(e.Size))
}

// sourcesOf returns the sources of a file, which cover it.
func (r *Reader) sourcesOf(ctx context.Context, e Entry) (all []Source, err error) {
	for s, err := range r.Sources(ctx, e) {
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if err = covers(all, e.stored()); err == nil {
		err = coversPlain(all, e.Size)
	}
	return all, fault.Wrap(err, "the index is wrong")
}

// alternatives yields the sources of each part: one is as good as the other.
func alternatives(all []Source) iter.Seq[[]Source] {
	return func(yield func([]Source) bool) {
		for i := 0; i < len(all); {
			same := all[i : i+1]
			for i++; i < len(all) && all[i].Offset == same[0].Offset && all[i].Length == same[0].Length; i++ {
				same = same[:len(same)+1]
			}
			if !yield(same) {
				return
			}
		}
	}
}

// parts gets all parts of a file to their places in it.
func (f *Fetcher) parts(ctx context.Context, all []Source, out *os.File, total int64) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for same := range alternatives(all) {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return f.anyOf(ctx, same, out, total) })
	}
	return g.Wait()
}

// anyOf gets a part by the first of its sources that has it.
func (f *Fetcher) anyOf(ctx context.Context, same []Source, out *os.File, total int64) error {
	var errs []string
	var last error
	for _, s := range same {
		if last = f.part(ctx, s, out, total); last == nil || ctx.Err() != nil {
			return last
		}
		errs = append(errs, last.Error())
	}
	if len(errs) == 1 {
		return last
	}
	return fault.New(fault.KindOf(last), "%s", strings.Join(errs, "; "))
}

// unpack gets a part that is encoded by itself into a file that has room for
// it, and unpacks it from there.
func (f *Fetcher) unpack(ctx context.Context, h Header, same []Source, stored *os.File, w io.Writer) error {
	if err := stored.Truncate(0); err != nil {
		return diskError(err)
	}
	moved := make([]Source, len(same))
	for i, s := range same {
		s.Offset = 0
		moved[i] = s
	}
	length := same[0].Length
	if err := f.anyOf(ctx, moved, stored, length); err != nil {
		return err
	}
	return f.undo(h, io.NewSectionReader(stored, 0, length), w, same[0].Plain.Length)
}
