package deal

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/provider"
)

const (
	// lookBack is how many ids of pieces may commit after a later one.
	lookBack = 1000
	// page is how many rows the reconciler takes at a time.
	page = 200
	// maxWait is how long a piece at most waits for the index to have a
	// provider for it, where no hint comes.
	maxWait = 10 * time.Minute
	// maxDryRun is how many pieces a dry run looks at.
	maxDryRun = 1000
)

// Watch keeps the policies true until ctx ends: at every hint in the log, and
// at least every Settings.Interval.
func (s *Service) Watch(ctx context.Context, log *event.Log) error {
	hints := []string{
		"piece.ready", "policy.active", "deal.rejected", "deal.failed", "deal.proposal_expired",
		"deal.slashed", "deal.terminated", "deal.expired", "deal.active",
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var both sync.WaitGroup
	var errs [2]error
	both.Go(func() {
		defer stop()
		errs[0] = event.Watch(ctx, log, hints, s.settings.Interval, s.log, s.Reconcile)
	})
	both.Go(func() {
		defer stop()
		errs[1] = event.Watch(ctx, log, []string{"provider.online"}, maxWait, s.log, s.wakeAndReconcile)
	})
	both.Wait()
	return errors.Join(errs[0], errs[1])
}

// wakeAndReconcile looks at all pieces that wait for a provider.
func (s *Service) wakeAndReconcile(ctx context.Context) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := lockPosition(ctx, tx); err != nil {
			return err
		}
		return wakeWaiting(ctx, tx, s.now())
	})
	return errors.Join(err, s.Reconcile(ctx))
}

// Reconcile takes new pieces over and makes deals about the pieces that lack
// copies. It may run in several processes at once: each piece's turn is a
// compare-and-swap, and losing one means somebody else took it.
func (s *Service) Reconcile(ctx context.Context) error {
	errs := []error{s.takeOver(ctx)}
	for ctx.Err() == nil {
		due, err := dueTargets(ctx, s.db.Read(), s.now(), page)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, t := range due {
			if err := s.look(ctx, t); err != nil && !fault.Is(err, fault.Conflict) {
				errs = append(errs, s.putOff(ctx, t, err))
			}
		}
		if len(due) < page {
			break
		}
	}
	return errors.Join(errs...)
}

// putOff keeps a piece whose turn went wrong from holding up the others.
func (s *Service) putOff(ctx context.Context, t target, reason error) error {
	if ctx.Err() != nil {
		return reason
	}
	next := s.now().Add(s.settings.Interval)
	t.NextAt, t.Reason = &next, reason.Error()
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return saveTarget(ctx, tx, t) })
	if fault.Is(err, fault.Conflict) {
		err = nil
	}
	return errors.Join(fault.Wrap(reason, "piece %d", t.ID), err)
}

// takeOver copies what deals have to know of new pieces. The pieces' ids are
// given before they commit, so it looks back.
func (s *Service) takeOver(ctx context.Context) error {
	pos, err := position(ctx, s.db.Read())
	if err != nil {
		return err
	}
	for after := max(0, pos-lookBack); ; {
		found, err := s.pieces.After(ctx, after, lookBack)
		if err != nil || len(found) == 0 {
			return err
		}
		last := found[len(found)-1].ID
		known, err := knownTargets(ctx, s.db.Read(), after+1, last)
		if err != nil {
			return err
		}
		var fresh []target
		for _, p := range found {
			if !known[p.ID] {
				fresh = append(fresh, targetOf(p))
			}
		}
		if len(fresh) > 0 || last > pos {
			err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
				if _, err := lockPosition(ctx, tx); err != nil {
					return err
				}
				if err := insertTargets(ctx, tx, fresh, s.now()); err != nil {
					return err
				}
				return savePosition(ctx, tx, last)
			})
			if err != nil {
				return err
			}
		}
		if after = last; len(found) < lookBack {
			return nil
		}
	}
}

// look takes one turn at a piece.
func (s *Service) look(ctx context.Context, t target) error {
	v, err := s.view(ctx, t)
	if err != nil {
		return err
	}
	steps, next := v.decide()
	t.Reason, t.NextAt = "", nil
	var propose []Step
	lacking := false
	for _, step := range steps {
		switch step.Action {
		case ActionPropose:
			propose = append(propose, step)
		case ActionWait:
			lacking = true
			t.Reason = step.Reason
		}
	}
	switch {
	case lacking:
		wait := v.now.Add(min(maxWait, s.settings.Interval<<min(t.Waits, 10)))
		if next != nil && next.Before(wait) {
			wait = *next
		}
		t.NextAt, t.Waits = &wait, t.Waits+1
	default:
		t.Waits = 0
	}
	return s.commit(ctx, t, v, propose)
}

// view gathers what a turn at a piece is decided by.
func (s *Service) view(ctx context.Context, t target) (view, error) {
	v := view{now: s.now(), target: t, outside: map[int64]string{}, candidates: map[int64][]provider.Provider{}}
	var err error
	if v.policies, err = policiesOver(ctx, s.db.Read(), t.ID); err != nil {
		return v, err
	}
	if v.live, err = liveDeals(ctx, s.db.Read(), t.ID); err != nil {
		return v, err
	}
	if v.attempts, err = attemptsAt(ctx, s.db.Read(), t.ID); err != nil {
		return v, err
	}
	for _, p := range v.policies {
		v.outside[p.ID] = s.outside(p, t)
		if p.State != PolicyActive || v.has(p) >= p.Copies {
			continue
		}
		want := provider.Want{PaddedSize: t.PaddedSize, MaxPrice: p.MaxPrice, Verified: p.Verified}
		if len(p.Providers) > 0 {
			want.Only = p.Providers
		}
		if v.candidates[p.ID], err = s.providers.Candidates(ctx, want); err != nil {
			return v, err
		}
	}
	return v, nil
}

// commit ends a turn: the deals that were decided on exist as drafts, each with
// the job that proposes it, and CARs that no policy wants any more are released.
func (s *Service) commit(ctx context.Context, t target, v view, propose []Step) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := saveTarget(ctx, tx, t); err != nil {
			return err
		}
		for _, step := range propose {
			if err := s.draft(ctx, tx, t, v.policy(step.Policy), step); err != nil {
				return err
			}
		}
		if reason, ok := v.spares(); ok {
			return s.pieces.Release(ctx, tx, t.ID, reason)
		}
		return nil
	})
}

func (s *Service) draft(ctx context.Context, tx *db.Tx, t target, p Policy, step Step) error {
	name, err := uuid.NewRandomFromReader(s.random)
	if err != nil {
		return fault.Wrap(err, "draw a UUID")
	}
	now := s.now()
	d := Deal{
		UUID: name.String(), Project: t.ProjectID, Policy: p.ID, Piece: t.ID, PieceCID: t.PieceCID, Provider: step.Provider,
		Market: s.market.Name(), Client: p.Wallet, State: Draft, Price: "0", cost: "0",
		progressAt: now, CreatedAt: now, UpdatedAt: now,
	}
	made, err := insertDeal(ctx, tx, &d)
	if err != nil || !made {
		return err
	}
	if err := s.tell(ctx, tx, d, Observation{Source: FromUs, To: Draft, Reason: step.Reason}); err != nil {
		return err
	}
	return proposeKind.Enqueue(ctx, tx, s.jobs, proposeArgs{Deal: d.ID})
}

// DryRun returns what a policy would do now, and why, without doing it, for its
// first thousand pieces.
func (s *Service) DryRun(ctx context.Context, project, id int64) ([]Step, error) {
	p, err := s.Policy(ctx, project, id)
	if err != nil {
		return nil, err
	}
	if err := s.takeOver(ctx); err != nil {
		return nil, err
	}
	ts, err := targetsOf(ctx, s.db.Read(), p.ID, maxDryRun)
	if err != nil {
		return nil, err
	}
	steps := []Step{}
	for _, t := range ts {
		v, err := s.view(ctx, t)
		if err != nil {
			return nil, err
		}
		all, _ := v.decide()
		for _, step := range all {
			if step.Policy == p.ID {
				steps = append(steps, step)
			}
		}
	}
	return steps, nil
}
