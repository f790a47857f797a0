package dataset

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

type nameRow struct {
	bun.BaseModel `bun:"table:dataset_ipns"`

	ID            int64      `bun:"id,pk,autoincrement"`
	ProjectID     int64      `bun:"project_id"`
	DatasetID     int64      `bun:"dataset_id"`
	Name          string     `bun:"name"`
	Secret        []byte     `bun:"secret"` // sealed key
	Published     bool       `bun:"published"`
	PreparationID int64      `bun:"preparation_id"`
	Target        string     `bun:"target"` // CID of the index that the record names
	Sequence      int64      `bun:"sequence"`
	Record        []byte     `bun:"record"`
	SignedAt      *time.Time `bun:"signed_at"`
	RenewAt       *time.Time `bun:"renew_at"`
	ExpiresAt     *time.Time `bun:"expires_at"`
	CreatedAt     time.Time  `bun:"created_at"`
	UpdatedAt     time.Time  `bun:"updated_at"`
}

func (r nameRow) name() Name {
	return Name{
		Project: r.ProjectID, Dataset: r.DatasetID, Name: r.Name, Published: r.Published, Preparation: r.PreparationID, Index: r.Target,
		Sequence: r.Sequence, Record: r.Record, SignedAt: utc(r.SignedAt), RenewAt: utc(r.RenewAt), ExpiresAt: utc(r.ExpiresAt),
	}
}

type routerRow struct {
	bun.BaseModel `bun:"table:dataset_ipns_router"`

	ID          int64      `bun:"id,pk,autoincrement"`
	NameID      int64      `bun:"name_id"`
	URL         string     `bun:"url"`      // without a password
	Sequence    int64      `bun:"sequence"` // of the record it has
	Reason      string     `bun:"reason"`
	Attempt     int64      `bun:"attempt"`
	NextAttempt *time.Time `bun:"next_attempt_at"`
	DeliveredAt *time.Time `bun:"delivered_at"`
	CreatedAt   time.Time  `bun:"created_at"`
	UpdatedAt   time.Time  `bun:"updated_at"`
}

func (r routerRow) delivery() Delivery {
	return Delivery{
		Router: r.URL, Sequence: r.Sequence, Reason: r.Reason, Attempt: r.Attempt, NextAttempt: utc(r.NextAttempt), DeliveredAt: utc(r.DeliveredAt),
	}
}

// insertName adds the name of a dataset, unless it has one by now.
func insertName(ctx context.Context, tx *db.Tx, row nameRow, now time.Time) error {
	row.CreatedAt, row.UpdatedAt = now, now
	_, err := tx.NewInsert().Model(&row).On("CONFLICT (dataset_id) DO NOTHING").Returning("NULL").Exec(ctx)
	return fault.Wrap(err, "name dataset %d", row.DatasetID)
}

// nameOf returns the name of a dataset, published or not.
func nameOf(ctx context.Context, q bun.IDB, dataset int64) (nameRow, error) {
	return oneName(ctx, q.NewSelect().Where("dataset_id = ?", dataset), dataset)
}

func nameByID(ctx context.Context, q bun.IDB, id int64) (nameRow, error) {
	return oneName(ctx, q.NewSelect().Where("id = ?", id), id)
}

func publishedName(ctx context.Context, q bun.IDB, name string) (nameRow, error) {
	return oneName(ctx, q.NewSelect().Where("name = ? AND published", name), name)
}

func oneName(ctx context.Context, sel *bun.SelectQuery, ref any) (nameRow, error) {
	var row nameRow
	err := sel.Model(&row).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fault.New(fault.NotFound, "name %v: this node publishes none such", ref)
	}
	return row, fault.Wrap(err, "name %v", ref)
}

// publishedAfter returns published names by their ids, those above after.
func publishedAfter(ctx context.Context, q bun.IDB, after int64, limit int) ([]nameRow, error) {
	var rows []nameRow
	err := q.NewSelect().Model(&rows).Where("published AND id > ?", after).Order("id").Limit(int64(limit)).Scan(ctx)
	return rows, fault.Wrap(err, "published names")
}

// update changes a name that nobody has signed for or withdrawn meanwhile. It
// comes back as it is then.
func (r *nameRow) update(ctx context.Context, tx *db.Tx, now time.Time, set string, args ...any) error {
	var rows []nameRow
	_, err := tx.NewUpdate().Model(&rows).Set(set, args...).Set("updated_at = ?", now).
		Where("id = ? AND sequence = ? AND published = ?", r.ID, r.Sequence, r.Published).Returning("*").Exec(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && len(rows) == 0:
		return fault.New(fault.Conflict, "name %s: was changed by somebody else meanwhile; try again", r.Name)
	case err != nil:
		return fault.Wrap(err, "change name %s", r.Name)
	}
	*r = rows[0]
	return nil
}

// latestIndex returns the latest preparation of a dataset that is complete.
func latestIndex(ctx context.Context, q bun.IDB, dataset int64) (preparationRow, error) {
	var row preparationRow
	err := q.NewSelect().Model(&row).Where("dataset_id = ? AND state = ? AND index_root <> ''", dataset, Complete).Order("id DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fault.New(fault.NotFound, "dataset %d: has no complete preparation", dataset)
	}
	return row, fault.Wrap(err, "latest index of dataset %d", dataset)
}

// Routers.

// putRouters makes the routers of a name these.
func putRouters(ctx context.Context, tx *db.Tx, name int64, urls []string, now time.Time) error {
	del := tx.NewDelete().Model((*routerRow)(nil)).Where("name_id = ?", name)
	if len(urls) > 0 {
		del.Where("url NOT IN (?)", bun.List(urls))
	}
	if _, err := del.Exec(ctx); err != nil {
		return fault.Wrap(err, "routers of name %d", name)
	}
	for _, u := range urls {
		row := &routerRow{NameID: name, URL: u, CreatedAt: now, UpdatedAt: now}
		if _, err := tx.NewInsert().Model(row).On("CONFLICT (name_id, url) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
			return fault.Wrap(err, "router %s of name %d", u, name)
		}
	}
	return nil
}

func routersOf(ctx context.Context, q bun.IDB, name int64) ([]routerRow, error) {
	var rows []routerRow
	err := q.NewSelect().Model(&rows).Where("name_id = ?", name).Order("url").Scan(ctx)
	return rows, fault.Wrap(err, "routers of name %d", name)
}

func routerByID(ctx context.Context, q bun.IDB, id int64) (routerRow, error) {
	var row routerRow
	err := q.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fault.New(fault.NotFound, "router %d: is no longer configured", id)
	}
	return row, fault.Wrap(err, "router %d", id)
}

// update changes what is known of a router, where it has not taken a record
// meanwhile.
func (r *routerRow) update(ctx context.Context, tx *db.Tx, now time.Time, set string, args ...any) error {
	res, err := tx.NewUpdate().Model((*routerRow)(nil)).Set(set, args...).Set("updated_at = ?", now).
		Where("id = ? AND sequence = ?", r.ID, r.Sequence).Exec(ctx)
	return db.One(res, err, "change router %s", r.URL)
}
