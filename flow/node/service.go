package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/firth-project/firth/base/db"
)

// Service keeps the list.
type Service struct {
	db    *db.DB
	clock func() time.Time
	log   *slog.Logger
}

// New makes the service.
func New(d *db.DB, clock func() time.Time, log *slog.Logger) *Service {
	return &Service{db: d, clock: clock, log: log}
}

// List returns the running nodes, oldest first.
func (s *Service) List(ctx context.Context) ([]Node, error) {
	return seenSince(ctx, s.db.Read(), db.Now(s.clock()).Add(-Lifetime))
}

// Attend keeps n on the list until ctx ends, then takes it off.
func (s *Service) Attend(ctx context.Context, n Node) error {
	n.StartedAt = db.Now(s.clock())
	beat := time.NewTicker(Lifetime / 3)
	defer beat.Stop()
	for {
		if err := s.sign(ctx, n); err != nil && ctx.Err() == nil {
			s.log.Warn("node could not sign the list", "err", err)
		}
		select {
		case <-beat.C:
		case <-ctx.Done():
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return s.db.Tx(leave, func(ctx context.Context, tx *db.Tx) error { return remove(ctx, tx, n.ID) })
		}
	}
}

// sign writes a sign of life and sweeps those who gave none for long.
func (s *Service) sign(ctx context.Context, n Node) error {
	n.SeenAt = db.Now(s.clock())
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := sweep(ctx, tx, n.SeenAt.Add(-2*Lifetime)); err != nil {
			return err
		}
		return upsert(ctx, tx, n)
	})
}
