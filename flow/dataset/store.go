package dataset

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
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

type datasetRow struct {
	bun.BaseModel `bun:"table:dataset"`

	ID        int64     `bun:"id,pk,autoincrement"`
	ProjectID int64     `bun:"project_id"`
	Name      string    `bun:"name"`
	Rules     Rules     `bun:"rules,type:text"`
	Revision  int64     `bun:"revision"`
	Removed   bool      `bun:"removed"`
	CreatedAt time.Time `bun:"created_at"`
	UpdatedAt time.Time `bun:"updated_at"`
}

func (r datasetRow) dataset() Dataset {
	return Dataset{ID: r.ID, Project: r.ProjectID, Name: r.Name, Rules: r.Rules, Revision: r.Revision, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC()}
}

type sourceRow struct {
	bun.BaseModel `bun:"table:dataset_source"`

	ID        int64     `bun:"id,pk,autoincrement"`
	ProjectID int64     `bun:"project_id"`
	DatasetID int64     `bun:"dataset_id"`
	At        string    `bun:"at"`
	URL       string    `bun:"url"`
	Options   []byte    `bun:"options"` // sealed JSON, nil when there are none
	CreatedAt time.Time `bun:"created_at"`
	UpdatedAt time.Time `bun:"updated_at"`
}

func (r sourceRow) source() Source {
	return Source{ID: r.ID, Project: r.ProjectID, Dataset: r.DatasetID, At: r.At, URL: r.URL, CreatedAt: r.CreatedAt.UTC()}
}

// Datasets.

func insertDataset(ctx context.Context, tx *db.Tx, d *Dataset) error {
	row := &datasetRow{ProjectID: d.Project, Name: d.Name, Rules: d.Rules, Revision: d.Revision, CreatedAt: d.CreatedAt, UpdatedAt: d.CreatedAt}
	_, err := tx.NewInsert().Model(row).On("CONFLICT (project_id, name) WHERE NOT removed DO NOTHING").Returning("id").Exec(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && row.ID == 0 {
		return fault.New(fault.Conflict, "dataset %q: this project has one of that name already", d.Name)
	}
	d.ID = row.ID
	return fault.Wrap(err, "insert dataset %q", d.Name)
}

func datasetByID(ctx context.Context, q bun.IDB, project, id int64) (Dataset, error) {
	return oneDataset(ctx, q.NewSelect().Where("id = ? AND project_id = ? AND NOT removed", id, project), id)
}

func datasetByName(ctx context.Context, q bun.IDB, project int64, name string) (Dataset, error) {
	return oneDataset(ctx, q.NewSelect().Where("name = ? AND project_id = ? AND NOT removed", name, project), name)
}

func oneDataset(ctx context.Context, sel *bun.SelectQuery, ref any) (Dataset, error) {
	var row datasetRow
	err := sel.Model(&row).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Dataset{}, noDataset(ref)
	}
	return row.dataset(), fault.Wrap(err, "dataset %v", ref)
}

func noDataset(ref any) error {
	return fault.New(fault.NotFound, "dataset %.200q: this project has none; `firth dataset list` lists them", fmt.Sprint(ref))
}

func datasets(ctx context.Context, q bun.IDB, project int64, f Filter) ([]Dataset, error) {
	var rows []datasetRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ? AND NOT removed", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	return mapped(rows, datasetRow.dataset), fault.Wrap(err, "list datasets of project %d", project)
}

// setRules replaces the rules of the dataset's revision, which moves on.
func setRules(ctx context.Context, tx *db.Tx, d *Dataset) error {
	res, err := tx.NewUpdate().Model((*datasetRow)(nil)).Set("rules = ?, revision = revision + 1, updated_at = ?", asText(d.Rules), d.UpdatedAt).
		Where("id = ? AND revision = ? AND NOT removed", d.ID, d.Revision).Exec(ctx)
	d.Revision++
	return db.One(res, err, "rules of dataset %q", d.Name)
}

func removeDataset(ctx context.Context, tx *db.Tx, id int64, now time.Time) error {
	res, err := tx.NewUpdate().Model((*datasetRow)(nil)).Set("removed = ?, updated_at = ?", true, now).
		Where("id = ? AND NOT removed", id).Exec(ctx)
	err = db.One(res, err, "remove dataset %d", id)
	if fault.Is(err, fault.Conflict) { // somebody else has
		return noDataset(id)
	}
	return err
}

// Sources.

// putSource adds a source, or gives the one that is at its place with the same
// URL new options. Another URL there is a Conflict: what was packed from there
// is still read.
func putSource(ctx context.Context, tx *db.Tx, s *Source, options []byte, now time.Time) error {
	row := &sourceRow{ProjectID: s.Project, DatasetID: s.Dataset, At: s.At, URL: s.URL, Options: options, CreatedAt: now, UpdatedAt: now}
	_, err := tx.NewInsert().Model(row).On("CONFLICT (dataset_id, at) DO UPDATE").
		Set("options = EXCLUDED.options, updated_at = EXCLUDED.updated_at").Where("source_row.url = EXCLUDED.url").Returning("*").Exec(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && row.ID == 0 {
		return fault.New(fault.Conflict, "source at %q: this dataset has another one there; name a directory for it with \"at\"", s.At)
	}
	*s = row.source()
	return fault.Wrap(err, "add source %s", s.URL)
}

func sourcesOf(ctx context.Context, q bun.IDB, dataset int64) ([]sourceRow, error) {
	var rows []sourceRow
	err := q.NewSelect().Model(&rows).Where("dataset_id = ?", dataset).Order("id").Scan(ctx)
	return rows, fault.Wrap(err, "sources of dataset %d", dataset)
}

func sourceByID(ctx context.Context, q bun.IDB, id int64) (sourceRow, error) {
	var row sourceRow
	err := q.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fault.New(fault.NotFound, "source %d: there is none with that id", id)
	}
	return row, fault.Wrap(err, "source %d", id)
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

// mapped applies a row's conversion to each row.
func mapped[R, T any](rows []R, convert func(R) T) []T {
	all := make([]T, len(rows))
	for i, r := range rows {
		all[i] = convert(r)
	}
	return all
}

// utc is a time of a row that may be absent.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}

// datasetOf returns a dataset of any project, removed or not, for jobs.
func datasetOf(ctx context.Context, q bun.IDB, id int64) (Dataset, error) {
	return oneDataset(ctx, q.NewSelect().Where("id = ?", id), id)
}
