package piece

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// What nodes of role commp do with imports, from outside: claim one, read its
// CAR, beat while they compute, and hand the index in or give up. Whoever shows
// an epoch that is not the row's has lost the import: fault.Conflict.

// Lease is how long the owner of an import may be silent.
func (s *Service) Lease() time.Duration { return s.settings.Lease }

// Payload is how many bytes of CAR fit into a piece.
func (s *Service) Payload() int64 { return s.settings.payload() }

// ClaimImport gives a worker the next import of the project, of a file that
// stays where it is. While the lease lives no other gets it. If none waits, the
// error is fault.NotFound.
func (s *Service) ClaimImport(ctx context.Context, project int64, worker string) (Import, error) {
	for {
		id, err := nextImport(ctx, s.db.Read(), project, s.now())
		if err != nil {
			return Import{}, err
		}
		if id == 0 {
			return Import{}, fault.New(fault.NotFound, "no import waits for a commitment")
		}
		im, err := s.claim(ctx, id, worker)
		if fault.Is(err, fault.Conflict) {
			continue // somebody was faster
		}
		if err != nil {
			return Import{}, err
		}
		if err = s.measure(ctx, &im); err == nil {
			return im, nil
		}
		s.leave(&im, err, fault.KindOf(err).Retry(), false)
		if err := s.save(ctx, im); err != nil && !fault.Is(err, fault.Conflict) {
			return Import{}, err
		}
	}
}

// measure notes which file a claim is about.
func (s *Service) measure(ctx context.Context, im *Import) error {
	if im.Attempts > maxAttempts {
		return fault.New(fault.Invalid, "import %s: %d workers began it and fell silent", im.Place, maxAttempts)
	}
	f, info, err := openOwn(im.Place)
	if err != nil {
		return err
	}
	defer f.Close()
	if info.Size() > s.settings.payload()+(1<<30) { // of a CARv2, the index is not in the piece
		return tooLarge(info.Size(), s.settings.payload())
	}
	im.Size, im.mtime = info.Size(), info.ModTime().UnixNano()
	return s.beat(ctx, *im)
}

func (s *Service) beat(ctx context.Context, im Import) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		return beatImport(ctx, tx, im, now, now.Add(s.settings.Lease))
	})
}

// owns reads an import that a worker says it owns.
func (s *Service) owns(ctx context.Context, project, id, epoch int64) (Import, error) {
	im, err := importByID(ctx, s.db.Read(), project, id)
	if err == nil && (im.Epoch != epoch || im.State != ImportRunning) {
		err = fault.New(fault.Conflict, "import %d: epoch %d owns it no longer; it is %s at epoch %d", id, epoch, im.State, im.Epoch)
	}
	return im, err
}

// BeatImport renews a lease and notes how many bytes are done.
func (s *Service) BeatImport(ctx context.Context, project, id, epoch, done int64) error {
	im, err := s.owns(ctx, project, id, epoch)
	if err != nil {
		return err
	}
	im.DoneBytes = max(min(done, im.Size), im.DoneBytes)
	return s.beat(ctx, im)
}

// OpenImport opens the CAR for its owner.
func (s *Service) OpenImport(ctx context.Context, project, id, epoch int64) (*os.File, Import, error) {
	im, err := s.owns(ctx, project, id, epoch)
	if err != nil {
		return nil, im, err
	}
	f, info, err := openOwn(im.Place)
	if err != nil {
		return nil, im, err
	}
	if info.Size() != im.Size || info.ModTime().UnixNano() != im.mtime {
		_ = f.Close()
		return nil, im, fault.New(fault.Conflict, "import %s: changed since it was claimed", im.Place)
	}
	return f, im, nil
}

// GiveUpImport ends an attempt; retry says whether another one may succeed.
func (s *Service) GiveUpImport(ctx context.Context, project, id, epoch int64, reason string, retry bool) error {
	im, err := s.owns(ctx, project, id, epoch)
	if err != nil {
		return err
	}
	s.leave(&im, errors.New(reason), retry, false)
	return s.save(ctx, im)
}

// FinishImport registers the piece of an import from its index, as a worker made
// it: root is the piece's, at is where the CAR begins in the file. The index is
// believed so far as it is one, of a CAR with that beginning in that file, whose
// slots are those of the file in a few samples. Whatever it says, blocks are
// hashed before they are served by it.
func (s *Service) FinishImport(ctx context.Context, project, id, epoch int64, root string, at int64, index io.Reader) (Import, error) {
	f, im, err := s.OpenImport(ctx, project, id, epoch)
	if err != nil {
		return im, err
	}
	defer f.Close()
	copied, size, err := unnamedCopy(io.LimitReader(index, 2*im.Size+1<<20))
	if err != nil {
		return im, fault.Wrap(err, "take the index of import %d", id)
	}
	defer copied.Close()
	p, made, err := s.judge(im, f, copied, size, root, at)
	if err != nil {
		return im, s.refuse(ctx, im, err)
	}
	if !s.indexed(ctx, made) {
		if _, err := s.blobs.Put(ctx, indexKey(p.CID), io.NewSectionReader(copied, 0, size)); err != nil {
			return im, fault.Wrap(err, "keep the index of piece %s", p.CID)
		}
	}
	if err := s.finish(ctx, im, p); err != nil {
		return im, err
	}
	return importByID(ctx, s.db.Read(), project, id)
}

// refuse fails an import whose result cannot be: nobody else will find another.
func (s *Service) refuse(ctx context.Context, im Import, reason error) error {
	s.leave(&im, reason, fault.KindOf(reason).Retry() && !fault.Is(reason, fault.Internal), false)
	if err := s.save(ctx, im); err != nil {
		return err
	}
	return reason
}

// unnamedCopy keeps a stream in a file that goes with its descriptor.
func unnamedCopy(r io.Reader) (*os.File, int64, error) {
	f, err := os.CreateTemp("", "firth-index-*")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(f.Name())
	var n int64
	if err == nil {
		n, err = io.Copy(f, r)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, n, nil
}

// judge makes a piece of an index from outside.
func (s *Service) judge(im Import, f *os.File, index io.ReaderAt, size int64, root string, at int64) (p Piece, made commp.Piece, err error) {
	x, err := pack.OpenIndex(index, size)
	if err != nil {
		return p, made, fault.New(fault.Invalid, "import %d: what was handed in is no index: %v", im.ID, err)
	}
	tree, err := x.Tree()
	if err != nil {
		return p, made, fault.Mark(fault.Invalid, err)
	}
	if at < 0 || at > im.Size || x.CARSize() > im.Size-at {
		return p, made, fault.New(fault.Invalid, "import %d: CAR of %d bytes at %d of a file of %d", im.ID, x.CARSize(), at, im.Size)
	}
	if err := sample(f, at, x, tree); err != nil {
		return p, made, fault.Wrap(err, "import %s", im.Place)
	}
	c, err := rootIn(x, root)
	if err != nil {
		return p, made, fault.Wrap(err, "import %s", im.Place)
	}
	if made, err = s.wanted(tree, im.PieceCID); err != nil {
		return p, made, fault.Wrap(err, "import %s", im.Place)
	}
	p = pieceFrom(im, made, c, x.Records())
	p.standsIn(im, at, im.Size)
	return p, made, nil
}

// samples is how many slots of a CAR are compared with an index from outside.
const samples = 8

// sample compares the beginning and some slots of a CAR with its index.
func sample(f io.ReaderAt, at int64, x *pack.Index, tree *commp.Tree) error {
	head := make([]byte, len(x.Header()))
	if _, err := f.ReadAt(head, at); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(head, x.Header()) {
		return fault.New(fault.Conflict, "its index is that of another CAR")
	}
	own := commp.NewTree(x.CARSize())
	for i := range min(samples, tree.Slots()) {
		slot := i * (tree.Slots() - 1) / max(min(samples, tree.Slots())-1, 1)
		off := int64(slot) * commp.SlotRaw
		raw := make([]byte, min(commp.SlotRaw, x.CARSize()-off))
		if n, err := f.ReadAt(raw, at+off); n < len(raw) {
			return err
		}
		if err := own.SetAt(off, raw); err != nil {
			return fault.Mark(fault.Internal, err)
		}
		got, _ := own.Root(slot)
		if want, _ := tree.Root(slot); got != want {
			return fault.New(fault.Conflict, "bytes %d to %d are not those its index was made of", off, off+int64(len(raw)))
		}
	}
	return nil
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
	rec, err := pack.NewRecord(c, 0, 0)
	if err != nil {
		return c, err
	}
	if _, found, err := x.Find(rec.Digest); err != nil || !found {
		return c, errors.Join(err, fault.New(fault.Invalid, "root %s: is no root nor block of the CAR", c))
	}
	return c, nil
}
