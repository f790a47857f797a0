package retrieval

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
)

// miss is why an attempt did not do; the next one may.
type miss struct {
	code string
	err  error
}

func (m *miss) Error() string { return m.err.Error() }
func (m *miss) Unwrap() error { return m.err }

// codeElsewhere ends an attempt that gave all it had.
const codeElsewhere = "elsewhere"

func missed(code, format string, args ...any) error {
	return &miss{code, fmt.Errorf(format, args...)}
}

// attempt is one try at one source, and its row. The counters are read by the
// heartbeat while the attempt runs.
type attempt struct {
	*fetching
	source *source
	method Method
	row    Retrieval
	bytes  atomic.Int64
	blocks atomic.Int64
	ttfb   atomic.Int64 // nanoseconds, 0 before the first byte

	beats sync.WaitGroup
	stop  context.CancelFunc
	found struct { // the piece the last block was in
		piece int
	}
}

// begin writes the row and keeps its lease alive until end.
func (a *attempt) begin(ctx context.Context) error {
	now := db.Now(a.clock())
	a.row = Retrieval{
		Project: a.req.Project, Root: a.req.Root.String(), Provider: a.source.actor, Method: a.method, State: Running, At: now,
	}
	if len(a.source.pieces) > 0 {
		a.row.PieceCID = a.source.pieces[a.found.piece].CID
	}
	err := a.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		a.row.ID, err = insertAttempt(ctx, tx, a.row, now.Add(a.settings.Lease))
		return err
	})
	if err != nil {
		return err
	}
	beating, stop := context.WithCancel(ctx)
	a.stop = stop
	a.beats.Go(func() { a.beat(beating) })
	return nil
}

// beat writes how far the attempt is, which renews its lease.
func (a *attempt) beat(ctx context.Context) {
	tick := time.NewTicker(a.settings.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := a.measured()
		lease := now.At.Add(now.Took).Add(a.settings.Lease)
		err := a.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return saveAttempt(ctx, tx, now, &lease) })
		if err != nil && ctx.Err() == nil {
			a.log.Warn("progress of a retrieval not written", "retrieval", a.row.ID, "err", err)
		}
	}
}

// measured is the row as things stand.
func (a *attempt) measured() Retrieval {
	r := a.row
	r.Bytes, r.Blocks, r.TTFB = a.bytes.Load(), a.blocks.Load(), time.Duration(a.ttfb.Load())
	r.Took = db.Now(a.clock()).Sub(r.At)
	return r
}

// end writes how it ended, what that says of the provider (code "" says
// nothing), and the event, also for a caller who has gone.
func (a *attempt) end(ctx context.Context, state State, code, reason string) error {
	a.stop()
	a.beats.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	a.row = a.measured()
	a.row.State, a.row.Reason = state, reason
	a.last = a.row
	return a.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := saveAttempt(ctx, tx, a.row, nil); err != nil {
			return err
		}
		now := a.row.At.Add(a.row.Took)
		if code != "" {
			err := a.providers.Observe(ctx, tx, a.row.Provider, Outcome{
				OK: state == OK, Code: code, Reason: reason, Bytes: a.row.Bytes, TTFB: a.row.TTFB, Took: a.row.Took, At: now,
			})
			if err != nil {
				return err
			}
		}
		return event.Append(ctx, tx, event.Event{
			At: now, Kind: "retrieval." + string(state), Project: a.row.Project, Subject: fmt.Sprintf("retrieval/%d", a.row.ID),
			Data: event.JSON(attemptFact{a.row.ID, a.row.Root, a.row.Provider, a.row.Method, a.row.Bytes, reason}),
		})
	})
}

// attemptFact is the data of an attempt's events.
type attemptFact struct {
	ID       int64  `json:"id"`
	Root     string `json:"root"`
	Provider string `json:"provider"`
	Method   Method `json:"method"`
	Bytes    int64  `json:"bytes"`
	Reason   string `json:"reason,omitempty"`
}
