package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// spine is the part of the nodes above all chunks (of files that were cut, and
// all directories) that goes into one piece. They always come in the same
// order, so that a number of them is a place to go on from.
type spine struct {
	k     *packing
	piece int           // of the last chunk, from 0
	first pack.Outcomes // of its first piece, once that is made
	spineMark
}

// spineMark is what is kept of a spine beside its piece.
type spineMark struct {
	Skip int64  `json:"skip"` // nodes that are in the pieces before
	Put  int64  `json:"put"`  // nodes that are in this one
	Full bool   `json:"full"` // there are more
	Root string `json:"root"` // of the dataset, if there are not
}

// errFull ends the writing of a spine whose piece has no more room.
var errFull = fault.New(fault.Internal, "the rest goes into the next piece")

// tail puts the spine's nodes into its piece; it is the Tail of a pack.Job.
func (sp *spine) tail(ctx context.Context, packed pack.Outcomes, put func(blocks.Block) error) error {
	if sp.first != nil {
		packed = sp.first
	}
	if err := sp.write(ctx, sp.k.packed(packed), put); err != nil {
		return err
	}
	if sp.Full && sp.Put == 0 && sp.piece > 0 {
		return fault.New(fault.Invalid, "preparation %d: a piece of %s takes no directory of this dataset; prepare it with larger pieces",
			sp.k.p.ID, size(sp.k.p.Rules.PieceSize))
	}
	return writeFile(sp.file(), sp.spineMark)
}

func (sp *spine) file() string {
	return filepath.Join(sp.k.s.chunkDir(sp.k.c), fmt.Sprintf("spine-%d.json", sp.piece))
}

// load reads what tail has written, in this run or an earlier one.
func (sp *spine) load() error {
	text, err := os.ReadFile(sp.file())
	if err != nil {
		return err
	}
	return fault.Wrap(json.Unmarshal(text, &sp.spineMark), "read %s", sp.file())
}

// next is what goes into the piece after this one.
func (sp *spine) next() *spine {
	return &spine{k: sp.k, piece: sp.piece + 1, first: sp.first, spineMark: spineMark{Skip: sp.Skip + sp.Put}}
}

// write makes all nodes and puts those that are not skipped, until put says
// that the piece is full; a nil put only finds the root.
func (sp *spine) write(ctx context.Context, own iter.Seq2[Record, error], put func(blocks.Block) error) error {
	sp.Put, sp.Full, sp.Root = 0, false, ""
	n := int64(0)
	emit := func(b blocks.Block) error {
		if n++; n <= sp.Skip || put == nil {
			return nil
		}
		err := put(b)
		if errors.Is(err, pack.ErrFull) {
			return errFull
		}
		if err == nil {
			sp.Put++
		}
		return err
	}
	root, err := sp.k.s.tree(ctx, sp.k.p, sp.k.c.Ordinal, own, sp.k.prof, emit)
	if errors.Is(err, errFull) {
		sp.Full = true
		return nil
	}
	sp.Root = root
	return err
}

// tree makes the dataset's directories of what the chunks before an ordinal,
// and then last, say, and returns the root.
func (s *Service) tree(ctx context.Context, p preparationRow, before int64, last iter.Seq2[Record, error], prof dag.Profile,
	emit func(blocks.Block) error) (string, error) {
	dirs := dag.NewDirectoryWriter(prof, emit)
	for r, err := range whole(s.outcomes(ctx, p.ID, before, last), joiner{prof, p.Rules.encoded(), emit}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return "", err
		}
		switch {
		case r.State == FileSkipped:
		case r.Kind == KindDirectory:
			err = dirs.Mkdir(r.Path)
		default:
			err = dirs.Add(r.Path, r.Entry())
		}
		if err != nil {
			return "", err
		}
	}
	root, err := dirs.Finish()
	if err != nil {
		return "", err
	}
	return root.Cid.String(), nil
}

// outcomes yields what became of the records of all chunks before an ordinal,
// then those of last.
func (s *Service) outcomes(ctx context.Context, preparation, before int64, last iter.Seq2[Record, error]) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for c, err := range s.chunks(ctx, preparation) {
			if err == nil && c.Ordinal >= before {
				break
			}
			for r, err := range s.outcomesOf(ctx, c, err) {
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
		last(yield)
	}
}

// outcomesOf yields the records of one chunk; of one that was removed, all that
// it would have packed are skipped.
func (s *Service) outcomesOf(ctx context.Context, c chunkRow, err error) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err != nil {
			yield(Record{}, err)
			return
		}
		key := c.Outcome
		if key == "" {
			key = c.List
		}
		list, done, err := s.openCatalog(ctx, key)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer done()
		for r, err := range list.From("") {
			if err == nil && c.State == ChunkRemoved && r.State == FilePending && r.Kind != KindDirectory {
				r.State, r.Reason = FileSkipped, fmt.Sprintf("chunk %d of the preparation was removed", c.Ordinal)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// whole joins the parts of files that were cut, which follow one another, and
// emits the nodes that join them. A file that is not there as a whole is
// skipped as a whole.
func whole(records iter.Seq2[Record, error], j joiner) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var cut *Record
		flush := func() (bool, error) {
			if cut == nil {
				return true, nil
			}
			r := *cut
			cut = nil
			if err := j.join(&r); err != nil {
				return false, err
			}
			return yield(r, nil), nil
		}
		for r, err := range records {
			if err == nil && cut != nil && cut.Path == r.Path && r.Kind == KindFile {
				cut.Parts = append(cut.Parts, r.Parts...)
				if r.State == FileSkipped && cut.State != FileSkipped {
					cut.State, cut.Reason = FileSkipped, r.Reason
				}
				continue
			}
			more := true
			if err == nil {
				more, err = flush()
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !more {
				return
			}
			if part(r) {
				cut = &r
				continue
			}
			if !yield(r, nil) {
				return
			}
		}
		if _, err := flush(); err != nil {
			yield(Record{}, err)
		}
	}
}

// part reports whether a record is of less than a whole file of this
// preparation.
func part(r Record) bool {
	return r.Kind == KindFile && r.State != FileCarried && len(r.Parts) > 0 && !r.CID.Defined()
}

// joiner makes the nodes above the parts of files.
type joiner struct {
	prof    dag.Profile
	encoded bool // each part is a stream of its own
	emit    func(blocks.Block) error
}

// join makes one record of the parts of a file.
func (j joiner) join(r *Record) (err error) {
	end := int64(0)
	var tops []dag.Top
	for i := range r.Parts {
		if r.Parts[i].Offset == end {
			end += r.Parts[i].Length
		}
		tops = append(tops, r.Parts[i].Tops...)
		if !j.encoded {
			r.Parts[i].Tops = nil
		}
	}
	if r.State == FilePacked && end != r.Size {
		r.State, r.Reason = FileSkipped, fmt.Sprintf("%d of its %d bytes were packed", end, r.Size)
	}
	if r.State != FilePacked {
		r.Parts = nil
		return nil
	}
	var root dag.Entry
	if j.encoded { // the file is its streams, one behind the other
		root, err = dag.PartFile(j.prof, tops, j.emit)
	} else {
		root, err = dag.JoinFile(j.prof, r.Size, tops, j.emit)
	}
	if err != nil {
		return fault.Wrap(err, "%q", r.Path)
	}
	r.CID, r.TreeSize = root.Cid, root.TreeSize
	return nil
}

// discard takes blocks that are elsewhere or not wanted.
func discard(blocks.Block) error { return nil }

// writeCatalog writes records as a catalog.
func writeCatalog(w interface{ Write([]byte) (int, error) }, records iter.Seq2[Record, error]) (Counts, error) {
	c := NewCatalogWriter(w)
	for r, err := range records {
		if err == nil {
			err = c.Add(r)
		}
		if err != nil {
			return Counts{}, err
		}
	}
	return c.Counts(), c.Close()
}
