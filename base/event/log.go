package event

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

const (
	// pollInterval is how soon an event is seen when its wake-up was lost.
	pollInterval = 250 * time.Millisecond
	// batch is how many events one statement orders, reads or deletes.
	batch = 500
)

// Log reads the events of a database and, through Run, puts them in order.
type Log struct {
	db  *db.DB
	log *slog.Logger

	mu    sync.Mutex
	head  int64         // the last position known here
	grown chan struct{} // closed when head grows
}

// New returns the log of a migrated database.
func New(d *db.DB, log *slog.Logger) *Log {
	return &Log{db: d, log: log, grown: make(chan struct{})}
}

// Run gives positions to new events and wakes the followers in this process,
// until ctx ends. Every process with followers runs it; several on one database
// take turns. While the database is away it keeps trying.
func (l *Log) Run(ctx context.Context) error {
	woken, stop := l.db.Wait(topic)
	defer stop()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	broken := false
	for ctx.Err() == nil {
		err := l.step(ctx)
		if err != nil && ctx.Err() == nil && !broken {
			l.log.WarnContext(ctx, "events not put in order, will retry", "error", err)
		}
		broken = err != nil
		select {
		case <-ctx.Done():
		case <-woken:
		case <-ticker.C:
		}
	}
	return nil
}

// step orders what is new, and lets followers know how far they may read.
func (l *Log) step(ctx context.Context) error {
	for {
		var now struct {
			Pos   int64
			Fresh bool
		}
		err := l.db.Read().NewRaw(`SELECT pos,
			EXISTS (SELECT 1 FROM event_log WHERE pos IS NULL) AS fresh FROM event_head`).Scan(ctx, &now)
		if err != nil {
			return fault.Wrap(err, "read event head")
		}
		l.grow(now.Pos)
		if !now.Fresh {
			return nil
		}
		if err := l.sequence(ctx); err != nil {
			return fault.Wrap(err, "order events")
		}
	}
}

// sequence gives positions to one batch of committed events. The update of
// event_head makes it the only one at work until it commits; what it then sees
// is committed, and what is not committed yet will come after.
func (l *Log) sequence(ctx context.Context) error {
	return l.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		var head int64
		if err := tx.NewRaw("UPDATE event_head SET pos = pos WHERE id = 1 RETURNING pos").Scan(ctx, &head); err != nil {
			return err
		}
		res, err := tx.NewRaw(`UPDATE event_log SET pos = ? + fresh.n
			FROM (SELECT id AS fresh_id, row_number() OVER (ORDER BY id) AS n
				FROM event_log WHERE pos IS NULL ORDER BY id LIMIT ?) AS fresh
			WHERE id = fresh.fresh_id`, head, batch).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil || n == 0 {
			return err
		}
		tx.Wake(topic) // followers in other processes
		_, err = tx.NewRaw("UPDATE event_head SET pos = ? WHERE id = 1", head+n).Exec(ctx)
		return err
	})
}

func (l *Log) grow(head int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if head > l.head {
		l.head = head
		close(l.grown)
		l.grown = make(chan struct{})
	}
}

// Head returns the position of the newest ordered event, 0 if there is none.
func (l *Log) Head(ctx context.Context) (pos int64, err error) {
	err = l.db.Read().NewRaw("SELECT pos FROM event_head").Scan(ctx, &pos)
	return pos, fault.Wrap(err, "read event head")
}

// Read returns up to limit events after a position, in order. After 0 it starts
// with the oldest that is kept; after a position whose successor has been
// trimmed it is fault.NotFound, since something would be missed unnoticed.
func (l *Log) Read(ctx context.Context, after int64, limit int) ([]Event, error) {
	events, err := l.read(ctx, after, limit)
	if err != nil || after <= 0 || limit <= 0 {
		return events, err
	}
	if len(events) == 0 {
		// Nothing more, or nothing left? What the head counts was there before
		// it was read, so it is found by reading again unless it was trimmed.
		head, err := l.Head(ctx)
		if err != nil || head <= after {
			return nil, err
		}
		if events, err = l.read(ctx, after, limit); err != nil {
			return nil, err
		}
	}
	if len(events) == 0 || events[0].Pos != after+1 {
		return nil, fault.New(fault.NotFound,
			"events after %d: no longer kept; start again from the head and look at the things themselves", after)
	}
	return events, nil
}

func (l *Log) read(ctx context.Context, after int64, limit int) ([]Event, error) {
	var rows []row
	err := l.db.Read().NewSelect().Model(&rows).Where("pos > ?", after).Order("pos").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fault.Wrap(err, "read events after %d", after)
	}
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[i] = r.event()
	}
	return events, nil
}

// Subscribe yields the events after a position, first those there are, then new
// ones as they come, until ctx ends. It ends after an error, which is the last
// thing it yields; the position of the last event is where to go on. This
// process must Run the log.
func (l *Log) Subscribe(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			l.mu.Lock()
			head, grown := l.head, l.grown
			l.mu.Unlock()
			if head <= after {
				select {
				case <-ctx.Done():
					return
				case <-grown:
					continue
				}
			}
			events, err := l.Read(ctx, after, batch)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
				after = e.Pos
			}
		}
	}
}

// Trim deletes the events from before a time, in order: it stops at the first
// one that is younger. It returns how many it deleted.
func (l *Log) Trim(ctx context.Context, before time.Time) (deleted int64, err error) {
	for {
		n := int64(0)
		err := l.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
			res, err := tx.NewRaw(`WITH oldest AS (
					SELECT pos, at FROM event_log WHERE pos IS NOT NULL ORDER BY pos LIMIT ?)
				DELETE FROM event_log WHERE pos IN (SELECT pos FROM oldest)
				AND pos < COALESCE((SELECT min(pos) FROM oldest WHERE at >= ?), (SELECT max(pos) + 1 FROM oldest))`,
				batch, db.Now(before)).Exec(ctx)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		deleted += n
		if err != nil || n < batch {
			return deleted, fault.Wrap(err, "trim events")
		}
	}
}
