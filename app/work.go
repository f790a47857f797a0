package app

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/node"
)

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

// part is something that runs until its context ends.
type part struct {
	name string
	run  func(ctx context.Context) error
}

func (p part) String() string { return p.name }

func (p part) Serve(ctx context.Context) error { return p.run(ctx) }

func (a *App) works(name string, run func(ctx context.Context) error) {
	a.workers = append(a.workers, part{name, run})
}
