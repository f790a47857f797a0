package content

import (
	"context"
	"database/sql"
	"embed"
	"errors"
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

type contentRow struct {
	bun.BaseModel `bun:"table:content"`

	ID         int64         `bun:"id,pk,autoincrement"`
	ProjectID  int64         `bun:"project_id"`
	Name       string        `bun:"name"`
	CID        string        `bun:"cid"`
	Size       int64         `bun:"size"`
	Files      int64         `bun:"files"`
	Profile    string        `bun:"profile"`
	State      State         `bun:"state"`
	Reason     string        `bun:"reason"`
	BucketID   sql.NullInt64 `bun:"bucket_id"`
	LeaseUntil *time.Time    `bun:"lease_until"`
	CreatedAt  time.Time     `bun:"created_at"`
	UpdatedAt  time.Time     `bun:"updated_at"`
}

func (r contentRow) content() Content {
	return Content{
		ID: r.ID, Project: r.ProjectID, Name: r.Name, CID: r.CID, Size: r.Size, Files: r.Files, Profile: r.Profile,
		State: r.State, Reason: r.Reason, Bucket: r.BucketID.Int64, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

type bucketRow struct {
	bun.BaseModel `bun:"table:content_bucket"`

	ID          int64       `bun:"id,pk,autoincrement"`
	ProjectID   int64       `bun:"project_id"`
	State       BucketState `bun:"state"`
	Size        int64       `bun:"size"`
	Contents    int64       `bun:"contents"`
	PlanID      int64       `bun:"plan_id"`
	Reason      string      `bun:"reason"`
	Attempt     int         `bun:"attempt"`
	OpenedAt    time.Time   `bun:"opened_at"`
	ClosesAt    time.Time   `bun:"closes_at"`
	NextAttempt *time.Time  `bun:"next_attempt_at"`
	UpdatedAt   time.Time   `bun:"updated_at"`
}

func (r bucketRow) bucket() Bucket {
	b := Bucket{
		ID: r.ID, Project: r.ProjectID, State: r.State, Size: r.Size, Contents: r.Contents, Plan: r.PlanID,
		Reason: r.Reason, Attempt: r.Attempt, OpenedAt: r.OpenedAt.UTC(), ClosesAt: r.ClosesAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if r.NextAttempt != nil {
		at := r.NextAttempt.UTC()
		b.NextAttempt = &at
	}
	return b
}

// Contents.

func insertContent(ctx context.Context, tx *db.Tx, c Content, lease time.Time) (int64, error) {
	row := &contentRow{
		ProjectID: c.Project, Name: c.Name, Profile: c.Profile, State: c.State,
		LeaseUntil: &lease, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
	_, err := tx.NewInsert().Model(row).Returning("id").Exec(ctx)
	return row.ID, fault.Wrap(err, "insert content %q", c.Name)
}

func contentByID(ctx context.Context, q bun.IDB, project, id int64) (Content, error) {
	return oneContent(ctx, q.NewSelect().Where("id = ? AND project_id = ? AND state <> ?", id, project, Removed), id)
}

func contentByCID(ctx context.Context, q bun.IDB, project int64, cid string) (Content, error) {
	return oneContent(ctx, q.NewSelect().Where("cid = ? AND project_id = ? AND state <> ?", cid, project, Removed).
		Order("id DESC").Limit(1), cid)
}

func oneContent(ctx context.Context, q *bun.SelectQuery, ref any) (Content, error) {
	var row contentRow
	err := q.Model(&row).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Content{}, fault.New(fault.NotFound, "content %v: this project has none; `firth ls` lists them", ref)
	}
	return row.content(), fault.Wrap(err, "content %v", ref)
}

func contents(ctx context.Context, q bun.IDB, project int64, f Filter) ([]Content, error) {
	var rows []contentRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.State != "" {
		sel.Where("state = ?", f.State)
	} else {
		sel.Where("state <> ?", Removed)
	}
	if f.CID != "" {
		sel.Where("cid = ?", f.CID)
	}
	if f.Name != "" {
		sel.Where("name = ?", f.Name)
	}
	if f.Bucket != 0 {
		sel.Where("bucket_id = ?", f.Bucket)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, fault.Wrap(err, "list contents of project %d", project)
	}
	return mapped(rows, contentRow.content), nil
}

// storeContent is the step from receiving to stored, with all that is known by
// then.
func storeContent(ctx context.Context, tx *db.Tx, c Content) error {
	res, err := tx.NewUpdate().Model((*contentRow)(nil)).
		Set("state = ?, cid = ?, size = ?, files = ?, bucket_id = ?, lease_until = NULL, updated_at = ?",
			Stored, c.CID, c.Size, c.Files, c.Bucket, c.UpdatedAt).
		Where("id = ? AND state = ?", c.ID, Receiving).Exec(ctx)
	return db.One(res, err, "store content %d", c.ID)
}

func moveContent(ctx context.Context, tx *db.Tx, id int64, from, to State, reason string, now time.Time) error {
	res, err := tx.NewUpdate().Model((*contentRow)(nil)).
		Set("state = ?, reason = ?, lease_until = NULL, updated_at = ?", to, reason, now).
		Where("id = ? AND state = ?", id, from).Exec(ctx)
	return db.One(res, err, "content %d from %s to %s", id, from, to)
}

func renewLease(ctx context.Context, tx *db.Tx, id int64, until time.Time) error {
	res, err := tx.NewUpdate().Model((*contentRow)(nil)).Set("lease_until = ?", until).
		Where("id = ? AND state = ?", id, Receiving).Exec(ctx)
	return db.One(res, err, "keep content %d", id)
}

// expired returns contents whose upload gave no sign of life, oldest first.
func expired(ctx context.Context, q bun.IDB, now time.Time, limit int64) ([]Content, error) {
	var rows []contentRow
	err := q.NewSelect().Model(&rows).Where("state = ? AND lease_until < ?", Receiving, now).Order("id").Limit(limit).Scan(ctx)
	return mapped(rows, contentRow.content), fault.Wrap(err, "find broken uploads")
}

// moveContents moves all contents of a bucket that are in one state.
func moveContents(ctx context.Context, tx *db.Tx, bucket int64, from, to State, now time.Time) ([]Content, error) {
	var rows []contentRow
	_, err := tx.NewUpdate().Model(&rows).Set("state = ?, updated_at = ?", to, now).
		Where("bucket_id = ? AND state = ?", bucket, from).Returning("*").Exec(ctx)
	return mapped(rows, contentRow.content), fault.Wrap(err, "contents of bucket %d to %s", bucket, to)
}

// rootsOf returns one held content per distinct CID of a bucket, in the order
// they came.
func rootsOf(ctx context.Context, q bun.IDB, bucket int64) ([]Content, error) {
	var rows []contentRow
	err := q.NewSelect().Model(&rows).
		Where("id IN (SELECT MIN(id) FROM content WHERE bucket_id = ? AND state = ? GROUP BY cid)", bucket, Stored).
		Order("id").Scan(ctx)
	return mapped(rows, contentRow.content), fault.Wrap(err, "contents of bucket %d", bucket)
}

// Buckets.

// openBucket returns the project's open bucket, made now if there is none.
func openBucket(ctx context.Context, tx *db.Tx, project int64, now, closes time.Time) (Bucket, error) {
	_, err := tx.NewInsert().Model(&bucketRow{ProjectID: project, State: Open, OpenedAt: now, ClosesAt: closes, UpdatedAt: now}).
		On("CONFLICT (project_id) WHERE state = 'open' DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return Bucket{}, fault.Wrap(err, "open a bucket for project %d", project)
	}
	var row bucketRow
	err = tx.NewSelect().Model(&row).Where("project_id = ? AND state = ?", project, Open).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Bucket{}, nil // closed this instant; joining id 0 fails and the caller tries again
	}
	return row.bucket(), fault.Wrap(err, "open bucket of project %d", project)
}

func joinBucket(ctx context.Context, tx *db.Tx, id, size int64, now time.Time) (b Bucket, joined bool, err error) {
	var rows []bucketRow
	_, err = tx.NewUpdate().Model(&rows).
		Set("size = size + ?, contents = contents + 1, updated_at = ?", size, now).
		Where("id = ? AND state = ?", id, Open).Returning("*").Exec(ctx)
	if err != nil || len(rows) == 0 {
		return Bucket{}, false, fault.Wrap(err, "join bucket %d", id)
	}
	return rows[0].bucket(), true, nil
}

func leaveBucket(ctx context.Context, tx *db.Tx, id, size int64, now time.Time) error {
	_, err := tx.NewUpdate().Model((*bucketRow)(nil)).
		Set("size = size - ?, contents = contents - 1, updated_at = ?", size, now).
		Where("id = ? AND state IN (?)", id, bun.List([]BucketState{Open, Closing, Broken})).Exec(ctx)
	return fault.Wrap(err, "leave bucket %d", id)
}

func bucketByID(ctx context.Context, q bun.IDB, project, id int64) (Bucket, error) {
	var row bucketRow
	err := q.NewSelect().Model(&row).Where("id = ? AND project_id = ?", id, project).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Bucket{}, fault.New(fault.NotFound, "bucket %d: this project has none with that id", id)
	}
	return row.bucket(), fault.Wrap(err, "bucket %d", id)
}

func buckets(ctx context.Context, q bun.IDB, project int64, f BucketFilter) ([]Bucket, error) {
	var rows []bucketRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.State != "" {
		sel.Where("state = ?", f.State)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	return mapped(rows, bucketRow.bucket), fault.Wrap(err, "list buckets of project %d", project)
}

// restless returns the buckets in a state, after an id, that the reconciler has
// to look at, of all projects.
func restless(ctx context.Context, q bun.IDB, state BucketState, now time.Time, after int64, limit int64) ([]Bucket, error) {
	var rows []bucketRow
	sel := q.NewSelect().Model(&rows).Where("state = ? AND id > ?", state, after).Order("id").Limit(limit)
	switch state {
	case Open:
		sel.Where("closes_at <= ?", now)
	case Broken:
		sel.Where("next_attempt_at <= ?", now)
	}
	err := sel.Scan(ctx)
	return mapped(rows, bucketRow.bucket), fault.Wrap(err, "find %s buckets", state)
}

// saveBucket writes a bucket's new state if the old one still holds.
func saveBucket(ctx context.Context, tx *db.Tx, b Bucket, from BucketState) error {
	res, err := tx.NewUpdate().Model((*bucketRow)(nil)).
		Set("state = ?, plan_id = ?, reason = ?, attempt = ?, next_attempt_at = ?, updated_at = ?",
			b.State, b.Plan, b.Reason, b.Attempt, b.NextAttempt, b.UpdatedAt).
		Where("id = ? AND state = ?", b.ID, from).Exec(ctx)
	return db.One(res, err, "bucket %d from %s to %s", b.ID, from, b.State)
}

// mapped applies a row's conversion to each row.
func mapped[R, T any](rows []R, convert func(R) T) []T {
	all := make([]T, len(rows))
	for i, r := range rows {
		all[i] = convert(r)
	}
	return all
}
