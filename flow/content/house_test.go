package content_test

import (
	"context"
	crand "crypto/rand"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/piece"
)

const project = 7

// house is a node that takes contents in and packs them, on real stores.
type house struct {
	t        *testing.T
	db       *db.DB
	blocks   *block.Store
	pieces   *piece.Service
	contents *content.Service
	copies   *copies
	jobs     *job.Client
	events   *event.Log
	clock    *clock
}

// plain has buckets that close by hand only.
var plain = content.Settings{
	BucketSize: 1 << 30, BucketContents: 1 << 20, BucketAge: 48 * time.Hour, Lease: time.Minute, Interval: 50 * time.Millisecond,
}

func build(t *testing.T, open dbtest.Open, s content.Settings) *house {
	t.Helper()
	return buildOn(t, open(t, event.Migrations, piece.Migrations(), content.Migrations()), s)
}

func buildOn(t *testing.T, d *db.DB, s content.Settings) *house {
	t.Helper()
	must(t, job.Migrate(t.Context(), d))
	h := &house{t: t, db: d, copies: &copies{}, clock: &clock{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}}
	h.blocks = ok(block.Open(t.Context(), t.TempDir(), block.Options{}))(t)
	t.Cleanup(func() { h.blocks.Close() })
	h.beside(d, s)
	return h
}

// beside puts the services over a database into the house, as one more process
// would have them.
func (h *house) beside(d *db.DB, s content.Settings) {
	h.t.Helper()
	log := slog.New(slog.DiscardHandler)
	h.db, h.jobs, h.events = d, ok(job.New(d, log, job.Options{Drain: time.Millisecond}))(h.t), event.New(d, log)
	h.pieces = piece.New(d, h.blocks, ok(disk.Open(h.t.TempDir()))(h.t), h.jobs, h.clock.now, crand.Reader, log, piece.Settings{MaxPadded: 1 << 20})
	h.jobs.Handle(h.pieces.Handlers()...)
	h.contents = content.New(d, h.blocks, h.pieces, h.copies, h.clock.now, log, s)
}

// run works jobs and, if wanted, moves buckets, until the test ends.
func (h *house) run(watch bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	jobs, events, contents := h.jobs, h.events, h.contents
	running.Go(func() { _ = jobs.Run(ctx) })
	running.Go(func() { _ = events.Run(ctx) })
	if watch {
		running.Go(func() { _ = contents.Watch(ctx, events) })
	}
	h.t.Cleanup(func() { cancel(); running.Wait() })
}

func (h *house) get(id int64) content.Content {
	h.t.Helper()
	all := ok(h.contents.List(h.t.Context(), project, content.Filter{Before: id + 1, Limit: 1}))(h.t)
	if len(all) == 1 && all[0].ID == id {
		return all[0]
	}
	all = ok(h.contents.List(h.t.Context(), project, content.Filter{Before: id + 1, Limit: 1, State: content.Removed}))(h.t)
	return all[0]
}

func (h *house) bucket(id int64) content.Bucket {
	h.t.Helper()
	return ok(h.contents.Bucket(h.t.Context(), project, id))(h.t)
}

// reaches waits until a bucket is in a state.
func (h *house) reaches(id int64, want content.BucketState) content.Bucket {
	h.t.Helper()
	var b content.Bucket
	until(h.t, func() bool { b = h.bucket(id); return b.State == want })
	return b
}

// kinds lists the events told so far.
func (h *house) kinds() (all []string) {
	h.t.Helper()
	for _, e := range ok(h.events.Read(h.t.Context(), 0, 1000))(h.t) {
		all = append(all, e.Kind)
	}
	return all
}

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(by)
}

// copies stands for the deals, which are above this package.
type copies struct {
	mu             sync.Mutex
	wanted, active int
}

func (c *copies) set(wanted, active int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted, c.active = wanted, active
}

func (c *copies) Copies(context.Context, int64) (wanted, active int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted, c.active, nil
}

// entries makes a tree's sequence.
func entries(all ...content.Entry) iter.Seq2[content.Entry, error] {
	return func(yield func(content.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// until waits for a condition, not longer than a test should take.
func until(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("it does not come about")
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ok[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func count(all []string, want string) int {
	return len(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s != want }))
}
