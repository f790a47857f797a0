package piece

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/pack"
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
	random   io.Reader
	log      *slog.Logger
	settings Settings
	windows  *pack.Windows
	sources  Sources
	buckets  Buckets
	web      *http.Client
	seal     Seal
	buffers  *Buffers
	indexes  *indexes

	verifying chan struct{} // holds one while a piece is verified
}

// New makes the service. Indexes, and CARs where they are kept, go to blobs.
// random, which several goroutines read, chooses what of a worker's result is checked.
func New(d *db.DB, blocks Blocks, blobs blob.Store, jobs *job.Client, clock func() time.Time, random io.Reader, log *slog.Logger, s Settings) *Service {
	if s.MaxPadded == 0 {
		s.MaxPadded = 32 << 30
	}
	if s.Lease <= 0 {
		s.Lease = time.Minute
	}
	return &Service{
		db: d, blocks: blocks, blobs: blobs, jobs: jobs, clock: clock, random: random, log: log, settings: s, windows: pack.NewWindows(maxWindows),
		buffers: NewBuffers(runtime.GOMAXPROCS(0)+1, importSlots), indexes: newIndexes(blobs), verifying: make(chan struct{}, 1),
	}
}

// ReadFrom says where pieces that were packed from sources read them; without
// it they cannot be read. It is called before anything is opened.
func (s *Service) ReadFrom(sources Sources) { s.sources = sources }

// ConnectBy says how URLs of CARs are connected to; without it they cannot be
// read. Who may be connected to is the client's to decide. It is called before
// anything is opened.
func (s *Service) ConnectBy(client *http.Client) { s.web = client }

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

// Locate returns where the bytes of a block are in the CAR of a piece.
func (s *Service) Locate(ctx context.Context, ref string, c cid.Cid) (off, n int64, err error) {
	r, err := s.Open(ctx, ref)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	rec, found, err := r.Index().Find(c.Hash())
	if err != nil {
		return 0, 0, err
	}
	if !found {
		return 0, 0, fault.New(fault.NotFound, "block %s: is not in piece %s", c, r.Piece.CID)
	}
	return rec.Offset + rec.Section() - int64(rec.Size), int64(rec.Size), nil
}
