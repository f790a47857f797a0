package dataset

import (
	"context"
	"slices"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/base/job"
)

// deliverArgs name what one router is to have of one name.
type deliverArgs struct {
	Router int64 `json:"router"` // id of the row
}

// deliverAll makes the rows of a name those of the routers that are configured,
// and has the latest record brought to those that have an older one.
func (s *Service) deliverAll(ctx context.Context, tx *db.Tx, row nameRow) error {
	urls := make([]string, len(s.settings.Routers))
	for i, r := range s.settings.Routers {
		urls[i] = r.String()
	}
	now := s.now()
	if err := putRouters(ctx, tx, row.ID, urls, now); err != nil {
		return err
	}
	if row.Record == nil {
		return nil
	}
	rows, err := routersOf(ctx, tx, row.ID)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Sequence >= row.Sequence {
			continue
		}
		if err := r.update(ctx, tx, now, "attempt = 0, next_attempt_at = NULL"); err != nil {
			return err
		}
		if err := job.Enqueue(ctx, s.jobs, tx, deliverKind, deliverArgs{r.ID}); err != nil {
			return err
		}
	}
	return nil
}

// behind reports whether the rows of a name are not those of the routers that
// are configured.
func (s *Service) behind(ctx context.Context, row nameRow) (bool, error) {
	rows, err := routersOf(ctx, s.db.Read(), row.ID)
	if err != nil || len(rows) != len(s.settings.Routers) {
		return err == nil, err
	}
	return slices.ContainsFunc(rows, func(r routerRow) bool { return s.router(r.URL) == nil }), nil
}

// router returns the router of a row, nil if it is not configured here.
func (s *Service) router(url string) *indexdag.Router {
	at := slices.IndexFunc(s.settings.Routers, func(r *indexdag.Router) bool { return r.String() == url })
	if at < 0 {
		return nil
	}
	return s.settings.Routers[at]
}

// runDeliver brings the latest record of a name to one router, and writes down
// what that said. What it will never take is left until there is another record.
func (s *Service) runDeliver(ctx context.Context, a deliverArgs) error {
	row, err := routerByID(ctx, s.db.Read(), a.Router)
	if err != nil {
		return missing(err)
	}
	name, err := nameByID(ctx, s.db.Read(), row.NameID)
	router := s.router(row.URL)
	if err != nil || router == nil || !name.Published || name.Record == nil || row.Sequence >= name.Sequence {
		return err
	}
	refused := router.Put(ctx, name.Name, name.Record)
	if refused != nil && ctx.Err() != nil { // the process stops; the next one goes on
		return refused
	}
	now := s.now()
	pause, again := s.pauseAfter(row.Attempt+1), refused != nil && fault.KindOf(refused).Retry()
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		switch {
		case refused == nil:
			return row.update(ctx, tx, now, "sequence = ?, reason = '', attempt = 0, next_attempt_at = NULL, delivered_at = ?", name.Sequence, now)
		case again:
			return row.update(ctx, tx, now, "reason = ?, attempt = attempt + 1, next_attempt_at = ?", cleanReason(refused), db.Now(now.Add(pause)))
		}
		return row.update(ctx, tx, now, "reason = ?, attempt = attempt + 1, next_attempt_at = NULL", cleanReason(refused))
	})
	if err != nil || !again {
		return quiet(err)
	}
	return job.Later(pause)
}
