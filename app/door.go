package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/firth-project/firth/base/fault"
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
