package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/front"
	"github.com/firth-project/firth/front/api"
	"github.com/firth-project/firth/front/compat/singularity"
	"github.com/firth-project/firth/front/gateway"
)

// drainDoors is how long open requests may go on after a stop.
const drainDoors = 10 * time.Second

// door is an HTTP listener and what answers behind it. Bodies stream for as
// long as they move, so only the time to send a header is bounded.
type door struct {
	name     string
	listener net.Listener
	server   *http.Server
	stopping chan struct{} // closed when it begins to stop
}

// listen opens a door's address.
func listen(name, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New(fault.Conflict, "listen.%s: %s is in use by another program; stop it, or choose another address", name, addr)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "listen.%s: %w", name, err)
	}
	return l, nil
}

func newDoor(name string, l net.Listener, h http.Handler, log *slog.Logger) *door {
	d := &door{name: name, listener: l, stopping: make(chan struct{}), server: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	d.server.RegisterOnShutdown(func() { close(d.stopping) }) // Shutdown is called once, at the end of Serve
	return d
}

// url is the address people and programs reach the door at.
func (d *door) url() string { return "http://" + d.listener.Addr().String() }

func (d *door) String() string { return "door " + d.name }

// Serve implements suture.Service: it answers until ctx ends and then lets open
// requests finish.
func (d *door) Serve(ctx context.Context) error {
	stopped := make(chan error, 1)
	go func() { stopped <- d.server.Serve(d.listener) }()
	select {
	case err := <-stopped:
		// A listener that broke cannot be opened twice: the node has to end.
		return errors.Join(fault.Wrap(err, "door %s", d.name), suture.ErrTerminateSupervisorTree)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainDoors)
	defer cancel()
	if err := d.server.Shutdown(drain); err != nil {
		return d.server.Close()
	}
	return nil
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
		return "", fault.New(fault.Invalid, "configuration public_url: a dealer without the gateway role has to be told where providers reach the pieces, by this or by piece.url_template")
	}
	return "", nil
}

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

// serve puts a handler behind a door, after the doorman.
func (a *App) serve(d *door, doorman *front.Doorman, pattern string, h http.Handler) {
	d.server.Handler.(*http.ServeMux).Handle(pattern, doorman.Guard(h))
	if !slices.ContainsFunc(a.doors, func(s suture.Service) bool { return s == suture.Service(d) }) {
		a.doors = append(a.doors, d)
	}
}

func urlOf(d *door) string {
	if d == nil {
		return ""
	}
	return d.url()
}
