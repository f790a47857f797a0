package job

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// Option changes one job as it is enqueued.
type Option func(*riverdriver.JobInsertFastParams)

// At holds the job back until t (to within about a second).
func At(t time.Time) Option {
	return func(p *riverdriver.JobInsertFastParams) {
		t := db.Now(t)
		p.ScheduledAt, p.State = &t, rivertype.JobStateScheduled
	}
}

// Enqueue adds a job within the transaction: it exists exactly if tx commits,
// and starts within 250 ms after that where a worker is free.
//
// If the kind is unique and an equal job is there already, nothing is added, and
// nothing is lost either: one that runs will run once more when it succeeds, and
// one put off by Later or At is brought forward, unless this call says At too.
func Enqueue[A any](ctx context.Context, c *Client, tx *db.Tx, k Kind[A], a A, opts ...Option) error {
	if !validName.MatchString(k.Name) {
		return fault.New(fault.Internal, "job kind %q: the name must match %s", k.Name, validName)
	}
	args, err := json.Marshal(a)
	if err != nil {
		return fault.New(fault.Invalid, "job %s: arguments: %w", k.Name, err)
	}
	spec := k.spec()
	var key []byte
	if spec.unique {
		key = uniqueKey(spec.name, string(args))
	}
	return fault.Wrap(c.insert(ctx, tx, spec, args, key, opts...), "enqueue %s", k.Name)
}

// uniqueStates are the states in which a job with a unique key keeps others
// away: bit i is the i-th state in alphabetical order, as River numbers them.
const uniqueStates = 1<<0 | 1<<4 | 1<<5 | 1<<6 | 1<<7 // available, pending, retryable, running, scheduled

// uniqueKey is the same for equal parts. Arguments are equal when their JSON is;
// encoding/json writes maps in key order.
func uniqueKey(parts ...string) []byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return h.Sum(nil)
}

func (c *Client) insert(ctx context.Context, tx *db.Tx, s spec, args, key []byte, opts ...Option) error {
	p := &riverdriver.JobInsertFastParams{
		EncodedArgs: args,
		Kind:        s.name,
		MaxAttempts: s.attempts,
		Metadata:    []byte("{}"),
		Priority:    asked,
		Queue:       string(s.queue),
		State:       rivertype.JobStateAvailable,
		Tags:        []string{},
	}
	if key != nil {
		p.UniqueKey, p.UniqueStates = key, uniqueStates
	}
	for _, opt := range opts {
		opt(p)
	}
	exec := c.driver.UnwrapExecutor(tx.Tx.Tx)
	res, err := exec.JobInsertFastMany(ctx, &riverdriver.JobInsertFastManyParams{Jobs: []*riverdriver.JobInsertFastParams{p}})
	if err != nil {
		return err
	}
	if p.State == rivertype.JobStateAvailable {
		tx.Wake(queueTopic(s.queue))
		if res[0].UniqueSkippedAsDuplicate {
			return runOnceMore(ctx, tx, res[0].Job.ID)
		}
	}
	return nil
}

// A unique job's priority is otherwise unused and says whether somebody asked
// for it while it ran.
const (
	asked      = 1
	askedAgain = 2
)

// runOnceMore serves an Enqueue that found an equal job. The insert has locked
// its row, so that it cannot end meanwhile. River keeps a job that is put off
// for a few seconds as available with a later time.
func runOnceMore(ctx context.Context, tx *db.Tx, id int64) error {
	_, err := tx.NewRaw(`UPDATE river_job SET
			priority = CASE WHEN state = 'running' THEN ? ELSE priority END,
			scheduled_at = CASE WHEN state = 'running' THEN scheduled_at ELSE created_at END,
			state = CASE WHEN state = 'running' THEN state ELSE 'available' END
		WHERE id = ? AND state IN ('running', 'scheduled', 'available')`, askedAgain, id).Exec(ctx)
	return err
}

func queueTopic(q Queue) string { return "job." + string(q) }
