package deal

import (
	"context"
	"time"

	"github.com/firth-project/firth/base/job"
)

// proposeArgs name the deal to propose.
type proposeArgs struct {
	Deal int64 `json:"deal"`
}

var proposeKind = job.Kind[proposeArgs]{Name: "deal.propose", Queue: job.Net, Timeout: 5 * time.Minute, Attempts: 10, Unique: true}

// Handlers returns the work this package does.
func (s *Service) Handlers() []job.Handler {
	return []job.Handler{proposeKind.Handle(s.runPropose, s.deadPropose)}
}

// deadPropose ends a deal that cannot be proposed.
func (s *Service) deadPropose(ctx context.Context, a proposeArgs, reason error) error {
	d, err := dealByID(ctx, s.db.Read(), a.Deal)
	if err != nil || d.State != Draft && d.State != Sending {
		return err
	}
	return s.end(ctx, d, ending{state: Failed, source: FromUs, reason: reason.Error(), waiting: true})
}
