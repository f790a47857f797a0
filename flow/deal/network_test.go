package deal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/devnet"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/provider"
)

const project = 1

// world is a node's deals beside a network of providers.
type world struct {
	*testing.T
	ctx       context.Context
	db        *db.DB
	net       *devnet.Network
	info      devnet.Info
	blocks    *block.Store
	pieces    *piece.Service
	providers *provider.Service
	market    deal.Market
	chain     *chain.Client
	keys      keyring
	links     links
	settings  deal.Settings
	log       *slog.Logger
	passed    atomic.Int64 // nanoseconds
	nodes     []*node
}

// node is one process: its jobs, its reconciler and its tracker.
type node struct {
	*deal.Service
	jobs   *job.Client
	events *event.Log
	stop   func()
}

// keyring signs with the network's wallets. A keystore does the same, and
// spends a quarter of a second on opening.
type keyring []wallet.Key

func (k keyring) List() (all []address.Address) {
	for _, one := range k {
		all = append(all, one.Address())
	}
	return all
}

func (k keyring) Sign(_ context.Context, a address.Address, msg []byte) (crypto.Signature, error) {
	for _, one := range k {
		if one.Address() == a {
			return one.Sign(msg)
		}
	}
	return crypto.Signature{}, fmt.Errorf("no key for %s", a)
}

// letter seals so that a search for what is inside finds nothing.
type letter struct{}

func (letter) Seal(plain []byte) ([]byte, error) {
	return append([]byte("sealed:"), flipped(plain)...), nil
}

func (letter) Open(sealed []byte) ([]byte, error) {
	inside, ok := bytes.CutPrefix(sealed, []byte("sealed:"))
	if !ok {
		return nil, fault.New(fault.Forbidden, "does not open")
	}
	return flipped(inside), nil
}

func flipped(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

// links point to the test's piece server.
type links struct{ base string }

func (l links) PieceURL(pieceCID string) (string, map[string]string) {
	return l.base + "/piece/" + pieceCID, map[string]string{"Authorization": "Bearer firthp_test"}
}

// open starts a network and a database beside it; nothing deals yet.
func open(t *testing.T, openDB dbtest.Open, c devnet.Config) *world {
	t.Helper()
	w := &world{T: t, ctx: t.Context(), log: slog.New(slog.DiscardHandler)}
	w.settings = deal.Settings{
		Interval: 50 * time.Millisecond, ActiveInterval: 200 * time.Millisecond,
		Silence: 5 * time.Minute, Backoff: 10 * time.Minute, FinalityEpochs: 2,
	}
	if c.Epoch == 0 {
		c.Epoch = 25 * time.Millisecond
	}
	var err error
	w.net, err = devnet.Start(w.ctx, c)
	w.must(err)
	t.Cleanup(func() { w.must(w.net.Close()) })
	w.info = w.net.Info()
	for _, one := range w.info.Wallets {
		key, err := wallet.Import([]byte(one.Key))
		w.must(err)
		w.keys = append(w.keys, key)
	}
	w.db = openDB(t, event.Migrations, piece.Migrations(), provider.Migrations(), deal.Migrations())
	w.must(job.Migrate(w.ctx, w.db))
	w.chain, err = chain.Dial(w.ctx, w.info.RPC, "", w.log)
	w.must(err)
	t.Cleanup(w.chain.Close)
	host, err := p2p.New(p2p.Config{DialTimeout: time.Minute})
	w.must(err)
	t.Cleanup(func() { host.Close() })
	w.blocks, err = block.Open(w.ctx, t.TempDir(), block.Options{})
	w.must(err)
	t.Cleanup(func() { w.blocks.Close() })
	blobs, err := disk.Open(t.TempDir())
	w.must(err)
	packing, err := job.New(w.db, w.log, job.Options{})
	w.must(err)
	peers := mk12.NewClient(host)
	w.pieces = piece.New(w.db, w.blocks, blobs, packing, time.Now, rand.Reader, w.log, piece.Settings{MaxPadded: 1 << 20, MinPadded: 256})
	w.providers = provider.New(w.db, packing, w.chain, peers, time.Now, rand.Reader, w.log, provider.Settings{Interval: time.Hour})
	w.market = deal.NewMK12(peers, w.keys)
	server := httptest.NewServer(http.HandlerFunc(w.servePiece))
	t.Cleanup(server.Close)
	w.links = links{server.URL}
	return w
}

// clock is the time, and what a test let pass at once.
func (w *world) clock() time.Time { return time.Now().Add(time.Duration(w.passed.Load())) }

func (w *world) servePiece(out http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer firthp_test" {
		http.Error(out, "no link", http.StatusUnauthorized)
		return
	}
	body, err := w.pieces.Open(r.Context(), strings.TrimPrefix(r.URL.Path, "/piece/"))
	if err != nil {
		http.Error(out, err.Error(), http.StatusNotFound)
		return
	}
	defer body.Close()
	http.ServeContent(out, r, "", time.Time{}, body)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// index takes all providers of the network in.
func (w *world) index() {
	w.Helper()
	for _, p := range w.info.Providers {
		_, err := w.providers.Add(w.ctx, p.ID)
		w.must(err)
	}
}

// build makes a node that is not running.
func (w *world) build(market deal.Market) *node {
	w.Helper()
	jobs, err := job.New(w.db, w.log, job.Options{Drain: time.Second})
	w.must(err)
	s := deal.New(w.db, jobs, w.pieces, w.providers, market, w.chain, w.keys, w.links, letter{}, w.clock, rand.Reader, w.log, w.settings)
	return &node{Service: s, jobs: jobs, events: event.New(w.db, w.log)}
}

// run starts a node; it ends with the test or with its stop.
func (w *world) run(market deal.Market, packs bool) *node {
	w.Helper()
	n := w.build(market)
	n.jobs.Handle(n.Handlers()...)
	if packs {
		n.jobs.Handle(w.pieces.Handlers()...)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	var parts sync.WaitGroup
	for name, part := range map[string]func(context.Context) error{
		"events": n.events.Run, "jobs": n.jobs.Run, "track": n.Track,
		"watch": func(ctx context.Context) error { return n.Watch(ctx, n.events) },
	} {
		parts.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				w.Errorf("%s: %v", name, err)
			}
		})
	}
	n.stop = sync.OnceFunc(func() { cancel(); parts.Wait() })
	w.Cleanup(n.stop)
	w.nodes = append(w.nodes, n)
	return n
}

// pack makes a piece of random data, and returns its plan.
func (w *world) pack(size int64) int64 {
	w.Helper()
	profile, err := dag.ProfileNamed("")
	w.must(err)
	entry, err := dag.AddFile(w.ctx, w.blocks, io.LimitReader(rand.Reader, size), profile)
	w.must(err)
	var plan int64
	w.must(w.db.Tx(w.ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		plan, err = w.pieces.Submit(ctx, tx, project, "test", []piece.Root{{CID: entry.Cid.String(), Name: "data", Size: size}})
		return err
	}))
	return plan
}

// until waits for a condition, and shows all deals when it does not come.
func (w *world) until(what string, done func() bool) {
	w.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			w.Fatalf("never: %s\n%s", what, w.show())
		}
	}
}

func (w *world) deals(f deal.Filter) []deal.Deal {
	w.Helper()
	all, err := w.build(w.market).Deals(w.ctx, project, f)
	w.must(err)
	return all
}

func (w *world) show() string {
	var b strings.Builder
	for _, d := range w.deals(deal.Filter{}) {
		fmt.Fprintf(&b, "%s %-12s piece %d %s\n", d.Provider, d.State, d.Piece, d.Reason)
	}
	return b.String()
}

// copies waits until a plan has as many active copies as are wanted.
func (w *world) copies(plan int64, n int) {
	w.Helper()
	w.until(fmt.Sprintf("%d copies", n), func() bool {
		wanted, active, err := w.build(w.market).Copies(w.ctx, plan)
		w.must(err)
		return wanted == n && active >= n
	})
}

func (w *world) policy(p deal.Policy) deal.Policy {
	w.Helper()
	made, err := w.build(w.market).CreatePolicy(w.ctx, project, p)
	w.must(err)
	return made
}

// byProvider counts the deals of the network's i-th provider in a state.
func (w *world) byProvider(i int, s deal.State) []deal.Deal {
	return w.deals(deal.Filter{Provider: w.info.Providers[i].ID, State: s})
}

// rests waits until the deal of the network's i-th provider was looked at
// without moving: from then on its silence is counted, and no first word of the
// provider begins the count again.
func (w *world) rests(i int) {
	w.Helper()
	w.until("a look without news", func() bool {
		for _, d := range w.byProvider(i, deal.Proposed) {
			_, seen, err := w.nodes[0].Get(w.ctx, project, d.UUID)
			w.must(err)
			return seen[len(seen)-1].Reason == "" && d.UpdatedAt.After(seen[len(seen)-1].At)
		}
		return false
	})
}
