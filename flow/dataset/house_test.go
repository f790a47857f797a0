package dataset_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
)

const (
	project = 7
	MiB     = 1 << 20
)

// house is a node that prepares datasets, on real stores.
type house struct {
	t      *testing.T
	dir    string // of the node
	db     *db.DB
	blocks *block.Store
	blobs  *disk.Store
	jobs   *job.Client
	pieces *piece.Service
	data   *dataset.Service
	events *event.Log
	seal   dataset.Seal
}

// hireSealed is hire, with another secret.
func (h *house) hireSealed(s dataset.Seal) {
	h.t.Helper()
	h.seal = s
	h.hire(h.dir, nil)
}

// build makes a node over a new database.
func build(t *testing.T, open dbtest.Open) *house {
	t.Helper()
	d := open(t, event.Migrations, piece.Migrations(), dataset.Migrations())
	must(t, job.Migrate(t.Context(), d))
	return furnish(t, d, t.TempDir())
}

// furnish makes a node in a directory, over a database.
func furnish(t *testing.T, d *db.DB, dir string) *house {
	t.Helper()
	h := &house{t: t, db: d, dir: dir}
	h.blocks = ok(block.Open(t.Context(), filepath.Join(dir, "blocks"), block.Options{}))(t)
	t.Cleanup(func() { h.blocks.Close() })
	h.blobs = ok(disk.Open(filepath.Join(dir, "blob")))(t)
	h.hire(dir, nil)
	return h
}

// hire gives the house services and jobs of their own, as another process has.
func (h *house) hire(dir string, change func(*dataset.Settings)) {
	h.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("FIRTH_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	h.jobs = ok(job.New(h.db, log, job.Options{Drain: time.Millisecond}))(h.t)
	h.events = event.New(h.db, log)
	h.pieces = piece.New(h.db, h.blocks, h.blobs, h.jobs, time.Now, crand.Reader, log, piece.Settings{})
	s := dataset.Settings{
		WorkDir: filepath.Join(dir, "work"), Worker: "here", Workers: 2, Checkpoint: 2 * MiB,
		Interval: 20 * time.Millisecond, Backoff: 20 * time.Millisecond,
	}
	if change != nil {
		change(&s)
	}
	if h.seal == nil {
		h.seal = seal{}
	}
	h.data = dataset.New(h.db, h.blobs, h.blocks, h.pieces, h.jobs, h.seal, time.Now, log, s)
	h.pieces.ReadFrom(h.data)
	h.jobs.Handle(slices.Concat(h.pieces.Handlers(), h.data.Handlers())...)
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

// small are rules for pieces of 4 MiB, which take three leaves.
func small() dataset.Rules { return dataset.Rules{PieceSize: 4 * MiB} }

// create makes a dataset over a tree.
func (h *house) create(name, dir string, rules dataset.Rules) dataset.Dataset {
	h.t.Helper()
	return ok(h.data.Create(h.t.Context(), project, name, rules, dataset.NewSource{URL: dir}))(h.t)
}

// prepare runs a preparation to its end.
func (h *house) prepare(d dataset.Dataset) dataset.Preparation {
	h.t.Helper()
	return h.complete(ok(h.data.Start(h.t.Context(), project, d.ID))(h.t).ID)
}

func (h *house) complete(id int64) (p dataset.Preparation) {
	h.t.Helper()
	until(h.t, func() bool {
		p = h.preparation(id)
		if p.State == dataset.Failed {
			h.t.Fatalf("preparation %d failed: %s", id, p.Reason)
		}
		return p.State == dataset.Complete
	})
	return p
}

func (h *house) preparation(id int64) dataset.Preparation {
	h.t.Helper()
	return ok(h.data.Preparation(h.t.Context(), project, id))(h.t)
}

func (h *house) chunks(id int64) []dataset.Chunk {
	h.t.Helper()
	return ok(h.data.Chunks(h.t.Context(), project, id, 0, 1000))(h.t)
}

// files returns all records a search finds.
func (h *house) files(id int64, q dataset.Query) (all []dataset.Record) {
	h.t.Helper()
	for cursor := ""; ; {
		page, next, err := h.data.Files(h.t.Context(), project, id, q, cursor, 100)
		must(h.t, err)
		all = append(all, page...)
		if cursor = next; next == "" {
			return all
		}
	}
}

// dataPieces returns the pieces of a preparation's chunks.
func (h *house) dataPieces(id int64) (all []piece.Piece) {
	h.t.Helper()
	for _, c := range h.chunks(id) {
		for _, p := range c.Pieces {
			all = append(all, ok(h.pieces.Get(h.t.Context(), project, strconv.FormatInt(p, 10)))(h.t))
		}
	}
	return all
}

// shelf is blocks in memory, as a reader of CARs collects them.
type shelf map[cid.Cid]blocks.Block

// Get implements dag.Getter.
func (s shelf) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	if b, ok := s[c]; ok {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "block %s", c)
}

// PutMany implements dag.Putter.
func (s shelf) PutMany(_ context.Context, bs []blocks.Block) error {
	for _, b := range bs {
		s[b.Cid()] = b
	}
	return nil
}

// read adds the CARs of pieces, digests checked, and makes sure that each holds
// the DAG of its own root.
func (s shelf) read(h *house, pieces ...piece.Piece) {
	h.t.Helper()
	for _, p := range pieces {
		r := ok(h.pieces.Open(h.t.Context(), p.CID))(h.t)
		own := shelf{}
		sum := ok(dag.AddCAR(h.t.Context(), own, r, dag.CAROptions{}))(h.t)
		must(h.t, r.Close())
		if len(sum.Roots) != 1 || sum.Roots[0].String() != p.Root {
			h.t.Errorf("piece %s has the roots %v", p.CID, sum.Roots)
		}
		must(h.t, dag.Complete(h.t.Context(), own, sum.Roots[0]))
		for c, b := range own {
			s[c] = b
		}
	}
}

// export writes a DAG to a new directory.
func (s shelf) export(t *testing.T, root string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	ok(dag.Export(t.Context(), s, cid.MustParse(root), out))(t)
	return out
}

// rootOf is the root that adding a tree makes.
func rootOf(t *testing.T, dir string) string {
	t.Helper()
	e, err := dag.AddPath(t.Context(), shelf{}, dir, ok(dag.ProfileNamed(""))(t), dag.PathOptions{Hidden: true})
	must(t, err)
	return e.Cid.String()
}

// tree writes files, path → content, below a new directory; a content of nil is
// a directory.
func tree(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for path, body := range files {
		write(t, filepath.Join(dir, path), body)
	}
	return dir
}

func write(t *testing.T, path string, body []byte) {
	t.Helper()
	if body == nil {
		must(t, os.MkdirAll(path, 0o755))
		return
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, body, 0o644))
}

// same fails unless two trees hold the same.
func same(t *testing.T, want, got string) {
	t.Helper()
	if a, b := listing(t, want), listing(t, got); !slices.Equal(a, b) {
		t.Errorf("other files came back:\n%v\nwant\n%v", b, a)
	}
}

func listing(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := ok(filepath.Rel(dir, path))(t)
		switch {
		case e.IsDir():
			all = append(all, rel+"/")
		case e.Type()&os.ModeSymlink != 0:
			all = append(all, rel+" -> "+ok(os.Readlink(path))(t))
		default:
			body := ok(os.ReadFile(path))(t)
			all = append(all, fmt.Sprintf("%s %d %x", rel, len(body), body[:min(8, len(body))]))
		}
		return nil
	}))
	return all
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return b
}

// seal hides bytes well enough for a test to see whether they were sealed.
type seal struct{}

// Seal implements dataset.Seal.
func (seal) Seal(plain []byte) ([]byte, error) {
	return []byte("sealed:" + hex.EncodeToString(plain)), nil
}

// Open implements dataset.Seal.
func (seal) Open(sealed []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(sealed, []byte("sealed:"))
	if !ok {
		return nil, fault.New(fault.Forbidden, "not sealed here")
	}
	return hex.DecodeString(string(text))
}

// wrongSeal is a node that was given another secret.
type wrongSeal struct{ seal }

// Open implements dataset.Seal.
func (wrongSeal) Open([]byte) ([]byte, error) {
	return nil, fault.New(fault.Forbidden, "does not open with this secret")
}

// until waits for a condition, not longer than a test should take.
func until(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
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
	if err != nil && !slices.ContainsFunc(expected, func(e error) bool { return errors.Is(err, e) }) {
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
