package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
	"github.com/firth-project/firth/base/wallet"
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
	"github.com/firth-project/firth/front/compat/singularity"
	"github.com/firth-project/firth/front/gateway"
)

// App is a node: everything its roles need, opened but not yet running.
type App struct {
	log        *slog.Logger
	roles      []Role
	firstToken string
	drain      time.Duration // for jobs
	temporary  bool          // the home is thrown away at the end: nothing in it waits for the disk

	apiDoor     *door
	gatewayDoor *door // equal to apiDoor where both share an address

	providers *provider.Service
	deals     *deal.Service
	keys      *wallet.Keystore

	doors   []suture.Service
	workers []suture.Service
	closers []io.Closer // in the order they were opened
}

// New opens a node. What cannot work is refused here: a home or port in use, a
// database of a newer version, a key file that does not open. The caller runs
// what New returns; Run closes it.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*App, error) {
	return open(ctx, cfg, log, 0)
}

// open is New with a time for jobs to finish when the node stops; 0 is package
// job's own.
func open(ctx context.Context, cfg Config, log *slog.Logger, drain time.Duration) (_ *App, err error) {
	a := &App{log: log, drain: drain}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.roles, err = ParseRoles(cfg.Roles); err != nil {
		return nil, err
	}
	if a.has(CommPRole) {
		return a, a.openCommP(cfg, log)
	}
	in, err := a.openStores(ctx, cfg)
	if err != nil {
		return nil, err
	}
	out, err := a.openWorld(ctx, cfg, in)
	if err != nil {
		return nil, err
	}
	if err := a.listen(cfg); err != nil {
		return nil, err
	}
	s, err := a.build(cfg, in, out)
	if err != nil {
		return nil, err
	}
	if a.has("api") { // the first token belongs where it can be shown and used
		keep := func(token string) error { return in.home.writeAccess(a.apiDoor.url(), token) }
		if a.firstToken, _, err = s.accounts.Bootstrap(ctx, keep); err != nil {
			return nil, err
		}
	}
	if err := a.openDoors(cfg, in, s); err != nil {
		return nil, err
	}
	if err := a.start(ctx, cfg, in, s); err != nil {
		return nil, err
	}
	return a, nil
}

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
	s.providers = provider.New(in.db, in.jobs, out.chain, out.peers, clock, rand.Reader, a.log,
		provider.Settings{Interval: providerInterval})
	s.deals = deal.New(in.db, in.jobs, s.pieces, s.providers, deal.NewMK12(out.peers, a.keys), out.chain, a.keys,
		links(cfg, gateway.NewLinks(in.secret, publicURL, clock)), clock, rand.Reader, a.log, deal.Settings{
			Interval: cfg.Deal.Interval, Silence: cfg.Deal.Silence, Backoff: cfg.Deal.Backoff, FinalityEpochs: cfg.Chain.Finality,
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
	safe, err := newSafe(in.secret)
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

func (a *App) openDoors(cfg Config, in stores, s services) error {
	doorman := front.NewDoorman(s.accounts, a.log)
	if a.apiDoor != nil {
		a.serve(a.apiDoor, doorman, "/v1/", api.New(api.Services{
			Account: s.accounts, Contents: s.contents, Pieces: s.pieces, Datasets: s.datasets, Deals: s.deals, Providers: s.providers,
			Retrievals: s.retrievals, Jobs: in.jobs, Events: in.events, Nodes: s.nodes, Blocks: in.blocks, Doorman: doorman, Log: a.log,
			Stopping: a.apiDoor.stopping,
			Version:  Version().Version,
		}))
		foreign := singularity.New(s.datasets, s.pieces)
		for _, pattern := range singularity.Patterns() {
			a.serve(a.apiDoor, doorman, pattern, foreign)
		}
		if err := in.home.writeAccess(a.apiDoor.url(), a.firstToken); err != nil {
			return err
		}
	}
	if a.gatewayDoor == nil {
		return nil
	}
	h, err := gateway.New(gateway.Config{
		Blocks: in.blocks, Pieces: s.pieces, Names: s.datasets, Doorman: doorman, Access: cfg.Gateway.Access,
		PieceRate: cfg.Gateway.PieceRate, Secret: in.secret, Clock: time.Now, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.serve(a.gatewayDoor, doorman, "/", h)
	return nil
}

// start lists what runs without being asked.
func (a *App) start(ctx context.Context, cfg Config, in stores, s services) error {
	a.works("events", in.events.Run)
	a.works("node list", func(ctx context.Context) error {
		return s.nodes.Attend(ctx, node.Node{ID: rand.Text(), Roles: a.Roles(), Version: Version().Version, Address: a.APIURL()})
	})
	if len(a.queues(cfg.Workers)) > 0 {
		in.jobs.Handle(slices.Concat(s.pieces.Handlers(), s.datasets.Handlers(), s.providers.Handlers(), s.deals.Handlers())...)
		a.works("jobs", in.jobs.Run)
	}
	if a.has("index") {
		if err := schedule(ctx, in, s.providers.Schedules()); err != nil {
			return err
		}
	}
	if a.has("packer") {
		if err := schedule(ctx, in, s.datasets.Schedules()); err != nil {
			return err
		}
		a.works("buckets", func(ctx context.Context) error { return s.contents.Watch(ctx, in.events) })
	}
	if a.has("dealer") {
		a.works("policies", func(ctx context.Context) error { return s.deals.Watch(ctx, in.events) })
	}
	if a.has("tracker") {
		a.works("deals", s.deals.Track)
		a.works("retention", func(ctx context.Context) error { return forget(ctx, in.events) })
	}
	return nil
}

// schedule has work done regularly.
func schedule(ctx context.Context, in stores, all []job.Schedule) error {
	return in.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, s := range all {
			if err := in.jobs.Schedule(ctx, tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// keepEvents is how long the log can be replayed.
const keepEvents = 90 * 24 * time.Hour

// forget trims the event log, now and every hour.
func forget(ctx context.Context, events *event.Log) error {
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	for {
		if _, err := events.Trim(ctx, time.Now().Add(-keepEvents)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hour.C:
		}
	}
}

// Run runs the node until ctx ends, and closes it. On the way out doors stop
// taking requests and finish those they have, then jobs drain, then the stores
// close in the reverse order of opening.
func (a *App) Run(ctx context.Context) error {
	quiet := func(e suture.Event) { a.log.Warn("part of the node ended", "err", e.String()) }
	doors := suture.New("doors", suture.Spec{EventHook: quiet, Timeout: drainDoors + 5*time.Second})
	workers := suture.New("workers", suture.Spec{EventHook: quiet, Timeout: 40 * time.Second})
	for _, d := range a.doors {
		doors.Add(d)
	}
	for _, w := range a.workers {
		workers.Add(w)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	working := workers.ServeBackground(work)
	err := doors.Serve(ctx)
	if ctx.Err() == nil && len(a.doors) == 0 {
		<-ctx.Done()
	}
	stop()
	err = errors.Join(ended(err), ended(<-working))
	return errors.Join(err, a.close())
}

// ended turns a supervisor's end into an error if it was not asked for.
func ended(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, suture.ErrDoNotRestart) {
		return nil
	}
	return err
}

// Roles returns the names of the roles the node does.
func (a *App) Roles() []string {
	names := make([]string, len(a.roles))
	for i, r := range a.roles {
		names[i] = r.Name
	}
	return names
}

// FirstToken is the admin token if this start made it, else "". It is nowhere
// else but in the home's client.json.
func (a *App) FirstToken() string { return a.firstToken }

// APIURL and GatewayURL are where the doors are, "" without the role.
func (a *App) APIURL() string { return urlOf(a.apiDoor) }

// GatewayURL is where contents and pieces are read.
func (a *App) GatewayURL() string { return urlOf(a.gatewayDoor) }

func urlOf(d *door) string {
	if d == nil {
		return ""
	}
	return d.url()
}

func (a *App) has(role string) bool {
	return slices.ContainsFunc(a.roles, func(r Role) bool { return r.Name == role })
}

// queues are the job queues the roles work, each with its number of workers.
func (a *App) queues(w Workers) map[job.Queue]int {
	all := map[job.Queue]int{job.Light: w.Light, job.Net: w.Net, job.Hash: w.Hash}
	chosen := map[job.Queue]int{}
	for _, r := range a.roles {
		for _, q := range r.Queues {
			chosen[q] = all[q]
		}
	}
	return chosen
}

// opened remembers to close what was opened.
func (a *App) opened(c io.Closer) { a.closers = append(a.closers, c) }

// close closes everything in the reverse order of opening.
func (a *App) close() error {
	var errs []error
	for _, d := range []*door{a.apiDoor, a.gatewayDoor} {
		if d != nil {
			if err := d.listener.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	for _, c := range slices.Backward(a.closers) {
		errs = append(errs, c.Close())
	}
	a.closers = nil
	return errors.Join(errs...)
}

// listen opens the addresses of the doors this node has.
func (a *App) listen(cfg Config) error {
	open := func(name, addr string) (*door, error) {
		l, err := listen(name, addr)
		if err != nil {
			return nil, err
		}
		return newDoor(name, l, http.NewServeMux(), a.log), nil
	}
	var err error
	if a.has("api") {
		if a.apiDoor, err = open("api", cfg.Listen.API); err != nil {
			return err
		}
	}
	switch {
	case !a.has("gateway"):
	case cfg.Listen.Gateway != "":
		a.gatewayDoor, err = open("gateway", cfg.Listen.Gateway)
	case a.apiDoor != nil:
		a.gatewayDoor = a.apiDoor
	default:
		a.gatewayDoor, err = open("api", cfg.Listen.API)
	}
	return err
}

// publicURL is where providers reach the pieces.
func (a *App) publicURL(cfg Config) (string, error) {
	switch {
	case cfg.PublicURL != "":
		return strings.TrimRight(cfg.PublicURL, "/"), nil
	case a.gatewayDoor != nil:
		return a.gatewayDoor.url(), nil
	case a.has("dealer") && cfg.Piece.URLTemplate == "":
		return "", fault.New(fault.Invalid, "configuration public_url: a dealer without the gateway role has to be told where providers reach the pieces")
	}
	return "", nil
}

// serve puts a handler behind a door, after the doorman.
func (a *App) serve(d *door, doorman *front.Doorman, pattern string, h http.Handler) {
	d.server.Handler.(*http.ServeMux).Handle(pattern, doorman.Guard(h))
	if !slices.ContainsFunc(a.doors, func(s suture.Service) bool { return s == suture.Service(d) }) {
		a.doors = append(a.doors, d)
	}
}

// part is something that runs until its context ends.
type part struct {
	name string
	run  func(ctx context.Context) error
}

func (p part) String() string                  { return p.name }
func (p part) Serve(ctx context.Context) error { return p.run(ctx) }

func (a *App) works(name string, run func(ctx context.Context) error) {
	a.workers = append(a.workers, part{name, run})
}
