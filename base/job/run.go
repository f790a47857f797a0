package job

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"

	"github.com/firth-project/firth/base/fault"
)

const (
	// pollInterval is how often a queue is looked at without a wake-up, in case
	// one was lost.
	pollInterval = 2 * time.Second
	// soon is up to when River itself holds a job that is to run again; what is
	// further off is released by the second.
	soon = 5 * time.Second
	// cooldown is the least time between two fetches, so that a burst is
	// fetched in batches.
	cooldown = 5 * time.Millisecond
	// giveUp is how long a handler that ignores its ctx may delay the end of Run.
	giveUp = 5 * time.Second
	// never is longer than any job: River's own rescue would give a job up
	// without telling its noun.
	never = 10 * 365 * 24 * time.Hour

	keepDone = 24 * time.Hour
	keepDead = 30 * 24 * time.Hour
)

// Run works jobs until ctx ends. Then it takes no new ones, lets those running
// finish for Options.Drain, ends their ctx, and returns; what was cut short is
// available to others at once and has not used up an attempt.
//
// What a killed process left running is taken over: on SQLite as Run starts, on
// PostgreSQL by any running client within ten seconds.
func (c *Client) Run(ctx context.Context) error {
	if len(c.handlers) == 0 {
		<-ctx.Done()
		return nil
	}
	work := context.WithoutCancel(ctx)
	id := workerID()
	if err := c.enlist(work, id); err != nil {
		return err
	}
	driver := listening{Driver: c.driver, woken: make(chan Queue)}
	// The loops go on while jobs drain: the lease is held until the last ends.
	loops, stop := context.WithCancel(work)
	defer stop()
	inner, err := river.NewClient(driver, c.config(id, func(q Queue, after time.Duration) {
		driver.wakeAfter(loops, q, after)
	}))
	if err != nil {
		return fault.Wrap(err, "start jobs")
	}
	if err := inner.Start(work); err != nil {
		return fault.Wrap(err, "start jobs")
	}
	var running sync.WaitGroup
	for q := range c.options.Workers {
		running.Go(func() { driver.forward(loops, c.db, q) })
	}
	running.Go(func() { c.watchCancels(loops) })
	running.Go(func() { c.tend(loops, id) })

	<-ctx.Done()
	err = c.drain(work, inner)
	stop()
	running.Wait()
	if err != nil {
		return err // the lease runs out by itself once the stubborn are gone
	}
	return c.discharge(work, id)
}

func (c *Client) config(id string, wake func(Queue, time.Duration)) *river.Config {
	workers := river.NewWorkers()
	for name, h := range c.handlers {
		river.AddWorkerArgs(workers, args{kind: name}, &worker{client: c, handler: h, wake: wake})
	}
	queues := map[string]river.QueueConfig{}
	for q, n := range c.options.Workers {
		queues[string(q)] = river.QueueConfig{MaxWorkers: n}
	}
	return &river.Config{
		ID:                          id,
		Logger:                      slog.New(warnings{c.log.Handler()}),
		Queues:                      queues,
		Workers:                     workers,
		FetchCooldown:               cooldown,
		FetchPollInterval:           pollInterval,
		RescueStuckJobsAfter:        never,
		CompletedJobRetentionPeriod: keepDone,
		CancelledJobRetentionPeriod: keepDead,
		DiscardedJobRetentionPeriod: keepDead,
	}
}

// workerID names this run, readable first, unique after.
func workerID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return fmt.Sprintf("%.40s-%d-%.12s", host, os.Getpid(), rand.Text())
}

func (c *Client) drain(ctx context.Context, inner *river.Client[*sql.Tx]) error {
	patient, cancel := context.WithTimeout(ctx, c.options.Drain)
	defer cancel()
	if inner.Stop(patient) == nil {
		return nil
	}
	c.endAll(errStopping)
	last, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	if err := inner.StopAndCancel(last); err != nil {
		return fault.Wrap(err, "stop jobs: some ignore that they were cancelled")
	}
	return nil
}

// watchCancels ends jobs that run here and that somebody asked to cancel.
func (c *Client) watchCancels(ctx context.Context) {
	woken, stop := c.db.Wait(cancelTopic)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-woken:
		}
		if err := c.endCancelled(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "cancelled jobs not looked up", "error", err)
		}
	}
}

const cancelTopic = "job:cancel"

func (c *Client) endCancelled(ctx context.Context) error {
	c.mu.Lock()
	ids := make([]int64, 0, len(c.running))
	for id := range c.running {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	rows, err := newReader(c.db).JobGetByIDMany(ctx, &riverdriver.JobGetByIDManyParams{ID: ids})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, row := range rows {
		if end := c.running[row.ID]; end != nil && doomed(row.Metadata) == errCancelled {
			end(errCancelled)
		}
	}
	return nil
}

// warnings passes on what River logs at or above warning.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}

func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }
