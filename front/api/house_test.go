package api_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/devnet"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/node"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/provider"
	"github.com/firth-project/firth/flow/retrieval"
	"github.com/firth-project/firth/front"
	"github.com/firth-project/firth/front/api"
)

// house is a node behind its door, wired as the app does it, with a network of
// providers beside it where one is wanted.
type house struct {
	*testing.T
	url     string
	secret  string // of an admin
	c       *client.Client
	s       api.Services
	net     *devnet.Network
	db      *db.DB
	handler http.Handler
}

// keyring signs with the network's wallets.
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

// letter seals nothing.
type letter struct{}

func (letter) Seal(plain []byte) ([]byte, error)  { return plain, nil }
func (letter) Open(sealed []byte) ([]byte, error) { return sealed, nil }

// links point to the test's piece server.
type links struct{ base string }

func (l links) PieceURL(pieceCID string) (string, map[string]string) {
	return l.base + "/piece/" + pieceCID, nil
}

// neighbours is what retrieval asks, in its words.
type neighbours struct {
	deals     *deal.Service
	providers *provider.Service
}

func (n neighbours) Holders(ctx context.Context, project, piece int64) (actors []string, err error) {
	all, err := n.deals.Deals(ctx, project, deal.Filter{Piece: piece, State: deal.Active})
	for _, d := range all {
		actors = append(actors, d.Provider)
	}
	return actors, err
}

func (n neighbours) Endpoint(ctx context.Context, actor string) (string, error) {
	p, err := n.providers.Get(ctx, actor)
	return p.HTTP, err
}

func (n neighbours) Observe(ctx context.Context, tx *db.Tx, actor string, o retrieval.Outcome) error {
	p, err := n.providers.Get(ctx, actor)
	if err != nil {
		return err
	}
	return n.providers.Observe(ctx, tx, provider.Observation{
		Provider: p.ID, Kind: "retrieve", OK: o.OK, Code: o.Code, Reason: o.Reason, Bytes: o.Bytes, TTFB: o.TTFB, Took: o.Took, At: o.At,
	})
}

var quiet = slog.New(slog.DiscardHandler)

func build(t *testing.T, open dbtest.Open, network devnet.Config) *house {
	t.Helper()
	h := &house{T: t}
	if network.Epoch == 0 {
		network.Epoch = 25 * time.Millisecond
	}
	h.net = got(devnet.Start(t.Context(), network))(t)
	t.Cleanup(func() { h.must(h.net.Close()) })
	h.db = open(t, event.Migrations, account.Migrations(), content.Migrations(), piece.Migrations(), provider.Migrations(),
		deal.Migrations(), retrieval.Migrations(), node.Migrations(), dataset.Migrations())
	h.must(job.Migrate(t.Context(), h.db))
	h.serve(h.services())
	return h
}

// services wires the flow.
func (h *house) services() api.Services {
	t := h.T
	jobs := got(job.New(h.db, quiet, job.Options{Drain: time.Second}))(t)
	blocks := got(block.Open(t.Context(), t.TempDir(), block.Options{}))(t)
	t.Cleanup(func() { blocks.Close() })
	blobs := got(disk.Open(t.TempDir()))(t)
	var keys keyring
	for _, w := range h.net.Info().Wallets {
		keys = append(keys, got(wallet.Import([]byte(w.Key)))(t))
	}
	lotus := got(chain.Dial(t.Context(), h.net.Info().RPC, "", quiet))(t)
	t.Cleanup(lotus.Close)
	host := got(p2p.New(p2p.Config{DialTimeout: time.Minute}))(t)
	t.Cleanup(func() { host.Close() })
	peers := mk12.NewClient(host)

	s := api.Services{Jobs: jobs, Blocks: blocks, Log: quiet, Version: "test", Events: event.New(h.db, quiet)}
	s.Account = account.New(h.db, time.Now, rand.Reader)
	s.Nodes = node.New(h.db, time.Now, quiet)
	s.Pieces = piece.New(h.db, blocks, blobs, jobs, time.Now, rand.Reader, quiet, piece.Settings{MaxPadded: 1 << 30, MinPadded: 256, ImportsApart: true})
	s.Datasets = dataset.New(h.db, blobs, blocks, s.Pieces, jobs, letter{}, time.Now, quiet, dataset.Settings{
		WorkDir: t.TempDir(), Worker: "here", Workers: 2, Interval: 20 * time.Millisecond, Backoff: time.Minute,
	})
	s.Pieces.ReadFrom(s.Datasets)
	s.Providers = provider.New(h.db, jobs, lotus, peers, time.Now, rand.Reader, quiet, provider.Settings{Interval: time.Hour})
	server := httptest.NewServer(http.HandlerFunc(h.servePiece))
	t.Cleanup(server.Close)
	s.Deals = deal.New(h.db, jobs, s.Pieces, s.Providers, deal.NewMK12(peers, keys), lotus, keys, links{server.URL}, letter{}, time.Now, rand.Reader, quiet,
		deal.Settings{Interval: 50 * time.Millisecond, Silence: time.Minute, Backoff: time.Minute, FinalityEpochs: 2})
	s.Contents = content.New(h.db, blocks, s.Pieces, s.Deals, time.Now, quiet, content.Settings{
		BucketSize: 1 << 40, BucketContents: 1000, BucketAge: time.Hour, Lease: time.Minute, Interval: time.Second,
	})
	n := neighbours{s.Deals, s.Providers}
	s.Retrievals = retrieval.New(h.db, s.Pieces, n, n, http.DefaultClient, time.Now, quiet, retrieval.Settings{})
	s.Doorman = front.NewDoorman(s.Account, quiet)
	jobs.Handle(s.Pieces.Handlers()...)
	jobs.Handle(s.Datasets.Handlers()...)
	jobs.Handle(s.Deals.Handlers()...)
	jobs.Handle(s.Providers.Handlers()...)
	return s
}

// serve runs the parts and opens the door.
func (h *house) serve(s api.Services) {
	h.s = s
	ctx, stop := context.WithCancel(h.Context())
	var running sync.WaitGroup
	for name, part := range map[string]func(context.Context) error{
		"jobs": s.Jobs.Run, "events": s.Events.Run, "track": s.Deals.Track,
		"deals":    func(ctx context.Context) error { return s.Deals.Watch(ctx, s.Events) },
		"contents": func(ctx context.Context) error { return s.Contents.Watch(ctx, s.Events) },
		"node": func(ctx context.Context) error {
			return s.Nodes.(*node.Service).Attend(ctx, node.Node{ID: "here", Roles: []string{"api"}, Version: "test"})
		},
	} {
		running.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				h.Errorf("%s: %v", name, err)
			}
		})
	}
	h.Cleanup(func() { stop(); running.Wait() })
	secret, _, err := s.Account.Bootstrap(h.Context(), nil)
	h.must(err)
	h.secret = secret
	h.handler = api.New(s)
	server := httptest.NewServer(h.handler)
	h.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	h.url = server.URL
	h.c = h.as(secret)
}

func (h *house) servePiece(w http.ResponseWriter, r *http.Request) {
	body, err := h.s.Pieces.Open(r.Context(), strings.TrimPrefix(r.URL.Path, "/piece/"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer body.Close()
	http.ServeContent(w, r, "", time.Time{}, body)
}

// as returns a client with a token.
func (h *house) as(secret string) *client.Client {
	return got(client.New(h.url, client.Options{Token: secret}))(h.T)
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// until looks again and again until something is so.
func (h *house) until(what string, so func() bool) {
	h.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); !so(); <-tick.C {
		if time.Now().After(deadline) {
			h.Fatalf("never: %s", what)
		}
	}
}

func got[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
