package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front"
	"github.com/firth-project/firth/front/gateway"
)

// house is a gateway before real stores, over real HTTP.
type house struct {
	t      *testing.T
	blocks *block.Store
	pieces *piece.Service
	url    string
	links  *gateway.Links
	reads  string // a token with content:read
	writes string // one without
	now    time.Time
	names  records

	root  cid.Cid // of a tree: "dir/file", "page.html"
	file  []byte  // bytes of dir/file
	piece piece.Piece
	car   []byte
}

var secret = []byte("a secret of the node's own, 32 by")

// open builds a house on a database, with the piece of a tree in it.
func open(t *testing.T, d *db.DB, access string, s piece.Settings) *house {
	t.Helper()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	h := &house{t: t, now: time.Now(), names: records{}}
	must(t, job.Migrate(ctx, d))
	h.blocks = ok(block.Open(ctx, t.TempDir(), block.Options{}))(t)
	t.Cleanup(func() { h.blocks.Close() })
	jobs := ok(job.New(d, log, job.Options{}))(t)
	h.pieces = piece.New(d, h.blocks, ok(disk.Open(t.TempDir()))(t), jobs, time.Now, rand.Reader, log, s)
	jobs.Handle(h.pieces.Handlers()...)
	running, stop := context.WithCancel(context.Background())
	var works sync.WaitGroup
	works.Go(func() { _ = jobs.Run(running) })
	t.Cleanup(func() { stop(); works.Wait() })

	accounts := account.New(d, time.Now, rand.Reader)
	ok2(accounts.Bootstrap(ctx, nil))(t)
	_, h.reads, _ = tokens(t, accounts, account.ReadContent)
	_, h.writes, _ = tokens(t, accounts, account.WriteContent)
	h.links = gateway.NewLinks(secret, "http://pieces.example/", func() time.Time { return h.now })
	door := ok(gateway.New(gateway.Config{
		Blocks: h.blocks, Pieces: h.pieces, Names: h.names, Doorman: front.NewDoorman(accounts, log), Access: access, Secret: secret,
		Clock: func() time.Time { return h.now }, Log: log,
	}))(t)
	server := httptest.NewServer(door)
	t.Cleanup(server.Close)
	h.url = server.URL
	h.fill(d)
	return h
}

func tokens(t *testing.T, s *account.Service, scope account.Scope) (account.Token, string, error) {
	t.Helper()
	token, secret, err := s.CreateToken(t.Context(), account.DefaultProject, string(scope), []account.Scope{scope}, nil)
	must(t, err)
	return token, secret, err
}

// fill stores a tree and packs it.
func (h *house) fill(d *db.DB) {
	h.t.Helper()
	ctx := h.t.Context()
	h.file = make([]byte, 2_500_000)
	_, _ = rand.Read(h.file)
	tree := dag.NewTree(h.blocks, ok(dag.ProfileNamed(""))(h.t))
	ok(tree.AddFile(ctx, "dir/file", bytes.NewReader(h.file)))(h.t)
	ok(tree.AddFile(ctx, "page.html", bytes.NewReader([]byte("<html><script>1</script></html>"))))(h.t)
	h.root = ok(tree.Finish(ctx))(h.t).Cid
	var plan int64
	must(h.t, d.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		plan, err = h.pieces.Submit(ctx, tx, account.DefaultProject, "test", []piece.Root{{CID: h.root.String(), Name: "tree"}})
		return err
	}))
	tick, limit := time.NewTicker(2*time.Millisecond), time.After(3*time.Minute)
	defer tick.Stop()
	for len(ok(h.pieces.Plan(ctx, plan))(h.t).Pieces) == 0 {
		select {
		case <-tick.C:
		case <-limit:
			h.t.Fatal("the tree is not packed")
		}
	}
	h.piece = ok(h.pieces.Plan(ctx, plan))(h.t).Pieces[0]
	r := ok(h.pieces.Open(ctx, h.piece.CID))(h.t)
	defer r.Close()
	h.car = ok(io.ReadAll(r))(h.t)
}

func migrated(t *testing.T, open dbtest.Open) *db.DB {
	return open(t, event.Migrations, account.Migrations(), piece.Migrations())
}

// answer is a response read to its end; err says that it broke off.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// ask sends a request; headers are name, value, name, value.
func (h *house) ask(method, path string, headers ...string) answer {
	h.t.Helper()
	req := ok(http.NewRequestWithContext(h.t.Context(), method, h.url+path, nil))(h.t)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil { // broken off before the head was out
		return answer{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, body, err}
}

func (h *house) get(path string, headers ...string) answer {
	h.t.Helper()
	return h.ask(http.MethodGet, path, headers...)
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

func ok2[T, U any](v T, _ U, err error) func(*testing.T) T { return ok(v, err) }
