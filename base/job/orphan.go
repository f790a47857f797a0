package job

import (
	"context"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

const (
	tick      = time.Second     // of tend
	heartbeat = 2 * time.Second // between two signs of life
	lease     = 8 * time.Second // after the last one a process counts as dead
	generous  = 50              // attempts; those cut short after it are not given back
)

// enlist makes this process known before it takes its first job. On SQLite it is
// alone, so whatever still counts as running is left from a process that died.
func (c *Client) enlist(ctx context.Context, id string) error {
	if c.db.Engine() == db.SQLite {
		n, err := c.rescue(ctx, "state = 'running'")
		if n > 0 {
			c.log.InfoContext(ctx, "jobs taken over from a process that ended", "jobs", n)
		}
		return fault.Wrap(err, "take over jobs")
	}
	_, err := c.beat(ctx, id)
	return fault.Wrap(err, "enlist job worker")
}

// discharge says that no job runs here any more.
func (c *Client) discharge(ctx context.Context, id string) error {
	if c.db.Engine() == db.SQLite {
		return nil
	}
	err := c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.NewRaw("DELETE FROM job_worker WHERE id = ?", id).Exec(ctx)
		return err
	})
	return fault.Wrap(err, "discharge job worker")
}

// rescue makes jobs available again whose process is gone. An attempt that was
// cut short is given back, as most often the process had another reason to die;
// but not for ever, as the job may be the reason.
func (c *Client) rescue(ctx context.Context, which string) (jobs int, err error) {
	err = c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		var queues []Queue
		err := tx.NewRaw(`UPDATE river_job SET state = 'available', scheduled_at = created_at,
			max_attempts = max_attempts + CASE WHEN attempt < ? THEN 1 ELSE 0 END
			WHERE `+which+` RETURNING queue`, generous).Scan(ctx, &queues)
		for _, q := range queues {
			tx.Wake(queueTopic(q))
		}
		jobs = len(queues)
		return err
	})
	return jobs, err
}

// beat renews the lease and tells whether it had been lost. The clock is the
// server's: machines need not agree on the time.
func (c *Client) beat(ctx context.Context, id string) (lost bool, err error) {
	err = c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		var known []string
		err := tx.NewRaw("UPDATE job_worker SET seen_at = CURRENT_TIMESTAMP WHERE id = ? RETURNING id", id).Scan(ctx, &known)
		if err != nil || len(known) > 0 {
			return err
		}
		lost = true
		_, err = tx.NewRaw("INSERT INTO job_worker (id, seen_at) VALUES (?, CURRENT_TIMESTAMP)", id).Exec(ctx)
		return err
	})
	return lost, err
}

// bringOut dismisses processes whose lease has run out and rescues their jobs.
func (c *Client) bringOut(ctx context.Context) error {
	var due bool
	err := c.db.Read().NewRaw(`SELECT EXISTS (SELECT 1 FROM job_worker WHERE seen_at < CURRENT_TIMESTAMP - ? * INTERVAL '1 second')
		OR EXISTS (SELECT 1 FROM river_job WHERE `+orphaned+`)`, lease.Seconds()).Scan(ctx, &due)
	if err != nil || !due {
		return err
	}
	err = c.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.NewRaw("DELETE FROM job_worker WHERE seen_at < CURRENT_TIMESTAMP - ? * INTERVAL '1 second'", lease.Seconds()).Exec(ctx)
		return err
	})
	if err != nil {
		return err
	}
	n, err := c.rescue(ctx, orphaned)
	if n > 0 {
		c.log.WarnContext(ctx, "jobs taken over from a process that ended", "jobs", n)
	}
	return err
}

// orphaned is the jobs that run in no living process (PostgreSQL).
const orphaned = `state = 'running' AND NOT EXISTS (
	SELECT 1 FROM job_worker WHERE id = attempted_by[array_upper(attempted_by, 1)])`

// tend does what must be done regularly: signs of life, the rescue of others'
// jobs, jobs whose time has come, schedules.
func (c *Client) tend(ctx context.Context, id string) {
	woken, stop := c.db.Wait(scheduleTopic)
	defer stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for beats := 0; ; beats++ {
		if c.db.Engine() == db.PostgreSQL && beats%int(heartbeat/tick) == 0 {
			c.warn(ctx, "sign of life not given", c.live(ctx, id))
		}
		c.warn(ctx, "jobs whose time has come not released", c.release(ctx))
		c.warn(ctx, "schedules not served", c.dispatch(ctx))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-woken:
			beats-- // this one does not count
		}
	}
}

func (c *Client) live(ctx context.Context, id string) error {
	lost, err := c.beat(ctx, id)
	if lost {
		c.endAll(errLost)
	}
	if err != nil {
		return err
	}
	return c.bringOut(ctx)
}

func (c *Client) warn(ctx context.Context, message string, err error) {
	if err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, message, "error", err)
	}
}
