package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/provider"
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

// opened remembers to close what was opened.
func (a *App) opened(c io.Closer) { a.closers = append(a.closers, c) }

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
