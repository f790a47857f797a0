package dataset

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/flow/piece"
)

// finish makes the catalog and the index of a preparation whose chunks are all
// packed, has the index packed into a piece of its own, and completes it.
func (s *Service) finish(ctx context.Context, p *preparationRow) error {
	if p.Stage != Indexing {
		return nil
	}
	dir := s.workDir(p.ID, "finish")
	leave, err := s.enter(dir)
	if err != nil {
		return err
	}
	defer leave()
	if p.IndexPlan != 0 {
		return s.awaitIndex(ctx, p)
	}
	f := &finisher{s: s, p: p, pieces: map[int64]piece.Piece{}, cids: map[int64]cid.Cid{}}
	if f.prof, err = dag.ProfileNamed(""); err != nil {
		return err
	}
	if err := f.load(ctx); err != nil {
		return err
	}
	if err := s.putBlob(ctx, blobKey(p.ID, catalogBlob), func(w io.Writer) error { return f.write(ctx, w) }); err != nil {
		return err
	}
	if err := f.names(ctx, dir); err != nil {
		return err
	}
	before, err := f.before(ctx)
	if err != nil {
		return err
	}
	if before.ID != 0 {
		f.row.IndexRoot, f.row.IndexPiece = before.IndexRoot, before.IndexPiece
		return s.completed(ctx, p, f.row)
	}
	return f.submit(ctx)
}

// finisher is one run over what all chunks became.
type finisher struct {
	s      *Service
	p      *preparationRow
	prof   dag.Profile
	row    preparationRow        // what will be written
	chunks map[int64]int64       // the piece with the data of each chunk, by ordinal
	pieces map[int64]piece.Piece // by id, those that the index names
	cids   map[int64]cid.Cid     // theirs
	made   bool                  // there are new pieces
	last   string                // root that the last chunk has found
	index  *indexdag.Writer
	batch  []blocks.Block
	bytes  int
}

// load reads what the chunks became.
func (f *finisher) load(ctx context.Context) error {
	f.chunks = map[int64]int64{}
	for c, err := range f.s.chunks(ctx, f.p.ID) {
		if err != nil {
			return err
		}
		for i, id := range c.Pieces {
			f.made = true
			if i == 0 {
				f.chunks[c.Ordinal] = id
				continue
			}
			if _, err := f.piece(ctx, id); err != nil {
				return err
			}
		}
		f.last = c.Root
	}
	return nil
}

// piece returns a piece that the index is to name.
func (f *finisher) piece(ctx context.Context, id int64) (piece.Piece, error) {
	if p, ok := f.pieces[id]; ok {
		return p, nil
	}
	p, err := f.s.pieces.Get(ctx, f.p.ProjectID, strconv.FormatInt(id, 10))
	if err != nil {
		return p, err
	}
	f.pieces[id] = p
	f.cids[id], err = cid.Decode(p.CID)
	return p, err
}

// write makes the catalog and the index in one pass. The directories are made
// already: their root is the last chunk's.
func (f *finisher) write(ctx context.Context, w io.Writer) error {
	c := NewCatalogWriter(w)
	f.index = indexdag.NewWriter(func(b blocks.Block) error { return f.put(ctx, b) }, indexdag.WriterOptions{})
	outcomes := f.s.outcomes(ctx, f.p.ID, f.p.Chunks+1, empty)
	for r, err := range whole(outcomes, joiner{f.prof, f.p.Rules.encoded(), discard}) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = f.record(ctx, c, r)
		}
		if err != nil {
			return err
		}
	}
	n := c.Counts()
	f.row.Root, f.row.Files, f.row.Bytes, f.row.Carried = f.last, n.Files+n.Links, n.Bytes, n.Carried
	f.row.Skipped += n.Skipped + f.p.Scan.Found.Unlisted
	if err := c.Close(); err != nil {
		return err
	}
	return f.close(ctx)
}

// record puts a record into the catalog and into the index.
func (f *finisher) record(ctx context.Context, c *CatalogWriter, r Record) error {
	if r.State == FilePacked {
		for i := range r.Parts {
			r.Parts[i].Piece = f.chunks[r.Parts[i].Piece]
		}
	}
	if err := c.Add(r); err != nil {
		return err
	}
	if r.Kind == KindDirectory && r.State == FileSkipped {
		f.row.Skipped++
	}
	return f.add(ctx, r)
}

// empty yields no record.
func empty(func(Record, error) bool) {}

// add puts a record into the index.
func (f *finisher) add(ctx context.Context, r Record) error {
	if r.State == FileSkipped {
		return nil
	}
	e := indexdag.Entry{Path: r.Path, Size: r.Size, Cid: r.CID, Target: r.Target}
	if r.Modified != 0 {
		e.ModTime = time.Unix(0, r.Modified).UTC()
	}
	switch r.Kind {
	case KindDirectory:
		e.Kind, e.Size = indexdag.Dir, 0
	case KindLink:
		e.Kind = indexdag.Symlink
	}
	encoded := r.Kind == KindFile && f.p.Rules.encoded()
	for _, part := range r.Parts {
		if _, err := f.piece(ctx, part.Piece); err != nil {
			return err
		}
		src := indexdag.Source{
			Piece: f.cids[part.Piece], Cid: part.CID, Offset: part.Offset, Length: part.Length,
			CAR: []indexdag.Range{{Offset: part.CAROffset, Length: part.CARLength}},
		}
		if encoded && len(r.Parts) > 1 {
			src.Plain = indexdag.Range{Offset: part.Offset, Length: part.Length}
			src.Offset, src.Length = e.Stored, part.Tops[0].Size
		}
		if encoded {
			e.Stored += src.Length
		}
		if len(r.Parts) > 1 {
			src.Path = fmt.Sprintf("%s.part-%d-%d", r.Path, part.Offset, part.Offset+part.Length)
		}
		e.Sources = append(e.Sources, src)
	}
	return f.index.Add(e)
}

// indexBatch is how many bytes of an index are stored at once.
const indexBatch = 8 << 20

func (f *finisher) put(ctx context.Context, b blocks.Block) error {
	f.batch = append(f.batch, b)
	if f.bytes += len(b.RawData()); f.bytes < indexBatch {
		return nil
	}
	return f.flush(ctx)
}

func (f *finisher) flush(ctx context.Context) error {
	err := f.s.blocks.PutMany(ctx, f.batch)
	f.batch, f.bytes = nil, 0
	return fault.Wrap(err, "store the index of preparation %d", f.p.ID)
}

// close ends the index.
func (f *finisher) close(ctx context.Context) error {
	d, err := datasetOf(ctx, f.s.db.Read(), f.p.DatasetID)
	if err != nil {
		return err
	}
	root, err := cid.Decode(f.row.Root)
	if err != nil {
		return err
	}
	h := indexdag.Header{Name: d.Name, Root: root, Profile: f.prof.Name}
	h.Compression = f.p.Rules.Compress
	if len(f.p.Rules.Encrypt) > 0 {
		h.Encryption = "age"
	}
	at, err := f.index.Finish(h, f.listed())
	if err != nil {
		return err
	}
	f.row.IndexRoot = at.String()
	return f.flush(ctx)
}

// listed yields the pieces that the index names by their CIDs: ids are given in
// the order workers finish, and equal data shall have an equal index.
func (f *finisher) listed() iter.Seq2[indexdag.Piece, error] {
	return func(yield func(indexdag.Piece, error) bool) {
		byCID := func(a, b int64) int { return strings.Compare(f.pieces[a].CID, f.pieces[b].CID) }
		for _, id := range slices.SortedFunc(maps.Keys(f.pieces), byCID) {
			p := f.pieces[id]
			root, err := cid.Decode(p.Root)
			if !yield(indexdag.Piece{Cid: f.cids[id], Root: root, Size: p.CARSize}, err) || err != nil {
				return
			}
		}
	}
}

// names makes the list that files are found in by name.
func (f *finisher) names(ctx context.Context, dir string) error {
	c, done, err := f.s.catalogOf(ctx, f.p.ID)
	if err != nil {
		return err
	}
	defer done()
	if err := makeDir(dir); err != nil {
		return err
	}
	return f.s.putBlob(ctx, blobKey(f.p.ID, namesBlob), func(w io.Writer) error { return WriteNames(ctx, w, c, dir) })
}

// before returns the preparation before if nothing at all has changed since:
// its index is this one's then.
func (f *finisher) before(ctx context.Context) (preparationRow, error) {
	if f.p.Prior == 0 || f.made {
		return preparationRow{}, nil
	}
	row, err := rowOfPreparation(ctx, f.s.db.Read(), f.p.Prior)
	if err != nil || row.State != Complete || row.Root != f.row.Root || row.Files != f.row.Files || row.IndexPiece == 0 {
		return preparationRow{}, err
	}
	return row, nil
}

// submit has the index packed; that it was is seen by the next run.
func (f *finisher) submit(ctx context.Context) error {
	root := piece.Root{CID: f.row.IndexRoot, Name: "index"}
	err := f.s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		plan, err := f.s.pieces.Submit(ctx, tx, f.p.ProjectID, fmt.Sprintf("preparation/%d", f.p.ID), []piece.Root{root})
		if err != nil {
			return err
		}
		return f.p.update(ctx, tx, []State{Active, Failed}, f.s.now(), "index_plan = ?, root = ?, index_root = ?, files = ?, bytes = ?, carried = ?, skipped = ?",
			plan, f.row.Root, f.row.IndexRoot, f.row.Files, f.row.Bytes, f.row.Carried, f.row.Skipped)
	})
	if err != nil {
		return err
	}
	return f.s.awaitIndex(ctx, f.p)
}

// How long a job waits for an index to be packed before it makes room for
// others, how soon it looks first, doubling then, and when it comes back.
const (
	indexPatience = 300 * time.Millisecond
	indexLook     = 4 * time.Millisecond
	indexPause    = 500 * time.Millisecond
)

// awaitIndex completes a preparation when its index is packed.
func (s *Service) awaitIndex(ctx context.Context, p *preparationRow) error {
	plan, err := s.planOver(ctx, p.IndexPlan)
	if err != nil {
		return err
	}
	switch plan.State {
	case piece.Packed:
		if err := s.exportIndex(ctx, *p, plan); err != nil {
			return err
		}
		row := *p
		row.IndexPiece = plan.Pieces[0].ID
		return s.completed(ctx, p, row)
	case piece.Failed: // the next attempt submits it again
		err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
			return p.update(ctx, tx, []State{Active, Failed}, s.now(), "index_plan = 0")
		})
		if err != nil {
			return err
		}
		return fault.New(fault.Unavailable, "pack the index of preparation %d: %s", p.ID, plan.Reason)
	}
	return later(indexPause)
}

// planOver returns a plan when it is over, or as it is after a while.
func (s *Service) planOver(ctx context.Context, id int64) (piece.Plan, error) {
	pause := indexLook
	look := time.NewTimer(pause)
	defer look.Stop()
	patience := time.NewTimer(indexPatience)
	defer patience.Stop()
	for {
		plan, err := s.pieces.Plan(ctx, id)
		if err != nil || plan.State == piece.Packed || plan.State == piece.Failed {
			return plan, err
		}
		select {
		case <-ctx.Done():
			return plan, ctx.Err()
		case <-patience.C:
			return plan, nil
		case <-look.C:
			pause *= 2
			look.Reset(pause)
		}
	}
}

// completed ends a preparation as it should.
func (s *Service) completed(ctx context.Context, p *preparationRow, row preparationRow) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		err := p.update(ctx, tx, []State{Active, Failed}, now,
			"state = ?, stage = ?, reason = '', attempt = 0, next_attempt_at = NULL, finished_at = ?, root = ?, index_root = ?, index_piece = ?, "+
				"files = ?, bytes = ?, carried = ?, skipped = ?",
			Complete, Over, now, row.Root, row.IndexRoot, row.IndexPiece, row.Files, row.Bytes, row.Carried, row.Skipped)
		if err != nil {
			return err
		}
		if err := s.renewed(ctx, tx, p.DatasetID); err != nil {
			return err
		}
		return announce(ctx, tx, *p, "complete")
	})
}

// tidy deletes what only the run of a preparation needed that is complete.
func (s *Service) tidy(ctx context.Context, preparation int64) error {
	row, err := rowOfPreparation(ctx, s.db.Read(), preparation)
	if err != nil || row.State != Complete {
		return err
	}
	for c, err := range s.chunks(ctx, preparation) {
		if err == nil && c.Outcome != "" {
			err = s.blobs.Delete(ctx, c.List)
		}
		if err != nil {
			return err
		}
	}
	return s.clear(preparation)
}
