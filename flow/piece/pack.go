package piece

import (
	"bytes"
	"context"
	"io"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

// pack turns a plan's roots into pieces: each part is laid out, streamed once
// through the commitment, and its index kept. Rows are the caller's. Running it
// again writes the same files.
func (s *Service) pack(ctx context.Context, p Plan) ([]Piece, error) {
	roots, err := rootsOf(ctx, s.db.Read(), p.ID)
	if err != nil {
		return nil, err
	}
	var made []Piece
	err = lay(ctx, s.blocks, roots, s.settings.payload(), func(part part) error {
		piece, err := s.commit(ctx, part)
		if err != nil {
			return fault.Wrap(err, "part %d", len(made)+1)
		}
		piece.Project = p.Project
		made = append(made, piece)
		return nil
	})
	return made, err
}

// commit hashes a part and keeps its index, and its CAR where that is wanted.
func (s *Service) commit(ctx context.Context, p part) (Piece, error) {
	x, err := openIndex(bytes.NewReader(p.index), int64(len(p.index)))
	if err != nil {
		return Piece{}, err
	}
	car := newReader(ctx, s.blocks, x, func() error { return nil })
	sum := commp.New()
	if _, err := io.Copy(sum, car); err != nil {
		return Piece{}, err
	}
	padded := max(commp.PaddedSize(uint64(p.size)), uint64(s.settings.MinPadded))
	c, err := sum.SumPadded(padded)
	if err != nil {
		return Piece{}, err
	}
	piece := Piece{
		CID: c.CIDv2.String(), CIDv1: c.CIDv1.String(), Root: p.root.String(),
		CARSize: p.size, PaddedSize: int64(c.PaddedSize), Blocks: int64(p.count), Cached: s.settings.CacheCAR,
	}
	if _, err := s.blobs.Put(ctx, indexKey(piece.CID), bytes.NewReader(p.index)); err != nil {
		return Piece{}, fault.Wrap(err, "keep the index of piece %s", piece.CID)
	}
	if piece.Cached {
		if _, err := car.Seek(0, io.SeekStart); err != nil {
			return Piece{}, err
		}
		if _, err := s.blobs.Put(ctx, carKey(piece.CID), car); err != nil {
			return Piece{}, fault.Wrap(err, "keep the CAR of piece %s", piece.CID)
		}
	}
	return piece, nil
}
