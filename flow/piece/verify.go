package piece

import (
	"context"
	"io"
	"path/filepath"
	"slices"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
	"github.com/firth-project/firth/base/pack"
)

// Verify reads a piece of the project as it is served, its CAR where one stands
// and else the view of what it was packed from, and names what of it is damaged,
// in the order of the CAR. progress, which may be nil, is told how many bytes are
// done. One piece is verified at a time; the next waits.
func (s *Service) Verify(ctx context.Context, project int64, ref string, progress func(done int64)) (Piece, []pack.Damage, error) {
	p, err := s.Get(ctx, project, ref)
	if err != nil {
		return p, nil, err
	}
	var car io.ReaderAt
	if f, kept := s.OpenCached(p); kept {
		defer f.Close()
		car = f
	} else if f, kept := s.OpenStored(ctx, p); kept {
		defer f.Close()
		car = f
	}
	bad, err := s.verify(ctx, p, car, progress)
	return p, bad, err
}

// VerifyCopy is Verify of a copy somewhere else, such as a provider's: from is an
// absolute path or an http(s) URL whose server serves ranges. A copy that is
// longer than the piece is compared as far as the piece goes: providers may hand
// out the padding, too.
func (s *Service) VerifyCopy(ctx context.Context, project int64, ref, from string, progress func(done int64)) (Piece, []pack.Damage, error) {
	p, err := s.Get(ctx, project, ref)
	if err != nil {
		return p, nil, err
	}
	car, closeCopy, err := s.openCopy(ctx, from)
	if err != nil {
		return p, nil, err
	}
	defer closeCopy()
	bad, err := s.verify(ctx, p, car, progress)
	return p, bad, fault.Wrap(err, "copy at %s", from)
}

// openCopy opens an outside copy of a CAR.
func (s *Service) openCopy(ctx context.Context, from string) (io.ReaderAt, func(), error) {
	switch {
	case IsURL(from) && s.web == nil:
		return nil, nil, fault.New(fault.Unavailable, "copy at %s: this process connects to nobody", from)
	case IsURL(from):
		f, err := fetch.OpenFile(ctx, s.web, from)
		return f, func() {}, err
	case !filepath.IsAbs(from):
		return nil, nil, fault.New(fault.Invalid, "copy at %.200q: is neither an absolute path nor an http(s) URL", from)
	}
	f, _, err := openOwn(from)
	return f, func() { _ = f.Close() }, err
}

func (s *Service) verify(ctx context.Context, p Piece, car io.ReaderAt, progress func(done int64)) ([]pack.Damage, error) {
	select {
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	x, closeIndex, err := s.index(ctx, p.CID)
	if err != nil {
		return nil, fault.Wrap(err, "verify piece %s", p.CID)
	}
	defer func() { _ = closeIndex() }()
	bad, err := pack.Verify(ctx, x, bytesOf{s, p}, car, progress)
	for i := range bad {
		bad[i].Paths = slices.DeleteFunc(bad[i].Paths, func(path string) bool { return path == "" }) // of the CAR itself
	}
	return bad, fault.Wrap(err, "verify piece %s", p.CID)
}
