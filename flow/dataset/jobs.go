package dataset

import (
	"context"
	"errors"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/source"
)

// preparationArgs name the preparation to work on.
type preparationArgs struct {
	Preparation int64 `json:"preparation"`
}

// chunkArgs name the chunk to pack.
type chunkArgs struct {
	Chunk int64 `json:"chunk"`
}

// sweepArgs say nothing.
type sweepArgs struct{}

// long is more than any scan or chunk should take; what takes longer begins
// another attempt where it was.
const long = 14 * 24 * time.Hour

// A scan waits for its source most of the time, and must not wait for the
// chunks that were found before; what finishes a preparation waits for the piece
// of its index, and must not be in its way.
var (
	scanKind   = job.Kind[preparationArgs]{Name: "dataset.scan", Queue: job.Net, Timeout: long, Unique: true}
	packKind   = job.Kind[chunkArgs]{Name: "dataset.pack", Queue: job.Hash, Timeout: long, Unique: true}
	finishKind = job.Kind[preparationArgs]{Name: "dataset.finish", Queue: job.Net, Timeout: long, Unique: true}
	removeKind = job.Kind[preparationArgs]{Name: "dataset.remove", Queue: job.Light, Unique: true}
	sweepKind  = job.Kind[sweepArgs]{Name: "dataset.sweep", Queue: job.Light, Unique: true}

	signKind    = job.Kind[nameArgs]{Name: "dataset.sign", Queue: job.Light, Unique: true}
	deliverKind = job.Kind[deliverArgs]{Name: "dataset.deliver", Queue: job.Net, Unique: true}
	renewKind   = job.Kind[sweepArgs]{Name: "dataset.renew", Queue: job.Light, Unique: true}
)

// Handlers returns the work this package does.
func (s *Service) Handlers() []job.Handler {
	stage := func(work func(context.Context, *preparationRow) error) func(context.Context, preparationArgs) error {
		return func(ctx context.Context, a preparationArgs) error { return s.runStage(ctx, a.Preparation, work) }
	}
	return []job.Handler{
		scanKind.Handle(stage(s.scan), s.deadStage),
		packKind.Handle(s.runPack, s.deadPack),
		finishKind.Handle(s.runFinish, s.deadStage),
		removeKind.Handle(s.runRemove, nil),
		sweepKind.Handle(func(ctx context.Context, _ sweepArgs) error { return s.sweep(ctx) }, nil),
		signKind.Handle(s.runSign, nil),
		deliverKind.Handle(s.runDeliver, nil),
		renewKind.Handle(func(ctx context.Context, _ sweepArgs) error { return s.runRenew(ctx) }, nil),
	}
}

// Schedules returns the work this package does regularly.
func (s *Service) Schedules() []job.Schedule {
	return []job.Schedule{
		{Name: "dataset.sweep", Kind: sweepKind.Name, Args: sweepArgs{}, Every: time.Hour},
		{Name: "dataset.renew", Kind: renewKind.Name, Args: sweepArgs{}, Every: 10 * time.Minute},
	}
}

// errRest ends work whose preparation or chunk rests, is removed, or is in
// other hands.
var errRest = fault.New(fault.Conflict, "this work is no longer wanted here")

// Attempts before a failure is for good: with the pauses between them, about
// four hours.
const attempts = 24

// pauseAfter is the pause after the n-th failure in a row.
func (s *Service) pauseAfter(n int64) time.Duration {
	const most = 15 * time.Minute
	if n > 16 {
		return most
	}
	return min(most, s.settings.Backoff<<max(0, n-1))
}

// Changes returns a channel that receives when a chunk or a preparation has
// come to another state (several changes may become one), until stop is called.
// Poll beneath it: one may be lost.
func (s *Service) Changes() (changed <-chan struct{}, stop func()) { return s.db.Wait(topic) }

// while runs work with a ctx that ends with errRest when look says that it is
// no longer wanted. look is asked after every change of the package's rows, when
// a source begins to be waited for, and at least every Interval.
func (s *Service) while(ctx context.Context, t *trouble, look func(context.Context) (bool, error), work func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	woken, stop := s.db.Wait(topic)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		tick := time.NewTicker(s.settings.Interval)
		defer tick.Stop()
		for {
			wanted, err := look(ctx)
			if err == nil && !wanted {
				end(errRest)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-woken:
			case <-t.nudge:
			case <-tick.C:
			}
		}
	}()
	err := work(source.OnWait(ctx, t.note))
	cause := context.Cause(ctx)
	end(nil)
	stop()
	<-watching
	if err != nil && errors.Is(cause, errRest) {
		return errRest
	}
	return err
}

// runStage runs a stage of a preparation while it may work, and writes down
// what keeps it from going on.
func (s *Service) runStage(ctx context.Context, id int64, work func(context.Context, *preparationRow) error) error {
	row, err := rowOfPreparation(ctx, s.db.Read(), id)
	if err != nil || !row.State.works() {
		return err
	}
	t := s.newTrouble(row.Reason != "" && row.Attempt == 0)
	look := func(ctx context.Context) (bool, error) {
		now, err := rowOfPreparation(ctx, s.db.Read(), id)
		if err != nil || !now.State.works() {
			return err != nil, err
		}
		return true, s.tellStage(ctx, now, t)
	}
	err = s.while(ctx, t, look, func(ctx context.Context) error { return work(ctx, &row) })
	switch {
	case err == nil, errors.Is(err, errRest):
		return nil
	case ctx.Err() != nil: // the process stops; the next one goes on
		return err
	case isLater(err):
		return err
	case fault.Is(err, fault.Conflict): // the rows moved on
		return s.settleConflict(ctx, id, err)
	}
	return s.stageFailed(ctx, id, err)
}

// runFinish is the last stage, and the tidying after it: apart, as the stage
// ends when its preparation is complete.
func (s *Service) runFinish(ctx context.Context, a preparationArgs) error {
	if err := s.runStage(ctx, a.Preparation, s.finish); err != nil {
		return err
	}
	return s.tidy(ctx, a.Preparation)
}

// isLater tells job.Later from an error.
func isLater(err error) bool {
	var w waiting
	return errors.As(err, &w)
}

// waiting is a stage's wish to be run again after a while.
type waiting struct{ error }

func (w waiting) Unwrap() error { return w.error }

func later(d time.Duration) error { return waiting{job.Later(d)} }

// settleConflict ends a job whose rows were changed under it, and has it run
// again where there is work left.
func (s *Service) settleConflict(ctx context.Context, id int64, err error) error {
	row, readErr := rowOfPreparation(ctx, s.db.Read(), id)
	if readErr != nil {
		return readErr
	}
	if !row.State.works() {
		return nil
	}
	return fault.Mark(fault.Unavailable, err)
}

// stageFailed writes down why a stage does not go on, and when it will.
func (s *Service) stageFailed(ctx context.Context, id int64, reason error) error {
	row, err := rowOfPreparation(ctx, s.db.Read(), id)
	if err != nil || !row.State.works() {
		return err
	}
	n := row.Attempt + 1
	final := !fault.KindOf(reason).Retry() || n >= attempts
	now := s.now()
	pause := s.pauseAfter(n)
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if final {
			if err := row.update(ctx, tx, []State{Active, Failed}, now, "state = ?, reason = ?, fault = ?, attempt = ?, next_attempt_at = NULL", Failed, cleanReason(reason), kindOf(reason), n); err != nil {
				return err
			}
			return announce(ctx, tx, row, "failed")
		}
		return row.update(ctx, tx, []State{Active, Failed}, now, "reason = ?, fault = ?, attempt = ?, next_attempt_at = ?", cleanReason(reason), kindOf(reason), n, db.Now(now.Add(pause)))
	})
	if err != nil || final {
		return quiet(err)
	}
	return job.Later(pause)
}

// quiet drops a Conflict: somebody else changed the row, and knows better.
func quiet(err error) error {
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// deadStage ends a preparation whose job will not be tried again.
func (s *Service) deadStage(ctx context.Context, a preparationArgs, reason error) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		row := preparationRow{ID: a.Preparation}
		err := row.update(ctx, tx, []State{Active, Failed}, s.now(), "state = ?, reason = ?, fault = ?, next_attempt_at = NULL", Failed, cleanReason(reason), kindOf(reason))
		if err != nil {
			return quiet(err)
		}
		return announce(ctx, tx, row, "failed")
	})
}
