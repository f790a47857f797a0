package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// Why a job's ctx may end before its time.
var (
	errCancelled = fault.New(fault.Conflict, "cancelled by request")
	errStopping  = fault.New(fault.Unavailable, "this process is stopping")
	errLost      = fault.New(fault.Unavailable, "this process lost its lease; others have taken its jobs")
	errOrphaned  = fault.New(fault.Internal, "every attempt ended with the process that ran it")
)

const (
	panicPrefix = "panic: "
	stackLimit  = 8 << 10 // bytes of a stack kept in a job's error
	deadTimeout = time.Minute
)

// args is what River takes for the arguments of every kind: the row has them.
type args struct{ kind string }

func (a args) Kind() string                { return a.kind }
func (*args) UnmarshalJSON(_ []byte) error { return nil }

// worker is the one River worker, once per kind.
type worker struct {
	river.WorkerDefaults[args]
	client  *Client
	handler Handler
	wake    func(q Queue, after time.Duration) // of a job that is to run again
}

// Timeout leaves time for onDead after the attempt's own limit.
func (w *worker) Timeout(*river.Job[args]) time.Duration { return w.handler.timeout + 2*deadTimeout }

func (w *worker) NextRetry(job *river.Job[args]) time.Time {
	d := backoff(job.Attempt)
	w.wake(w.handler.queue, d)
	return time.Now().Add(d)
}

// later has the job run again after d without counting the attempt.
func (w *worker) later(d time.Duration) error {
	w.wake(w.handler.queue, d)
	return river.JobSnooze(d)
}

// backoff is the delay after the n-th attempt: 0.5 s doubling to 15 minutes, a
// quarter more or less so that what failed together does not return together.
func backoff(n int) time.Duration {
	const first, most = 500 * time.Millisecond, 15 * time.Minute
	d := most
	if n < 12 {
		d = min(most, first<<max(0, n-1))
	}
	return d*3/4 + rand.N(d/2)
}

// Work makes one attempt and translates its end into what River is to do.
func (w *worker) Work(ctx context.Context, job *river.Job[args]) error {
	reason := doomed(job.Metadata)
	if reason == nil && job.Attempt > job.MaxAttempts {
		reason = errOrphaned
	}
	if reason == nil {
		if err := w.acknowledge(ctx, job); err != nil {
			return err
		}
		err := w.attempt(ctx, job)
		if reason = w.verdict(job, err); reason == nil {
			return w.outcome(ctx, job, err)
		}
	}
	if err := w.bury(ctx, job, reason); err != nil {
		return err
	}
	return river.JobCancel(reason)
}

// attempt runs the handler with a ctx that ends with the time limit, with
// Cancel, and with a shutdown that has no more patience.
func (w *worker) attempt(ctx context.Context, job *river.Job[args]) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	limit := fault.New(fault.Unavailable, "the attempt took longer than its limit of %v", w.handler.timeout)
	ctx, stop := context.WithTimeoutCause(ctx, w.handler.timeout, limit)
	defer stop()

	w.client.began(job.ID, end)
	defer w.client.ended(job.ID)
	err := w.client.guard(func() error { return w.handler.work(ctx, job.EncodedArgs) })
	// The reason of an end from outside says more than "context canceled".
	if cause := context.Cause(ctx); err != nil && errors.Is(err, ctx.Err()) && cause != nil {
		return cause
	}
	return err
}

// verdict returns why the job must not be tried again, nil if it may be or is done.
func (w *worker) verdict(job *river.Job[args], err error) error {
	_, later := asLater(err)
	switch {
	case err == nil, later, errors.Is(err, errStopping), errors.Is(err, errLost):
		return nil
	case errors.Is(err, errCancelled), !fault.KindOf(err).Retry(), job.Attempt >= job.MaxAttempts:
		return err
	}
	return nil
}

func (w *worker) outcome(ctx context.Context, job *river.Job[args], err error) error {
	d, later := asLater(err)
	switch {
	case errors.Is(err, errStopping), errors.Is(err, errLost):
		return w.later(0) // not the job's fault
	case w.handler.unique && (err == nil || later):
		again, end := w.finish(context.WithoutCancel(ctx), job, err == nil)
		if end != nil || again {
			return w.later(0)
		}
	}
	if later {
		return w.later(d)
	}
	return err
}

// acknowledge takes note, before the work that will satisfy it, of a request
// that came while the job ran the last time.
func (w *worker) acknowledge(ctx context.Context, job *river.Job[args]) error {
	if job.Priority == asked {
		return nil
	}
	return w.client.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.NewRaw("UPDATE river_job SET priority = ? WHERE id = ?", asked, job.ID).Exec(ctx)
		return err
	})
}

// finish tells whether a unique job was asked for again while it ran. If it was
// not, and is done, that is written at once: River takes a quarter of a second,
// in which a request for an equal job would be lost.
func (w *worker) finish(ctx context.Context, job *river.Job[args], done bool) (again bool, err error) {
	err = w.client.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		var priority []int
		err := tx.NewRaw("UPDATE river_job SET priority = priority WHERE id = ? AND state = 'running' RETURNING priority", job.ID).Scan(ctx, &priority)
		again = err == nil && len(priority) > 0 && priority[0] == askedAgain
		if err != nil || again || !done {
			return err
		}
		_, err = tx.NewRaw("UPDATE river_job SET state = 'completed', finalized_at = ? WHERE id = ? AND state = 'running'",
			riverTime(time.Now()), job.ID).Exec(ctx)
		return err
	})
	return again, err
}

// riverTime is a time as River writes it on SQLite, and a time to PostgreSQL too.
func riverTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// bury tells the noun. If that fails the job keeps the verdict and comes back
// for this alone.
func (w *worker) bury(ctx context.Context, job *river.Job[args], reason error) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), deadTimeout)
	defer stop()
	err := w.client.guard(func() error { return w.handler.dead(ctx, job.EncodedArgs, plain(job.ID, reason)) })
	if err == nil {
		return nil
	}
	w.client.log.WarnContext(ctx, "job could not report its end, will retry",
		"job", job.ID, "kind", job.Kind, "reason", reason, "error", err)
	if err := river.RecordOutput(ctx, doom(reason)); err != nil {
		return err
	}
	return w.later(backoff(job.Attempt))
}

// plain is a reason for people: a panic without its stack, which the job keeps.
func plain(job int64, reason error) error {
	text, stack, _ := strings.Cut(reason.Error(), "\n")
	if stack == "" || !strings.HasPrefix(text, panicPrefix) {
		return reason
	}
	return fault.New(fault.KindOf(reason), "%s (job %d has the stack)", text, job)
}

// guard turns a panic into an error that holds the stack.
func (c *Client) guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.panics.Add(1)
			stack := debug.Stack()
			err = fault.New(fault.Internal, panicPrefix+"%v\n%s", p, stack[:min(len(stack), stackLimit)])
		}
	}()
	return fn()
}

// verdict is why a job is to be buried, as its metadata holds it.
type verdict struct {
	Dead string     `json:"dead"`
	Kind fault.Kind `json:"fault"`
}

// doom is the metadata of a job that is to be buried without another attempt.
func doom(reason error) json.RawMessage {
	text, err := json.Marshal(verdict{reason.Error(), fault.KindOf(reason)})
	if err != nil {
		panic(fmt.Sprintf("job: a string and a number do not marshal: %v", err)) // cannot happen: both marshal as they are
	}
	return text
}

// doomed returns the reason in a job's metadata, nil if it has none. Cancel
// writes it at the top, an attempt in River's field for output.
func doomed(metadata []byte) error {
	var row struct {
		verdict
		Output verdict `json:"output"`
	}
	if json.Unmarshal(metadata, &row) != nil {
		return nil
	}
	switch {
	case row.Dead == errCancelled.Error():
		return errCancelled
	case row.Output.Dead != "":
		return fault.New(row.Output.Kind, "%s", row.Output.Dead)
	}
	return nil
}

func (c *Client) began(id int64, end context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[id] = end
}

func (c *Client) ended(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, id)
}

// endAll ends the ctx of every job that runs here.
func (c *Client) endAll(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range c.running {
		end(reason)
	}
}
