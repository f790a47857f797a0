package piece

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// KeepIndex puts the index of a piece that was packed elsewhere, a file at path,
// where the piece is read by it. One that is not the index of that piece, given
// by its CID v2, is fault.Invalid. Adopt comes after.
func (s *Service) KeepIndex(ctx context.Context, pieceCID, path string) error {
	f, size, err := opened(os.Open(path))
	if err != nil {
		return fault.Wrap(err, "keep the index of piece %s", pieceCID)
	}
	defer f.Close()
	if err := checkIndex(f, size, pieceCID); err != nil {
		return fault.Wrap(err, "keep the index of piece %s", pieceCID)
	}
	_, err = s.blobs.Put(ctx, indexKey(pieceCID), io.NewSectionReader(f, 0, size))
	return fault.Wrap(err, "keep the index of piece %s", pieceCID)
}

// checkIndex compares the tree of an index with a piece CID.
func checkIndex(f io.ReaderAt, size int64, pieceCID string) error {
	c, err := cid.Decode(pieceCID)
	if err != nil {
		return fault.Mark(fault.Invalid, err)
	}
	want, err := commp.FromCIDv2(c)
	if err != nil {
		return fault.Mark(fault.Invalid, err)
	}
	x, err := pack.OpenIndex(f, size)
	if err != nil {
		return err
	}
	tree, err := x.Tree()
	if err != nil {
		return err
	}
	got, err := tree.PiecePadded(want.PaddedSize)
	if err != nil || got != want {
		return fault.New(fault.Invalid, "index of the piece %s", got.CIDv2)
	}
	return nil
}

// Adopt registers a piece that was packed elsewhere, whose index KeepIndex has
// put in place, in the caller's transaction. The label says whose it is:
// "dataset/3"; that is also who wants its CAR, if it was written, where it
// stands: a path or a bucket's URL. A piece the project already has is returned
// as it is, but for that place.
func (s *Service) Adopt(ctx context.Context, tx *db.Tx, project int64, label string, m pack.Made) (Piece, error) {
	p := Piece{
		Project: project, CID: m.Piece.CIDv2.String(), CIDv1: m.Piece.CIDv1.String(), Root: m.Root.String(),
		CARSize: m.CARSize, PaddedSize: int64(m.Piece.PaddedSize), Blocks: m.Blocks, CreatedAt: s.now(),
	}
	if m.CAR != "" {
		if err := s.hold(ctx, tx, m.CAR, func() error { return p.standsAt(m.CAR) }); err != nil {
			return Piece{}, fault.Wrap(err, "adopt piece %s", p.CID)
		}
	}
	if err := insertPiece(ctx, tx, &p); err != nil {
		return Piece{}, err
	}
	if m.CAR != "" {
		if err := keepPlace(ctx, tx, p.ID, p.CAR, label, s.now()); err != nil {
			return Piece{}, err
		}
	}
	return p, tell(ctx, tx, s.now(), p, pieceFact{Label: label})
}

// Hold notes that the CAR of a piece was exported to a place, which Export
// returned or CARIn names, and who wants it there: Drop and Release end that.
func (s *Service) Hold(ctx context.Context, tx *db.Tx, piece int64, place, holder string) error {
	p, err := pieceOfAnyProject(ctx, tx, piece)
	if err != nil {
		return err
	}
	if err := s.hold(ctx, tx, place, func() error { return p.standsAt(place) }); err != nil {
		return fault.Wrap(err, "hold the CAR of piece %s", p.CID)
	}
	if err := keepPlace(ctx, tx, p.ID, place, holder, s.now()); err != nil {
		return err
	}
	return insertPiece(ctx, tx, &p)
}

// tell appends the event of a piece that is ready.
func tell(ctx context.Context, tx *db.Tx, now time.Time, p Piece, f pieceFact) error {
	f.ID, f.CID, f.Root, f.CARSize, f.PaddedSize = p.ID, p.CID, p.Root, p.CARSize, p.PaddedSize
	return event.Append(ctx, tx, event.Event{
		At: now, Kind: "piece.ready", Project: p.Project, Subject: fmt.Sprintf("piece/%d", p.ID), Data: event.JSON(f),
	})
}
