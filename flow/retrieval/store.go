package retrieval

import (
	"context"
	"embed"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables of this package, for db.Migrate.
func Migrations() fs.FS { return migrations }

type attemptRow struct {
	bun.BaseModel `bun:"table:retrieval"`

	ID         int64      `bun:"id,pk,autoincrement"`
	ProjectID  int64      `bun:"project_id"`
	Root       string     `bun:"root"`
	PieceCID   string     `bun:"piece_cid"`
	Provider   string     `bun:"provider"`
	Method     Method     `bun:"method"`
	State      State      `bun:"state"`
	Reason     string     `bun:"reason"`
	Bytes      int64      `bun:"bytes"`
	Blocks     int64      `bun:"blocks"`
	TTFBUs     int64      `bun:"ttfb_us"`
	TookUs     int64      `bun:"took_us"`
	LeaseUntil *time.Time `bun:"lease_until"`
	At         time.Time  `bun:"at"`
}

// cutOff is the reason of an attempt whose process is gone.
const cutOff = "the node stopped while it was fetching"

// attempt reads a row. One whose lease is over has failed, whether or not a
// sweep has said so yet.
func (r attemptRow) attempt(now time.Time) Retrieval {
	a := Retrieval{
		ID: r.ID, Project: r.ProjectID, Root: r.Root, PieceCID: r.PieceCID, Provider: r.Provider, Method: r.Method,
		State: r.State, Reason: r.Reason, Bytes: r.Bytes, Blocks: r.Blocks,
		TTFB: time.Duration(r.TTFBUs) * time.Microsecond, Took: time.Duration(r.TookUs) * time.Microsecond, At: r.At.UTC(),
	}
	if a.State == Running && r.LeaseUntil != nil && r.LeaseUntil.Before(now) {
		a.State, a.Reason = Failed, cutOff
	}
	return a
}

func insertAttempt(ctx context.Context, tx *db.Tx, a Retrieval, lease time.Time) (int64, error) {
	row := &attemptRow{
		ProjectID: a.Project, Root: a.Root, PieceCID: a.PieceCID, Provider: a.Provider, Method: a.Method,
		State: Running, LeaseUntil: &lease, At: a.At,
	}
	_, err := tx.NewInsert().Model(row).Returning("id").Exec(ctx)
	return row.ID, fault.Wrap(err, "insert retrieval of %s from %s", a.Root, a.Provider)
}

// saveAttempt writes how far a running attempt is, or how it ended: then there
// is no lease.
func saveAttempt(ctx context.Context, tx *db.Tx, a Retrieval, lease *time.Time) error {
	res, err := tx.NewUpdate().Model((*attemptRow)(nil)).
		Set("state = ?, reason = ?, bytes = ?, blocks = ?, ttfb_us = ?, took_us = ?, lease_until = ?",
			a.State, a.Reason, a.Bytes, a.Blocks, a.TTFB.Microseconds(), a.Took.Microseconds(), lease).
		Where("id = ? AND state = ?", a.ID, Running).Exec(ctx)
	return db.One(res, err, "retrieval %d to %s", a.ID, a.State)
}

func attempts(ctx context.Context, q bun.IDB, project int64, f Filter, now time.Time) ([]Retrieval, error) {
	var rows []attemptRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	switch f.State {
	case "":
	case Running:
		sel.Where("state = ? AND lease_until >= ?", Running, now)
	case Failed:
		sel.Where("(state = ? OR state = ? AND lease_until < ?)", Failed, Running, now)
	default:
		sel.Where("state = ?", f.State)
	}
	if f.Provider != "" {
		sel.Where("provider = ?", f.Provider)
	}
	if f.Root != "" {
		sel.Where("root = ?", f.Root)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, fault.Wrap(err, "list retrievals of project %d", project)
	}
	all := make([]Retrieval, len(rows))
	for i, r := range rows {
		all[i] = r.attempt(now)
	}
	return all, nil
}

// record is how a provider did lately.
type record struct {
	ended, ok int
	ttfb      time.Duration // of the latest success
}

// recordOf looks at a provider's last few attempts, of all projects.
func recordOf(ctx context.Context, q bun.IDB, provider string) (record, error) {
	var rows []attemptRow
	err := q.NewSelect().Model(&rows).Where("provider = ? AND state <> ?", provider, Running).Order("id DESC").Limit(20).Scan(ctx)
	var r record
	for _, row := range rows {
		r.ended++
		if row.State == OK {
			if r.ok++; r.ok == 1 {
				r.ttfb = time.Duration(row.TTFBUs) * time.Microsecond
			}
		}
	}
	return r, fault.Wrap(err, "recent retrievals from %s", provider)
}

// pageLimit turns a wanted page size into one that is allowed.
func pageLimit(n int) int64 {
	switch {
	case n <= 0:
		return 50
	case n > 1000:
		return 1000
	}
	return int64(n)
}
