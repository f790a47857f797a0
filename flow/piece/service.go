package piece

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// Blocks is where the bytes of plans are.
type Blocks interface {
	dag.Getter
	dag.Putter
	dag.Sizer
}

// Service is the only way to plans and pieces.
type Service struct {
	db       *db.DB
	blocks   Blocks
	blobs    blob.Store
	jobs     *job.Client
	clock    func() time.Time
	log      *slog.Logger
	settings Settings
}

// New makes the service. Indexes, and CARs where they are kept, go to blobs.
func New(d *db.DB, blocks Blocks, blobs blob.Store, jobs *job.Client, clock func() time.Time, log *slog.Logger, s Settings) *Service {
	if s.MaxPadded == 0 {
		s.MaxPadded = 32 << 30
	}
	return &Service{db: d, blocks: blocks, blobs: blobs, jobs: jobs, clock: clock, log: log, settings: s}
}

func (s *Service) now() time.Time { return db.Now(s.clock()) }

// Submit makes a plan of DAGs whose blocks are all stored, and the job that
// packs it, in the caller's transaction.
func (s *Service) Submit(ctx context.Context, tx *db.Tx, project int64, label string, roots []Root) (int64, error) {
	if err := checkRoots(label, roots); err != nil {
		return 0, err
	}
	now := s.now()
	id, err := insertPlan(ctx, tx, project, label, roots, now)
	if err != nil {
		return 0, err
	}
	if err := job.Enqueue(ctx, s.jobs, tx, packKind, packArgs{Plan: id}); err != nil {
		return 0, err
	}
	return id, event.Append(ctx, tx, event.Event{
		At: now, Kind: "plan.planned", Project: project, Subject: fmt.Sprintf("plan/%d", id),
		Data: event.JSON(planFact{ID: id, Label: label}),
	})
}

// Plan returns a plan with the pieces it became.
func (s *Service) Plan(ctx context.Context, id int64) (Plan, error) {
	return planByID(ctx, s.db.Read(), id)
}

// Get returns a piece of the project by its id, or by its CID of either
// version; a v1 that stands for several lengths of data finds the newest.
func (s *Service) Get(ctx context.Context, project int64, ref string) (Piece, error) {
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		return pieceByID(ctx, s.db.Read(), project, id)
	}
	v2, v1, err := canonical(ref)
	if err != nil {
		return Piece{}, err
	}
	return pieceByCID(ctx, s.db.Read(), project, v2, v1)
}

// Find returns a piece by its CID of either version, whichever project has it:
// the piece server's question.
func (s *Service) Find(ctx context.Context, ref string) (Piece, error) {
	v2, v1, err := canonical(ref)
	if err != nil {
		return Piece{}, err
	}
	return pieceByCID(ctx, s.db.Read(), 0, v2, v1)
}

// List returns a page of the project's pieces, newest first.
func (s *Service) List(ctx context.Context, project int64, f Filter) ([]Piece, error) {
	return pieces(ctx, s.db.Read(), project, f)
}

// After returns pieces of all projects with ids above after, oldest first. Ids
// are given before commit, so a reader that keeps a position has to look back
// by as many as may commit late.
func (s *Service) After(ctx context.Context, after int64, limit int) ([]Piece, error) {
	return piecesAfter(ctx, s.db.Read(), after, limit)
}

// Open reads the CAR of a piece, given by its CID of either version. The reader
// ends with ctx.
func (s *Service) Open(ctx context.Context, ref string) (*Reader, error) {
	p, err := s.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	f, size, err := s.local(ctx, indexKey(p.CID))
	if err != nil {
		return nil, fault.Wrap(err, "open piece %s", p.CID)
	}
	x, err := openIndex(f, size)
	if err != nil {
		_ = f.Close()
		return nil, fault.Wrap(err, "open piece %s", p.CID)
	}
	r := newReader(ctx, s.blocks, x, f.Close)
	r.Piece = p
	return r, nil
}

// OpenCached opens the CAR of a piece that stands in the blob store as a file,
// which is served fastest; ok is false if there is none on this machine.
func (s *Service) OpenCached(p Piece) (f *os.File, ok bool) {
	where, isLocal := s.blobs.(localPath)
	if !p.Cached || !isLocal {
		return nil, false
	}
	path, ok := where.LocalPath(carKey(p.CID))
	if !ok {
		return nil, false
	}
	f, size, err := opened(os.Open(path))
	if err == nil && size != p.CARSize { // cut short by who knows what; the blocks are still there
		_ = f.Close()
		return nil, false
	}
	return f, err == nil
}

// Locate returns where the bytes of a block are in the CAR of a piece.
func (s *Service) Locate(ctx context.Context, ref string, c cid.Cid) (off, n int64, err error) {
	r, err := s.Open(ctx, ref)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	decoded, err := mh.Decode(c.Hash())
	if err != nil || decoded.Code != mh.SHA2_256 || len(decoded.Digest) != 32 {
		return 0, 0, fault.New(fault.NotFound, "block %s: pieces hold SHA2-256 CIDs only", c)
	}
	rec, found, err := r.index.find([32]byte(decoded.Digest))
	if err != nil {
		return 0, 0, err
	}
	if !found {
		return 0, 0, fault.New(fault.NotFound, "block %s: is not in piece %s", c, r.Piece.CID)
	}
	section, err := rec.section()
	return rec.offset + section - int64(rec.size), int64(rec.size), err
}

// localPath is what a blob store on this machine can do.
type localPath interface {
	LocalPath(key string) (path string, ok bool)
}

// local opens a blob as a file: the blob's own, or a copy without a name that
// goes with its descriptor.
func (s *Service) local(ctx context.Context, key string) (*os.File, int64, error) {
	if where, ok := s.blobs.(localPath); ok {
		if path, ok := where.LocalPath(key); ok {
			return opened(os.Open(path))
		}
	}
	blob, err := s.blobs.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, 0, err
	}
	defer blob.Close()
	f, err := os.CreateTemp("", "firth-index-*")
	if err != nil {
		return nil, 0, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, err
	}
	if _, err := io.Copy(f, blob); err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return opened(f, nil)
}

func opened(f *os.File, err error) (*os.File, int64, error) {
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
