package job_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

func TestCancelAndRetry(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB) {
		k := job.Kind[note]{Name: "test.cancel"}
		began, buried := make(chan int, 10), make(chan error, 10)
		var obedient atomic.Bool
		c := newClient(t, d, job.Options{Handlers: []job.Handler{k.Handle(func(ctx context.Context, n note) error {
			began <- n.N
			if obedient.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, func(_ context.Context, _ note, reason error) error {
			buried <- reason
			return nil
		})}})
		enqueue(t, d, c, k, 1, job.At(time.Now().Add(time.Hour)))
		waiting := settle(t, c, k.Name, job.Waiting)

		// Waiting: a worker buries it without an attempt.
		if err := c.Cancel(t.Context(), waiting.ID); err != nil {
			t.Fatal(err)
		}
		run(t, c)
		if reason := receive(t, buried); !fault.Is(reason, fault.Conflict) {
			t.Errorf("reason = %v", reason)
		}
		settle(t, c, k.Name, job.Dead)
		if err := c.Cancel(t.Context(), waiting.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("cancel of a dead job: %v", err)
		}

		// Dead: it starts over. Running: its ctx ends.
		if err := c.Retry(t.Context(), waiting.ID); err != nil {
			t.Fatal(err)
		}
		receive(t, began)
		if err := c.Retry(t.Context(), waiting.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("retry of a running job: %v", err)
		}
		if err := c.Cancel(t.Context(), waiting.ID); err != nil {
			t.Fatal(err)
		}
		receive(t, buried)
		if j := settle(t, c, k.Name, job.Dead); j.Attempt != 1 || j.Error == "" {
			t.Errorf("cancelled: %+v", j)
		}
		obedient.Store(true)
		if err := c.Retry(t.Context(), waiting.ID); err != nil {
			t.Fatal(err)
		}
		settle(t, c, k.Name, job.Done)
		if len(buried) != 0 {
			t.Error("buried twice")
		}
	})
}

func TestListAndGet(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB) {
		c := newClient(t, d, job.Options{})
		a, b := job.Kind[note]{Name: "test.a", Queue: job.Hash, Attempts: 4}, job.Kind[note]{Name: "test.b"}
		for n := range 3 {
			enqueue(t, d, c, a, n)
			enqueue(t, d, c, b, n)
		}
		all, err := c.List(t.Context(), job.Filter{})
		if err != nil || len(all) != 6 || all[0].ID <= all[5].ID {
			t.Fatalf("all: %+v, %v", all, err)
		}
		page, err := c.List(t.Context(), job.Filter{Kind: "test.a", State: job.Waiting, Limit: 1, Before: all[2].ID})
		if err != nil || len(page) != 1 || page[0].ID != all[3].ID {
			t.Errorf("page: %+v, %v", page, err)
		}
		j, err := c.Get(t.Context(), all[5].ID)
		if err != nil || j.Kind != "test.a" || j.Queue != job.Hash || j.MaxAttempts != 4 || string(j.Args) == "" ||
			time.Since(j.CreatedAt) > time.Minute || j.CreatedAt.Location() != time.UTC {
			t.Errorf("Get: %+v, %v", j, err)
		}
		if _, err := c.Get(t.Context(), 1<<40); !fault.Is(err, fault.NotFound) {
			t.Errorf("Get of nothing: %v", err)
		}
		if _, err := c.List(t.Context(), job.Filter{State: "odd"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("List of an odd state: %v", err)
		}
	})
}

func TestShutdownDrains(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB) {
		k := job.Kind[note]{Name: "test.drain"}
		began, proceed := make(chan struct{}, 1), make(chan struct{})
		c := newClient(t, d, job.Options{Handlers: []job.Handler{k.Handle(func(ctx context.Context, _ note) error {
			began <- struct{}{}
			<-proceed
			return ctx.Err()
		}, nil)}})
		enqueue(t, d, c, k, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		receive(t, began)
		cancel()
		select {
		case err := <-ended:
			t.Fatalf("Run ended before its job: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		close(proceed)
		if err := receive(t, ended); err != nil {
			t.Error(err)
		}
		settle(t, c, k.Name, job.Done)
	})
}

// What is cut short by a shutdown runs again at once elsewhere, and the attempt
// is not held against it.
func TestShutdownCutsShort(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB) {
		k := job.Kind[note]{Name: "test.cut", Attempts: 1}
		began := make(chan struct{}, 2)
		var cut atomic.Bool
		c := newClient(t, d, job.Options{Drain: 10 * time.Millisecond, Handlers: []job.Handler{k.Handle(func(ctx context.Context, _ note) error {
			began <- struct{}{}
			if cut.Swap(true) {
				return nil
			}
			<-ctx.Done()
			return fault.Wrap(ctx.Err(), "hash")
		}, func(_ context.Context, _ note, reason error) error {
			return errors.New("buried: " + reason.Error())
		})}})
		enqueue(t, d, c, k, 1)
		stop := run(t, c)
		receive(t, began)
		stop()
		if j := settle(t, c, k.Name, job.Waiting); j.Attempt != 0 || j.Error != "" {
			t.Errorf("after the shutdown: %+v", j)
		}
		run(t, c)
		settle(t, c, k.Name, job.Done)
	})
}

// Two processes, one clock that jumps: every period is served once.
func TestScheduleIsServedOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB) {
		k := job.Kind[note]{Name: "test.schedule"}
		var now atomic.Int64
		now.Store(time.Now().UnixMicro())
		clock := func() time.Time { return time.UnixMicro(now.Load()) }
		ran := make(chan int, 100)
		handler := k.Handle(func(_ context.Context, n note) error { ran <- n.N; return nil }, nil)
		other := job.Kind[note]{Name: "test.elsewhere"}
		first := newClient(t, d, job.Options{Handlers: []job.Handler{handler}, Clock: clock})
		second := newClient(t, d, job.Options{Handlers: []job.Handler{handler}, Clock: clock})
		run(t, first)
		run(t, second)
		schedule := func(s job.Schedule) {
			t.Helper()
			if err := d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error { return first.Schedule(ctx, tx, s) }); err != nil {
				t.Fatal(err)
			}
		}
		hourly := job.Schedule{Name: "check deals", Kind: k.Name, Args: note{5}, Every: time.Hour}
		schedule(job.Schedule{Name: "nobody here", Kind: other.Name, Args: note{6}, Every: time.Hour})
		for period := range 3 {
			schedule(hourly) // as at every start
			if n := receive(t, ran); n != 5 {
				t.Errorf("ran with %d", n)
			}
			waitFor(t, func() bool {
				jobs, err := first.List(t.Context(), job.Filter{Kind: k.Name, State: job.Done})
				return err == nil && len(jobs) == period+1
			})
			schedule(hourly)
			now.Add((90 * time.Minute).Microseconds()) // half a period is missed, and not made up for
		}
		if err := d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			return first.Unschedule(ctx, tx, hourly.Name)
		}); err != nil {
			t.Fatal(err)
		}
		jobs, err := first.List(t.Context(), job.Filter{})
		if err != nil || len(jobs) > 4 || len(ran) > 1 {
			t.Errorf("%d jobs, %v", len(jobs), err)
		}
	})
}
