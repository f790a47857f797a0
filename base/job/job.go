package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// State is where a job is in its life.
type State string

// The states.
const (
	Waiting  State = "waiting"  // not tried yet, or put off by Later before it was
	Running  State = "running"  //
	Retrying State = "retrying" // tried, to be tried again
	Done     State = "done"     // succeeded; kept for a day
	Dead     State = "dead"     // will not be tried again; kept for 30 days
)

// Job is one job as an operator sees it.
type Job struct {
	ID          int64           `json:"id"`
	Kind        string          `json:"kind"`
	Queue       Queue           `json:"queue"`
	State       State           `json:"state"`
	Attempt     int             `json:"attempt"` // the number of the latest one, from 1
	MaxAttempts int             `json:"max_attempts"`
	Args        json.RawMessage `json:"args"`
	Error       string          `json:"error,omitempty"` // of the latest failed attempt; a panic with its stack
	Panicked    bool            `json:"panicked"`
	NextAttempt time.Time       `json:"next_attempt"` // not before this, while waiting or retrying
	CreatedAt   time.Time       `json:"created_at"`
	FinalizedAt time.Time       `json:"finalized_at,omitzero"` // when it was done or dead
}

// Filter selects jobs; the zero value selects all.
type Filter struct {
	State  State
	Kind   string
	Limit  int   // at most 1000; 100 if zero
	Before int64 // ids below this one; for the next page
}

// conditions translates our states into River's: it has two names for dead and
// calls a job that is about to be retried "available".
func (s State) condition() (string, error) {
	switch s {
	case "":
		return "TRUE", nil
	case Waiting:
		return "(state = 'pending' OR (state IN ('available', 'scheduled') AND attempt = 0))", nil
	case Running:
		return "state = 'running'", nil
	case Retrying:
		return "(state = 'retryable' OR (state IN ('available', 'scheduled') AND attempt > 0))", nil
	case Done:
		return "state = 'completed'", nil
	case Dead:
		return "state IN ('cancelled', 'discarded')", nil
	}
	return "", fault.New(fault.Invalid, "job state %q: use waiting, running, retrying, done or dead", string(s))
}

func stateOf(row *rivertype.JobRow) State {
	switch row.State {
	case rivertype.JobStateRunning:
		return Running
	case rivertype.JobStateCompleted:
		return Done
	case rivertype.JobStateCancelled, rivertype.JobStateDiscarded:
		return Dead
	case rivertype.JobStateRetryable:
		return Retrying
	}
	if row.Attempt > 0 {
		return Retrying
	}
	return Waiting
}

// List returns jobs, newest first.
func (c *Client) List(ctx context.Context, f Filter) ([]Job, error) {
	where, err := f.State.condition()
	if err != nil {
		return nil, err
	}
	args := map[string]any{}
	if f.Kind != "" {
		where, args["kind"] = where+" AND kind = @kind", f.Kind
	}
	if f.Before > 0 {
		where, args["before"] = where+" AND id < @before", f.Before
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := newReader(c.db).JobList(ctx, &riverdriver.JobListParams{
		Max:           int32(min(f.Limit, 1000)),
		NamedArgs:     args,
		OrderByClause: "id DESC",
		WhereClause:   where,
	})
	if err != nil {
		return nil, fault.Wrap(err, "list jobs")
	}
	jobs := make([]Job, len(rows))
	for i, row := range rows {
		jobs[i] = fromRow(row)
	}
	return jobs, nil
}

// Get returns one job, or fault.NotFound.
func (c *Client) Get(ctx context.Context, id int64) (Job, error) {
	row, err := newReader(c.db).JobGetByID(ctx, &riverdriver.JobGetByIDParams{ID: id})
	if errors.Is(err, rivertype.ErrNotFound) {
		return Job{}, fault.New(fault.NotFound, "job %d: no such job", id)
	}
	if err != nil {
		return Job{}, fault.Wrap(err, "read job %d", id)
	}
	return fromRow(row), nil
}

func fromRow(row *rivertype.JobRow) Job {
	j := Job{
		ID:          row.ID,
		Kind:        row.Kind,
		Queue:       Queue(row.Queue),
		State:       stateOf(row),
		Attempt:     row.Attempt,
		MaxAttempts: row.MaxAttempts,
		Args:        row.EncodedArgs,
		NextAttempt: db.Now(row.ScheduledAt),
		CreatedAt:   db.Now(row.CreatedAt),
	}
	if n := len(row.Errors); n > 0 {
		j.Error = strings.TrimPrefix(row.Errors[n-1].Error, "JobCancelError: ") // River's word for burying
		j.Panicked = strings.HasPrefix(j.Error, panicPrefix)
	}
	if row.FinalizedAt != nil {
		j.FinalizedAt = db.Now(*row.FinalizedAt)
	}
	return j
}

// Retry has a job run again now. A dead one starts over with all its attempts; a
// waiting or retrying one just does not wait. A running or done job is
// fault.Conflict, and so is a unique one of which an equal is under way.
func (c *Client) Retry(ctx context.Context, id int64) error {
	return c.change(ctx, id, "retry", `UPDATE river_job
		SET state = 'available', scheduled_at = created_at, finalized_at = NULL,
			attempt = CASE WHEN finalized_at IS NULL THEN attempt ELSE 0 END,
			metadata = CASE WHEN finalized_at IS NULL THEN metadata ELSE '{}' END
		WHERE id = ? AND state NOT IN ('running', 'completed')
		RETURNING queue`, id)
}

// Cancel ends a job: a running one has its ctx ended, and when it returns an
// error, or at once if it was waiting, it is dead and onDead is told so by a
// worker. A job that is done or dead is fault.Conflict.
func (c *Client) Cancel(ctx context.Context, id int64) error {
	return c.change(ctx, id, "cancel", `UPDATE river_job
		SET state = CASE WHEN state = 'running' THEN state ELSE 'available' END,
			scheduled_at = created_at, metadata = ?
		WHERE id = ? AND state NOT IN ('cancelled', 'completed', 'discarded')
		RETURNING queue`, doom(errCancelled), id)
}

func (c *Client) change(ctx context.Context, id int64, verb, query string, args ...any) error {
	job, err := c.Get(ctx, id)
	if err != nil {
		return err
	}
	err = c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		var queues []Queue
		if err := tx.NewRaw(query, args...).Scan(ctx, &queues); err != nil {
			return err
		}
		if len(queues) == 0 {
			return fault.New(fault.Conflict, "it is %s", job.State)
		}
		tx.Wake(queueTopic(queues[0]))
		tx.Wake(cancelTopic)
		return nil
	})
	return fault.Wrap(err, "%s job %s", verb, fmt.Sprint(id))
}
