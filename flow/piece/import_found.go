package piece

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// complete copies a CAR whose index a node apart has handed in, and compares. If
// it changed since, everything begins again.
func (s *Service) complete(ctx context.Context, im Import) error {
	err := s.completeSame(ctx, im)
	if errors.Is(err, errCaught) {
		return nil // and asked for again
	}
	if !fault.Is(err, fault.Conflict) || ctx.Err() != nil {
		return err
	}
	im.State, im.Reason, im.NextAttempt, im.found = ImportWaiting, "started over: "+err.Error(), s.now(), found{}
	s.log.WarnContext(ctx, "import starts over", "import", im.ID, "place", im.Place, "reason", err)
	if err := s.startOver(ctx, im); err != nil {
		return err
	}
	return s.saveAndAsk(ctx, im)
}

func (s *Service) completeSame(ctx context.Context, im Import) error {
	head, err := s.headOf(ctx, im)
	if err != nil {
		return fault.Wrap(err, "import %s", im.Place)
	}
	if err := s.nameCopy(&im); err != nil {
		return err
	}
	c, err := s.resumeCopy(im, im.kept)
	if fault.Is(err, fault.Conflict) {
		im.kept = 0
		c, err = s.resumeCopy(im, 0)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, done, stop := s.attend(ctx, im, im.kept)
	defer stop()
	if err := s.copyCAR(ctx, &im, c, head, done.Store); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fault.Wrap(err, "import %s", im.Place)
	}
	return s.conclude(ctx, im, theCAR{head.at, im.kept, c}, c)
}

// carHead is where the CAR is in a stream.
type carHead struct {
	at    int64
	inner int64 // its length, 0 for: to the end
}

// headOf reads the beginning of the place of an import.
func (s *Service) headOf(ctx context.Context, im Import) (carHead, error) {
	in, err := s.openAgain(ctx, im, 0)
	if err != nil {
		return carHead{}, err
	}
	defer in.Close()
	return readHead(in, s.settings.payload())
}

// readHead reads where the CAR is in a stream.
func readHead(in io.Reader, limit int64) (carHead, error) {
	s := &scan{scanning: scanning{limit: limit}, in: bufio.NewReader(in)}
	pragma, err := s.in.Peek(len(pragmaV2))
	if err != nil && !errors.Is(err, io.EOF) {
		return carHead{}, err
	}
	if string(pragma) != pragmaV2 {
		return carHead{}, nil
	}
	err = s.unwrap()
	return carHead{s.at, s.inner}, err
}

// copyCAR brings the rest of a CAR into its copy, durable from point to point.
func (s *Service) copyCAR(ctx context.Context, im *Import, c *copying, head carHead, progress func(int64)) error {
	in, err := s.openAgain(ctx, *im, head.at+im.kept)
	if err != nil {
		return err
	}
	defer in.Close()
	var rest io.Reader = in
	if head.inner > 0 {
		rest = io.LimitReader(in, head.inner-im.kept)
	}
	step := s.settings.KeepBytes
	if step <= 0 {
		step = keepBytes
	}
	for {
		n, err := io.CopyN(&watched{ctx, c, im.kept, progress}, rest, min(step, s.settings.payload()-im.kept+1))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if im.kept += n; im.kept > s.settings.payload() {
			return tooLarge(im.kept, s.settings.payload())
		}
		if err := c.Sync(); err != nil {
			return err
		}
		kept := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return keptImport(ctx, tx, *im, s.now()) })
		if err != nil || kept != nil {
			return errors.Join(kept, in.check())
		}
	}
}

// watched tells how much was written, and ends with its context.
type watched struct {
	ctx      context.Context
	w        io.Writer
	done     int64
	progress func(int64)
}

func (w *watched) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.w.Write(p)
	w.done += int64(n)
	w.progress(w.done)
	return n, err
}

// theCAR is the CAR of an import as the node sees it.
type theCAR struct {
	at, size    int64 // where it begins in its place; its length
	io.ReaderAt       // of the CAR
}

// heldCAR is the CAR in a file that stays where it is.
func (s *Service) heldCAR(im Import, f *os.File) (theCAR, error) {
	head, err := readHead(io.NewSectionReader(f, 0, im.Size), s.settings.payload())
	if err != nil {
		return theCAR{}, err
	}
	size := im.Size - head.at
	if head.inner > 0 {
		size = min(size, head.inner)
	}
	return theCAR{head.at, size, io.NewSectionReader(f, head.at, size)}, nil
}

// conclude makes a piece of what a node apart has found, if it is so as far as
// the samples show; kept is the copy, nil where the CAR stays. What is not so is
// fault.Conflict, its import waits again and its token is refused.
func (s *Service) conclude(ctx context.Context, im Import, car theCAR, kept *copying) error {
	index, size, closeIndex, err := s.indexFile(ctx, im.found.index)
	if err != nil {
		return err
	}
	defer func() { _ = closeIndex() }()
	x, err := pack.OpenIndex(index, size)
	if err != nil { // of another version of this program, perhaps
		return s.doubt(ctx, im, fault.New(fault.Unavailable, "import %s: a worker handed in what is no index: %v", im.Place, err))
	}
	tree, err := x.Tree()
	if err != nil {
		return s.doubt(ctx, im, fault.Mark(fault.Unavailable, err))
	}
	root, err := compare(s.random, im, x, tree, car)
	var caught *lie
	if errors.As(err, &caught) {
		return s.caught(ctx, im, caught)
	}
	if fault.Is(err, fault.Invalid) {
		return s.doubt(ctx, im, err)
	}
	if err != nil {
		return fault.Wrap(err, "import %s", im.Place)
	}
	made, err := s.wanted(tree, im.PieceCID, 0)
	if err != nil {
		return s.doubt(ctx, im, fault.Wrap(err, "import %s", im.Place))
	}
	if !s.indexed(ctx, made) {
		if _, err := s.blobs.Put(ctx, indexKey(made.CIDv2.String()), io.NewSectionReader(index, 0, size)); err != nil {
			return fault.Wrap(err, "keep the index of piece %s", made.CIDv2)
		}
	}
	p := pieceFrom(im, made, root, x.Records())
	if kept == nil {
		p.standsIn(im, car.at, im.Size)
	} else if err := kept.finish(ctx, carKey(p.CID)); err != nil {
		return fault.Wrap(err, "keep the CAR of piece %s", p.CID)
	}
	return s.finish(ctx, im, p)
}

// doubt has the node itself do an import that would fail by a worker's word.
func (s *Service) doubt(ctx context.Context, im Import, reason error) error {
	im.found = found{}
	return s.returned(ctx, im, reason, false)
}

// rootIn checks that a root is one of a CAR's roots or blocks.
func rootIn(x *pack.Index, root string) (cid.Cid, error) {
	c, err := cid.Decode(root)
	if err != nil {
		return c, fault.New(fault.Invalid, "root %q: %w", root, err)
	}
	r, err := dag.NewCARReader(bytes.NewReader(x.Header()), dag.CAROptions{})
	if err != nil {
		return c, err
	}
	if slices.Contains(r.Roots, c) {
		return c, nil
	}
	if _, found, err := x.Find(c.Hash()); err != nil || !found {
		return c, errors.Join(err, fault.Wrap(errNoSuchRoot, "root %s", c))
	}
	return c, nil
}

var errNoSuchRoot = fault.New(fault.Invalid, "is no root nor block of the CAR")
