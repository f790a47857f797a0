package job

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// Schedule is a job that recurs. Its row is the truth: it outlives the process
// and is served once in each period however many processes run.
type Schedule struct {
	Name  string        // what it is known by; one row a name
	Kind  string        // the name of a Kind; a process that has its handler serves it
	Args  any           // the kind's arguments
	Every time.Duration // at least 100 ms; served to within about a second
}

type scheduleRow struct {
	bun.BaseModel `bun:"table:job_schedule"`

	Name    string `bun:",pk"`
	Kind    string
	Args    string
	EveryUs int64
	NextAt  time.Time
}

const scheduleTopic = "job:schedule"

// Schedule creates or changes the recurring job of that name. It is due at once
// when it is new; saying the same again, as at every start, changes nothing.
// A job that is still waiting or running when its schedule is due is not added a
// second time.
func (c *Client) Schedule(ctx context.Context, tx *db.Tx, s Schedule) error {
	if s.Name == "" || !validName.MatchString(s.Kind) || s.Every < 100*time.Millisecond {
		return fault.New(fault.Invalid, "schedule %q of %q every %v: needs a name, a kind and at least 100ms", s.Name, s.Kind, s.Every)
	}
	args, err := json.Marshal(s.Args)
	if err != nil {
		return fault.New(fault.Invalid, "schedule %s: arguments: %w", s.Name, err)
	}
	row := &scheduleRow{Name: s.Name, Kind: s.Kind, Args: string(args), EveryUs: s.Every.Microseconds(), NextAt: c.now()}
	// A shorter period must not wait for the end of a longer one.
	latest := db.Now(row.NextAt.Add(s.Every))
	_, err = tx.NewInsert().Model(row).
		On("CONFLICT (name) DO UPDATE").
		Set("kind = EXCLUDED.kind").Set("args = EXCLUDED.args").Set("every_us = EXCLUDED.every_us").
		Set("next_at = CASE WHEN schedule_row.next_at > ? THEN ? ELSE schedule_row.next_at END", latest, latest).
		Exec(ctx)
	tx.Wake(scheduleTopic)
	return fault.Wrap(err, "schedule %s", s.Name)
}

// Unschedule removes a recurring job; that it does not exist is fine.
func (c *Client) Unschedule(ctx context.Context, tx *db.Tx, name string) error {
	_, err := tx.NewDelete().Model((*scheduleRow)(nil)).Where("name = ?", name).Exec(ctx)
	return fault.Wrap(err, "unschedule %s", name)
}

func (c *Client) now() time.Time { return db.Now(c.options.Clock()) }

// dispatch enqueues what is due. Whoever moves next_at first has done it.
func (c *Client) dispatch(ctx context.Context) error {
	var due []scheduleRow
	err := c.db.Read().NewSelect().Model(&due).
		Where("next_at <= ?", c.now()).
		Where("kind IN (?)", bun.List(slices.Sorted(maps.Keys(c.handlers)))).
		Limit(1000).Scan(ctx)
	if err != nil {
		return err
	}
	for _, row := range due {
		if err := c.serve(ctx, row); err != nil && !fault.Is(err, fault.Conflict) {
			return fault.Wrap(err, "schedule %s", row.Name)
		}
	}
	return nil
}

func (c *Client) serve(ctx context.Context, row scheduleRow) error {
	now, every := c.now(), time.Duration(row.EveryUs)*time.Microsecond
	next := row.NextAt.Add(every)
	if !next.After(now) {
		next = now.Add(every) // what was missed is not made up for
	}
	return c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		res, err := tx.NewUpdate().Model((*scheduleRow)(nil)).
			Set("next_at = ?", db.Now(next)).
			Where("name = ? AND next_at = ?", row.Name, db.Now(row.NextAt)).
			Exec(ctx)
		if err := db.One(res, err, "serve schedule %s", row.Name); err != nil {
			return err
		}
		h := c.handlers[row.Kind]
		key := uniqueKey("schedule", row.Name)
		if h.unique {
			key = uniqueKey(h.name, row.Args)
		}
		return c.insert(ctx, tx, h.spec, []byte(row.Args), key)
	})
}

// release makes jobs available whose time has come. River does so too, every
// five seconds in one process.
func (c *Client) release(ctx context.Context) error {
	if err := c.recall(ctx); err != nil {
		return err
	}
	var due bool
	err := c.db.Read().NewRaw(`SELECT EXISTS (SELECT 1 FROM river_job
		WHERE state IN ('scheduled', 'retryable') AND scheduled_at <= ?)`, riverTime(time.Now())).Scan(ctx, &due)
	if err != nil || !due {
		return err
	}
	return c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		released, err := c.driver.UnwrapExecutor(tx.Tx.Tx).JobSchedule(ctx, &riverdriver.JobScheduleParams{Max: 1000})
		for _, r := range released {
			tx.Wake(queueTopic(Queue(r.Job.Queue)))
		}
		return err
	})
}

// recall brings jobs forward that were asked for while their wish to be put off
// was on its way to their rows: River takes a quarter of a second for that.
func (c *Client) recall(ctx context.Context) error {
	const which = "state = 'scheduled' AND priority = ?"
	var any bool
	err := c.db.Read().NewRaw("SELECT EXISTS (SELECT 1 FROM river_job WHERE "+which+")", askedAgain).Scan(ctx, &any)
	if err != nil || !any {
		return err
	}
	return c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		var queues []Queue
		err := tx.NewRaw("UPDATE river_job SET state = 'available', scheduled_at = created_at WHERE "+which+" RETURNING queue", askedAgain).Scan(ctx, &queues)
		for _, q := range queues {
			tx.Wake(queueTopic(q))
		}
		return err
	})
}
