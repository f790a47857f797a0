package piece

import (
	"context"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
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
	header := dag.CARHeader([]cid.Cid{p.root})
	tree, err := s.hash(ctx, header, p)
	if err != nil {
		return Piece{}, err
	}
	padded := max(commp.PaddedSize(uint64(p.size)), uint64(s.settings.MinPadded))
	c, err := tree.PiecePadded(padded)
	if err != nil {
		return Piece{}, err
	}
	piece := Piece{
		CID: c.CIDv2.String(), CIDv1: c.CIDv1.String(), Root: p.root.String(),
		CARSize: p.size, PaddedSize: int64(c.PaddedSize), Blocks: p.spool.Records(), Cached: s.settings.CacheCAR,
	}
	index, into := io.Pipe()
	go func() { _ = into.CloseWithError(p.spool.WriteIndex(ctx, into, header, p.size, tree)) }()
	_, err = s.blobs.Put(ctx, indexKey(piece.CID), index)
	_ = index.Close() // lets the writer end where the store did not read on
	if err != nil {
		return Piece{}, fault.Wrap(err, "keep the index of piece %s", piece.CID)
	}
	if !piece.Cached {
		return piece, nil
	}
	car, err := s.open(ctx, piece)
	if err != nil {
		return Piece{}, err
	}
	defer car.Close()
	_, err = s.blobs.Put(ctx, carKey(piece.CID), car)
	return piece, fault.Wrap(err, "keep the CAR of piece %s", piece.CID)
}

// hash streams the CAR of a part through its commitment.
func (s *Service) hash(ctx context.Context, header []byte, p part) (*commp.Tree, error) {
	w := &slots{tree: commp.NewTree(p.size), held: append(make([]byte, 0, heldSlots), header...)}
	for i := range p.spool.Records() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := p.spool.At(i)
		if err != nil {
			return nil, err
		}
		if err := s.section(ctx, w, r); err != nil {
			return nil, err
		}
	}
	return w.tree, w.flush()
}

// section writes one block as it stands in the CAR.
func (s *Service) section(ctx context.Context, w io.Writer, r pack.Record) error {
	c, err := r.Cid()
	if err != nil {
		return err
	}
	b, err := s.blocks.Get(ctx, c)
	if err != nil {
		return fault.Wrap(err, "block %s at %d of the CAR", c, r.Offset)
	}
	if len(b.RawData()) != r.Size {
		return fault.New(fault.Internal, "block %s: has %d bytes, %d were laid out", c, len(b.RawData()), r.Size)
	}
	if _, err := w.Write(r.AppendHead(nil)); err != nil {
		return err
	}
	_, err = w.Write(b.RawData())
	return err
}

// heldSlots is how many bytes go into the tree at a time: 1 MiB, whole slots.
const heldSlots = 8 * commp.SlotRaw

// slots writes a stream into a tree.
type slots struct {
	tree *commp.Tree
	off  int64
	held []byte // what comes at off
}

func (s *slots) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(heldSlots-len(s.held), len(p))
		s.held = append(s.held, p[:k]...)
		p = p[k:]
		if len(s.held) == heldSlots {
			if err := s.flush(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

func (s *slots) flush() error {
	err := s.tree.SetAt(s.off, s.held)
	s.off, s.held = s.off+int64(len(s.held)), s.held[:0]
	return err
}
