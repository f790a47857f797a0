package content

import (
	"context"
	"iter"
	"log/slog"
	"strconv"
	"time"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// Blocks is where the bytes of contents are kept. PutMany returns when the
// blocks are durable.
type Blocks interface {
	dag.Getter
	dag.Putter
}

// Pieces makes pieces of plans; piece.Service does.
type Pieces interface {
	Submit(ctx context.Context, tx *db.Tx, project int64, label string, roots []piece.Root) (plan int64, err error)
	Plan(ctx context.Context, id int64) (piece.Plan, error)
}

// Copies tells how many copies the pieces of a plan have: wanted is 0 while no
// policy covers them, active counts the piece with the fewest. The deals know.
type Copies interface {
	Copies(ctx context.Context, plan int64) (wanted, active int, err error)
}

// Settings are the rules by which contents are taken in and gathered.
type Settings struct {
	BucketSize     int64         // bytes that close a bucket
	BucketContents int64         // contents that close a bucket
	BucketAge      time.Duration // age that closes a bucket
	Lease          time.Duration // an upload that gives no sign of life this long is over
	Interval       time.Duration // how often the reconciler looks without being told
}

// Service is the only way to contents and buckets.
type Service struct {
	db       *db.DB
	blocks   Blocks
	pieces   Pieces
	copies   Copies
	clock    func() time.Time
	log      *slog.Logger
	settings Settings
}

// New makes the service.
func New(d *db.DB, blocks Blocks, pieces Pieces, copies Copies, clock func() time.Time, log *slog.Logger, s Settings) *Service {
	return &Service{db: d, blocks: blocks, pieces: pieces, copies: copies, clock: clock, log: log, settings: s}
}

func (s *Service) now() time.Time { return db.Now(s.clock()) }

// Get returns a content of the project by its id or its CID; of several with
// one CID the newest that is held. A removed one is NotFound.
func (s *Service) Get(ctx context.Context, project int64, ref string) (Content, error) {
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		return contentByID(ctx, s.db.Read(), project, id)
	}
	c, err := canonical(ref)
	if err != nil {
		return Content{}, err
	}
	return contentByCID(ctx, s.db.Read(), project, c)
}

// List returns a page of the project's contents, newest first.
func (s *Service) List(ctx context.Context, project int64, f Filter) ([]Content, error) {
	if f.CID != "" {
		c, err := canonical(f.CID)
		if err != nil {
			return nil, err
		}
		f.CID = c
	}
	f.Name = cleanText(f.Name, maxName)
	return contents(ctx, s.db.Read(), project, f)
}

// Remove ends the project's interest in a content. One whose bucket has not
// been packed leaves it; a piece that already holds it stays what it is. What
// was removed is NotFound from then on.
func (s *Service) Remove(ctx context.Context, project, id int64) (err error) {
	for range 3 { // its bucket may move it along meanwhile
		if err = s.remove(ctx, project, id); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return err
}

func (s *Service) remove(ctx context.Context, project, id int64) error {
	now := s.now()
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		c, err := contentByID(ctx, tx, project, id)
		if err != nil {
			return err
		}
		if c.State == Receiving || c.State == Fetching {
			return fault.New(fault.Conflict, "content %d: is still being received; wait, or break the upload off", id)
		}
		if err := moveContent(ctx, tx, id, c.State, Removed, "", now); err != nil {
			return err
		}
		if c.State == Stored {
			if err := leaveBucket(ctx, tx, c.Bucket, c.Size, now); err != nil {
				return err
			}
		}
		c.State, c.UpdatedAt = Removed, now
		return announce(ctx, tx, c)
	})
}

// Bucket returns a bucket of the project.
func (s *Service) Bucket(ctx context.Context, project, id int64) (Bucket, error) {
	return bucketByID(ctx, s.db.Read(), project, id)
}

// Buckets returns a page of the project's buckets, newest first.
func (s *Service) Buckets(ctx context.Context, project int64, f BucketFilter) ([]Bucket, error) {
	return buckets(ctx, s.db.Read(), project, f)
}

// CloseBucket ends the filling of an open bucket now. Closing one that is past
// that is no error; an empty one is a Conflict.
func (s *Service) CloseBucket(ctx context.Context, project, id int64) (Bucket, error) {
	var b Bucket
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if b, err = bucketByID(ctx, tx, project, id); err != nil || b.State != Open {
			return err
		}
		if b.Contents == 0 {
			return fault.New(fault.Conflict, "bucket %d: is empty; add something first", id)
		}
		return s.move(ctx, tx, &b, Closing)
	})
	if fault.Is(err, fault.Conflict) && b.Contents > 0 { // somebody else closed it
		return s.Bucket(ctx, project, id)
	}
	return b, err
}

// Watch moves buckets along until ctx ends: at every hint in the log, and at
// least every Settings.Interval.
func (s *Service) Watch(ctx context.Context, log *event.Log) error {
	hints := []string{"bucket.closing", "plan.packed", "plan.failed", "deal.active", "policy.active"}
	return event.Watch(ctx, log, hints, s.settings.Interval, s.log, s.Reconcile)
}

// each drains a sequence into a callback, until the first error.
func each[T any](seq iter.Seq2[T, error], fn func(T) error) error {
	for v, err := range seq {
		if err != nil {
			return err
		}
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}
