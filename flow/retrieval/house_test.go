package retrieval_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
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
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/retrieval"
)

const project = 7

// house is a node with a packed tree, and providers that hold its pieces.
type house struct {
	t        *testing.T
	db       *db.DB
	blocks   *block.Store
	pieces   *piece.Service
	events   *event.Log
	root     cid.Cid
	plan     piece.Plan
	settings retrieval.Settings

	mu      sync.Mutex
	holders map[int64][]string // by piece
	doors   map[string]string  // URLs by actor
	seen    []string           // observations
}

func build(t *testing.T, d *db.DB, maxPadded int64) *house {
	t.Helper()
	h := &house{t: t, db: d, holders: map[int64][]string{}, doors: map[string]string{}}
	log := slog.New(slog.DiscardHandler)
	must(t, job.Migrate(t.Context(), d))
	jobs := ok(job.New(d, log, job.Options{}))(t)
	h.blocks = ok(block.Open(t.Context(), t.TempDir(), block.Options{}))(t)
	t.Cleanup(func() { h.blocks.Close() })
	blobs := ok(disk.Open(t.TempDir()))(t)
	h.pieces = piece.New(d, h.blocks, blobs, jobs, time.Now, crand.Reader, log, piece.Settings{MaxPadded: maxPadded})
	jobs.Handle(h.pieces.Handlers()...)
	h.events = event.New(d, log)
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); running.Wait() })
	running.Go(func() { _ = jobs.Run(ctx) })
	running.Go(func() { _ = h.events.Run(ctx) })
	h.root = tree(t, h.blocks)
	var plan int64
	must(t, d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		plan, err = h.pieces.Submit(ctx, tx, project, "test", []piece.Root{{CID: h.root.String(), Name: "tree"}})
		return err
	}))
	for e, err := range h.events.Subscribe(t.Context(), 0) {
		must(t, err)
		if e.Kind == "plan.packed" {
			break
		}
		if e.Kind == "plan.failed" {
			t.Fatalf("plan failed: %s", e.Data)
		}
	}
	h.plan = ok(h.pieces.Plan(t.Context(), plan))(t)
	return h
}

// tree stores a directory with files of several sizes, equal ones among them.
func tree(t *testing.T, to dag.Putter) cid.Cid {
	prof := ok(dag.ProfileNamed("cid-v1-raw-256KiB"))(t)
	random := rand.NewChaCha8([32]byte{1})
	build := dag.NewTree(to, prof)
	for i, size := range []int{0, 10, 300_000, 3_000_000, 262_144} {
		data := make([]byte, size)
		_, _ = random.Read(data)
		for _, dir := range []string{"a", "b/c"} { // each file twice: a DAG, not a tree
			ok(build.AddFile(t.Context(), fmt.Sprintf("%s/%d", dir, i), bytes.NewReader(data)))(t)
		}
	}
	return ok(build.Finish(t.Context()))(t).Cid
}

// Holders, Endpoint and Observe are what deals and the provider index are to a
// retrieval.
func (h *house) Holders(_ context.Context, p, piece int64) ([]string, error) {
	if p != project {
		return nil, nil
	}
	return h.holders[piece], nil
}

func (h *house) Endpoint(_ context.Context, actor string) (string, error) {
	url, known := h.doors[actor]
	if !known {
		return "", fault.New(fault.NotFound, "provider %s: is not in the index", actor)
	}
	return url, nil
}

func (h *house) Observe(_ context.Context, _ *db.Tx, actor string, o retrieval.Outcome) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, actor+" "+o.Code)
	if o.OK != (o.Code == retrieval.CodeOK) || o.At.IsZero() || (!o.OK && o.Reason == "") {
		h.t.Errorf("observed %+v", o)
	}
	return nil
}

// provider opens a provider that holds pieces (all when none are named),
// answering through the wrap.
func (h *house) provider(actor string, wrap func(http.Handler) http.Handler, held ...int) {
	if len(held) == 0 {
		for i := range h.plan.Pieces {
			held = append(held, i)
		}
	}
	store := ok(block.Open(h.t.Context(), h.t.TempDir(), block.Options{}))(h.t)
	h.t.Cleanup(func() { store.Close() })
	cars := map[string][]byte{}
	for _, i := range held {
		p := h.plan.Pieces[i]
		h.holders[p.ID] = append(h.holders[p.ID], actor)
		r := ok(h.pieces.Open(h.t.Context(), p.CID))(h.t)
		cars[p.CIDv1] = ok(io.ReadAll(r))(h.t)
		must(h.t, r.Close())
		ok(dag.AddCAR(h.t.Context(), store, bytes.NewReader(cars[p.CIDv1]), dag.CAROptions{}))(h.t)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ipfs/{cid}/{path...}", func(w http.ResponseWriter, r *http.Request) { serveCAR(w, r, store) })
	mux.HandleFunc("GET /piece/{cid}", func(w http.ResponseWriter, r *http.Request) {
		car, held := cars[r.PathValue("cid")]
		if !held {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(car))
	})
	var door http.Handler = mux
	if wrap != nil {
		door = wrap(mux)
	}
	server := httptest.NewServer(door)
	h.t.Cleanup(server.Close)
	h.doors[actor] = server.URL + "/"
	if door == nil {
		server.Close()
	}
}

// serveCAR answers as a trustless gateway does, with the DAG at a path: blocks
// again wherever they are linked again when dups=y, the root's block alone when
// dag-scope=block.
func serveCAR(w http.ResponseWriter, r *http.Request, store *block.Store) {
	root, err := cid.Decode(r.PathValue("cid"))
	if err == nil && r.PathValue("path") != "" {
		var e dag.Entry
		e, err = dag.Resolve(r.Context(), store, root, r.PathValue("path"))
		root = e.Cid
	}
	if err == nil {
		_, err = store.GetSize(r.Context(), root)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.ipld.car")
	send := func(b blocks.Block) error {
		_, err := w.Write(append(dag.CARSectionHeader(b.Cid(), len(b.RawData())), b.RawData()...))
		return err
	}
	_, _ = w.Write(dag.CARHeader([]cid.Cid{root}))
	switch q := r.URL.Query(); {
	case q.Get("dag-scope") == "block":
		b, _ := store.Get(r.Context(), root)
		err = send(b)
	case q.Get("car-dups") == "y":
		err = repeat(r.Context(), store, root, send)
	default:
		err = retrieval.Walk(r.Context(), store, root, send)
	}
	if err != nil { // a DAG that is not all here
		panic(http.ErrAbortHandler)
	}
}

// repeat walks a DAG as if it were a tree.
func repeat(ctx context.Context, g dag.Getter, c cid.Cid, visit func(blocks.Block) error) error {
	b, err := g.Get(ctx, c)
	if err == nil {
		err = visit(b)
	}
	if err != nil {
		return err
	}
	links, err := dag.Children(ctx, g, c)
	for _, link := range links {
		if err == nil {
			err = repeat(ctx, g, link, visit)
		}
	}
	return err
}

// fetch fetches the tree and checks what came: each block once, right, in
// order. It returns the error.
func (h *house) fetch(req retrieval.Request, visit func(blocks.Block) error) (retrieval.Retrieval, int, error) {
	s := retrieval.New(h.db, h.pieces, h, h, http.DefaultClient, time.Now, slog.New(slog.DiscardHandler), h.settings)
	req.Project, req.Root, req.Plan = project, h.root, h.plan.ID
	var want []cid.Cid
	must(h.t, retrieval.Walk(h.t.Context(), h.blocks, h.root, func(b blocks.Block) error {
		want = append(want, b.Cid())
		return nil
	}))
	got := 0
	r, err := s.Fetch(h.t.Context(), req, func(b blocks.Block) error {
		if visit != nil {
			if err := visit(b); err != nil {
				return err
			}
		}
		if got >= len(want) || !b.Cid().Equals(want[got]) {
			h.t.Errorf("block %d is %s", got, b.Cid())
		}
		if sum := ok(b.Cid().Prefix().Sum(b.RawData()))(h.t); !sum.Equals(b.Cid()) {
			h.t.Errorf("block %s has other bytes", b.Cid())
		}
		got++
		return nil
	})
	if err == nil && got != len(want) {
		h.t.Errorf("%d blocks of %d and no error", got, len(want))
	}
	return r, got, err
}

// attempts returns the rows, oldest first, as "provider method state".
func (h *house) attempts() (out []string, rows []retrieval.Retrieval) {
	s := retrieval.New(h.db, h.pieces, h, h, http.DefaultClient, time.Now, slog.New(slog.DiscardHandler), h.settings)
	rows = ok(s.List(h.t.Context(), project, retrieval.Filter{}))(h.t)
	slices.Reverse(rows)
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%s %s %s", r.Provider, r.Method, r.State))
	}
	return out, rows
}

// expect compares the attempts and the observations with what is wanted.
func (h *house) expect(attempts, observed string) {
	h.t.Helper()
	got, rows := h.attempts()
	if s := strings.Join(got, ", "); s != attempts {
		h.t.Errorf("attempts %s\nwant     %s", s, attempts)
	}
	if s := strings.Join(h.seen, ", "); s != observed {
		h.t.Errorf("observed %s\nwant     %s", s, observed)
	}
	for _, r := range rows {
		if r.State == retrieval.Failed && r.Reason == "" || r.Took <= 0 || r.At.IsZero() {
			h.t.Errorf("attempt %+v", r)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ok[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

var errStop = errors.New("the reader has enough")

func sqlite(t *testing.T) *db.DB {
	return dbtest.SQLite(t, event.Migrations, piece.Migrations(), retrieval.Migrations())
}
