package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/node"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/provider"
	"github.com/firth-project/firth/flow/retrieval"
	"github.com/firth-project/firth/front/gateway"
)

// stores is what a node keeps.
type stores struct {
	home   *Home
	secret []byte
	db     *db.DB
	blobs  blob.Store
	blocks *block.Store
	jobs   *job.Client
	events *event.Log
}

func (a *App) openStores(ctx context.Context, cfg Config) (s stores, err error) {
	if s.home, err = OpenHome(cfg.Home); err != nil {
		return s, err
	}
	a.opened(s.home)
	if s.secret, err = s.home.secret(cfg.Secret); err != nil {
		return s, err
	}
	url := cfg.Database
	if url == "" {
		url = "sqlite:" + s.home.Path("firth.db")
	}
	openDB := db.Open
	if a.temporary {
		openDB = db.OpenTemporary
	}
	if s.db, err = openDB(ctx, url, a.log); err != nil {
		return s, err
	}
	a.opened(s.db)
	if err := migrate(ctx, s.db); err != nil {
		return s, err
	}
	if s.blobs, err = a.openBlobs(ctx, cfg, s.home, a.temporary); err != nil {
		return s, err
	}
	o := block.Options{Log: a.log, Temporary: a.temporary}
	if s.db.Engine() == db.PostgreSQL { // processes may be apart: the blob store is where they meet
		o.Shared = s.blobs
	}
	if s.blocks, err = block.Open(ctx, s.home.Path("blocks"), o); err != nil {
		return s, err
	}
	a.opened(s.blocks)
	s.events = event.New(s.db, a.log)
	s.jobs, err = job.New(s.db, a.log, job.Options{Workers: a.queues(cfg.Workers), Drain: a.drain})
	return s, err
}

// world is whom a node talks to.
type world struct {
	chain *chain.Client
	peers *mk12.Client
}

func (a *App) openWorld(ctx context.Context, cfg Config, in stores) (w world, err error) {
	if w.chain, err = chain.Dial(ctx, cfg.Chain.RPC, cfg.Chain.Token, a.log); err != nil {
		return w, err
	}
	host, err := p2p.New(p2p.Config{KeyFile: in.home.Path("p2p.key"), Listen: strings.Split(cfg.Listen.P2P, ","), Log: a.log})
	if err != nil {
		return w, err
	}
	a.opened(host)
	w.peers = mk12.NewClient(host)
	a.keys, err = openKeystore(cfg, in.secret)
	return w, err
}

// services are the business, in the order data moves.
type services struct {
	accounts   *account.Service
	contents   *content.Service
	pieces     *piece.Service
	datasets   *dataset.Service
	providers  *provider.Service
	deals      *deal.Service
	retrievals *retrieval.Service
	nodes      *node.Service
}

func (a *App) build(cfg Config, in stores, out world) (s services, err error) {
	publicURL, err := a.publicURL(cfg)
	if err != nil {
		return s, err
	}
	fetch, err := fetcher(cfg)
	if err != nil {
		return s, err
	}
	clock := time.Now
	s.accounts = account.New(in.db, clock, rand.Reader)
	s.nodes = node.New(in.db, clock, a.log)
	if s.pieces, s.datasets, err = a.buildPacking(cfg, in, clock); err != nil {
		return s, err
	}
	s.pieces.ConnectBy(fetch)
	logins, err := newSafe(in.secret, forImports)
	if err != nil {
		return s, err
	}
	s.pieces.SealBy(logins)
	s.providers = provider.New(in.db, in.jobs, out.chain, out.peers, clock, rand.Reader, a.log,
		provider.Settings{Interval: providerInterval})
	safe, err := newSafe(in.secret, forDeals)
	if err != nil {
		return s, err
	}
	s.deals = deal.New(in.db, in.jobs, s.pieces, s.providers, deal.NewMK12(out.peers, a.keys), out.chain, a.keys,
		gateway.NewLinks(in.secret, publicURL, clock), safe, clock, rand.Reader, a.log, deal.Settings{
			Interval: cfg.Deal.Interval, Silence: cfg.Deal.Silence, Backoff: cfg.Deal.Backoff, FinalityEpochs: cfg.Chain.Finality,
			URLTemplate: cfg.Piece.URLTemplate,
		})
	s.contents = content.New(in.db, in.blocks, s.pieces, s.deals, clock, a.log, content.Settings{
		BucketSize: cfg.Bucket.Size, BucketContents: int64(cfg.Bucket.Contents), BucketAge: cfg.Bucket.Age,
		Lease: uploadLease, Interval: bucketInterval,
	})
	s.retrievals = retrieval.New(in.db, s.pieces, holders{s.deals}, endpoints{s.providers}, fetch, clock, a.log, retrieval.Settings{})
	a.deals, a.providers = s.deals, s.providers
	return s, nil
}

// buildPacking makes what turns data into pieces. Pieces of datasets are read
// from the sources, which datasets know.
func (a *App) buildPacking(cfg Config, in stores, clock func() time.Time) (*piece.Service, *dataset.Service, error) {
	pieces := piece.New(in.db, in.blocks, in.blobs, in.jobs, clock, rand.Reader, a.log, piece.Settings{
		MaxPadded: cfg.Piece.MaxSize, MinPadded: cfg.Piece.MinSize, CacheCAR: cfg.Piece.Cache,
		Worker: workerName(), ImportsApart: cfg.CommP.Apart, WorkDir: in.home.Path("imports"),
	})
	safe, err := newSafe(in.secret, forSources)
	if err != nil {
		return nil, nil, err
	}
	work := cfg.Dataset.WorkDir
	if work == "" {
		work = in.home.Path("work")
	}
	routers, err := ipnsRouters(cfg)
	if err != nil {
		return nil, nil, err
	}
	datasets := dataset.New(in.db, in.blobs, in.blocks, pieces, in.jobs, safe, clock, a.log, dataset.Settings{
		WorkDir: work, Worker: workerName(), Workers: cfg.Dataset.Workers, MinPieceSize: cfg.Piece.MinSize, Checkpoint: cfg.Dataset.Checkpoint,
		Temporary: a.temporary, Routers: routers, NameValidity: cfg.IPNS.Validity,
	})
	pieces.ReadFrom(datasets)
	pieces.ExportTo(newBuckets(cfg.S3, a.log))
	return pieces, datasets, nil
}

// workerName is who packs, as people see it.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// The pace of what nobody needs to tune.
const (
	uploadLease    = time.Minute
	bucketInterval = 15 * time.Second

	providerInterval = time.Hour // between two looks at a provider's terms
)
