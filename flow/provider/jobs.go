package provider

import (
	"context"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// refreshArgs name the provider to look up.
type refreshArgs struct {
	Actor string `json:"actor"`
}

type sweepArgs struct{}

var (
	refreshKind = job.Kind[refreshArgs]{Name: "provider.refresh", Queue: job.Net, Timeout: 5 * time.Minute, Attempts: 1, Unique: true}
	sweepKind   = job.Kind[sweepArgs]{Name: "provider.sweep", Queue: job.Light, Timeout: time.Minute, Attempts: 1, Unique: true}
)

// sweepPage is how many providers one sweep has looked up.
const sweepPage = 500

// Handlers returns the work this package does.
func (s *Service) Handlers() []job.Handler {
	return []job.Handler{refreshKind.Handle(s.runRefresh, nil), sweepKind.Handle(s.runSweep, nil)}
}

// Schedules returns what this package does without being asked.
func (s *Service) Schedules() []job.Schedule {
	every := max(time.Second, s.settings.Interval/4)
	return []job.Schedule{{Name: "provider.sweep", Kind: sweepKind.Name, Args: sweepArgs{}, Every: every}}
}

// runRefresh looks one provider up. One that was removed meanwhile is no error.
func (s *Service) runRefresh(ctx context.Context, a refreshArgs) error {
	_, err := s.Refresh(ctx, a.Actor)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// runSweep has those looked up whose facts are old.
func (s *Service) runSweep(ctx context.Context, _ sweepArgs) error {
	stale, err := staleProviders(ctx, s.db.Read(), s.now().Add(-s.settings.Interval), sweepPage)
	if err != nil || len(stale) == 0 {
		return err
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, actor := range stale {
			if err := refreshKind.Enqueue(ctx, tx, s.jobs, refreshArgs{Actor: actor}); err != nil {
				return err
			}
		}
		return nil
	})
}
