package piece_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/piece"
)

const project = 7

// house is a node that packs, on real stores.
type house struct {
	t      *testing.T
	db     *db.DB
	blocks *block.Store
	blobs  *disk.Store
	jobs   *job.Client
	pieces *piece.Service
	events *event.Log
}

func migrated(t *testing.T, open func(*testing.T) *db.DB) *db.DB {
	t.Helper()
	d := open(t)
	must(t, job.Migrate(t.Context(), d))
	return d
}

// build makes a node; blocks may be seen through a lens, nil is none.
func build(t *testing.T, d *db.DB, s piece.Settings, lens func(piece.Blocks) piece.Blocks) *house {
	t.Helper()
	h := &house{t: t, db: d}
	h.blocks = ok(block.Open(t.Context(), t.TempDir(), block.Options{}))(t)
	t.Cleanup(func() { h.blocks.Close() })
	h.blobs = ok(disk.Open(t.TempDir()))(t)
	h.second(d, s, lens)
	return h
}

// second puts another service and job client over the house's stores.
func (h *house) second(d *db.DB, s piece.Settings, lens func(piece.Blocks) piece.Blocks) {
	h.t.Helper()
	log := slog.New(slog.DiscardHandler)
	var blocks piece.Blocks = h.blocks
	if lens != nil {
		blocks = lens(blocks)
	}
	h.db, h.jobs, h.events = d, ok(job.New(d, log, job.Options{Drain: time.Millisecond}))(h.t), event.New(d, log)
	h.pieces = piece.New(d, blocks, h.blobs, h.jobs, time.Now, crand.Reader, log, s)
	h.jobs.Handle(h.pieces.Handlers()...)
}

// run works jobs until stop.
func (h *house) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	jobs, events := h.jobs, h.events
	running.Go(func() { _ = jobs.Run(ctx) })
	running.Go(func() { _ = events.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	h.t.Cleanup(stop)
	return stop
}

func (h *house) submit(p int64, roots ...piece.Root) int64 {
	h.t.Helper()
	var plan int64
	must(h.t, h.db.Tx(h.t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		plan, err = h.pieces.Submit(ctx, tx, p, "test", roots)
		return err
	}))
	return plan
}

// over waits until a plan is packed or failed.
func (h *house) over(plan int64) piece.Plan {
	h.t.Helper()
	var p piece.Plan
	until(h.t, func() bool {
		p = ok(h.pieces.Plan(h.t.Context(), plan))(h.t)
		return p.State == piece.Packed || p.State == piece.Failed
	})
	return p
}

func (h *house) packed(plan int64) piece.Plan {
	h.t.Helper()
	p := h.over(plan)
	if p.State != piece.Packed {
		h.t.Fatalf("plan %d is %s: %s", plan, p.State, p.Reason)
	}
	return p
}

// car reads the whole CAR of a piece.
func (h *house) car(p piece.Piece) []byte {
	h.t.Helper()
	r := ok(h.pieces.Open(h.t.Context(), p.CID))(h.t)
	defer r.Close()
	return ok(io.ReadAll(r))(h.t)
}

// file stores a file of n bytes of a kind of its own.
func (h *house) file(seed uint64, n int) piece.Root {
	h.t.Helper()
	e := ok(dag.AddFile(h.t.Context(), h.blocks, bytes.NewReader(noise(seed, n)), profile(h.t)))(h.t)
	return piece.Root{CID: e.Cid.String(), Name: "file", Size: e.Size}
}

// tree stores a tree: path → bytes.
func (h *house) tree(files map[string][]byte) cid.Cid {
	h.t.Helper()
	tree := dag.NewTree(h.blocks, profile(h.t))
	for path, body := range files {
		ok(tree.AddFile(h.t.Context(), path, bytes.NewReader(body)))(h.t)
	}
	return ok(tree.Finish(h.t.Context()))(h.t).Cid
}

// profile has small leaves and narrow nodes, so that little data makes deep DAGs.
func profile(t *testing.T) dag.Profile {
	p := ok(dag.ProfileNamed(""))(t)
	p.ChunkSize, p.MaxLinks = 4<<10, 16
	return p
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

func must(t *testing.T, err error, expected ...error) {
	t.Helper()
	if err != nil && !slices.Contains(expected, err) {
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
