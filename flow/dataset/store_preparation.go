package dataset

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

type preparationRow struct {
	bun.BaseModel `bun:"table:dataset_preparation"`

	ID          int64      `bun:"id,pk,autoincrement"`
	ProjectID   int64      `bun:"project_id"`
	DatasetID   int64      `bun:"dataset_id"`
	Ordinal     int64      `bun:"ordinal"`
	State       State      `bun:"state"`
	Stage       Stage      `bun:"stage"`
	Rules       Rules      `bun:"rules,type:text"` // the dataset's when it began
	Prior       int64      `bun:"prior"`           // the preparation it goes on from, 0 is none
	Scan        scanMark   `bun:"scan,type:text"`
	Reason      string     `bun:"reason"`
	Fault       string     `bun:"fault"` // kind of the reason
	Attempt     int64      `bun:"attempt"`
	NextAttempt *time.Time `bun:"next_attempt_at"`
	Files       int64      `bun:"files"`
	Bytes       int64      `bun:"bytes"`
	Carried     int64      `bun:"carried"`
	Skipped     int64      `bun:"skipped"`
	Chunks      int64      `bun:"chunks"`
	ChunksDone  int64      `bun:"chunks_done"`
	Root        string     `bun:"root"`
	IndexRoot   string     `bun:"index_root"`
	IndexPlan   int64      `bun:"index_plan"`
	IndexPiece  int64      `bun:"index_piece"`
	StartedAt   time.Time  `bun:"started_at"`
	FinishedAt  *time.Time `bun:"finished_at"`
	UpdatedAt   time.Time  `bun:"updated_at"`
}

// scanMark is how far the chunks of a scan reach: from there a worker that has
// nothing else goes on.
type scanMark struct {
	After []byte    `json:"after,omitempty"` // key of the last path that is in chunks as a whole
	Rest  *restMark `json:"rest,omitempty"`  // the file whose beginning alone is
	Found found     `json:"found"`
}

// found counts what a scan has come across.
type found struct {
	Files    int64 `json:"files"`
	Bytes    int64 `json:"bytes"`
	Carried  int64 `json:"carried"`
	Skipped  int64 `json:"skipped"`
	Unlisted int64 `json:"unlisted,omitempty"` // of Skipped, those whose names no catalog holds
}

func (f *found) add(r Record) {
	switch r.State {
	case FileSkipped:
		f.Skipped++
	case FileCarried:
		f.Carried++
	}
	if r.Kind != KindDirectory {
		f.Files++
	}
	if r.Kind == KindFile {
		f.Bytes += r.Size
	}
}

// restMark is a file that a chunk's end has cut.
type restMark struct {
	Path     []byte `json:"path"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`
	ID       string `json:"id"`
	Source   int64  `json:"source"`
	From     int64  `json:"from"` // first byte that is in no chunk yet
}

func (r preparationRow) preparation() Preparation {
	return Preparation{
		ID: r.ID, Project: r.ProjectID, Dataset: r.DatasetID, Ordinal: r.Ordinal, State: r.State, Stage: r.Stage,
		Reason: r.Reason, Fault: fault.KindNamed(r.Fault), Attempt: r.Attempt, NextAttempt: utc(r.NextAttempt), Files: r.Files, Bytes: r.Bytes, Carried: r.Carried, Skipped: r.Skipped,
		Chunks: r.Chunks, ChunksDone: r.ChunksDone, Root: r.Root, IndexRoot: r.IndexRoot, IndexPiece: r.IndexPiece,
		StartedAt: r.StartedAt.UTC(), FinishedAt: utc(r.FinishedAt), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// asText is how a struct column is written by Set, as bun writes it on insert.
func asText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("dataset: a %T does not marshal: %v", v, err)) // cannot happen: these structs hold what JSON has
	}
	return string(text)
}

func insertPreparation(ctx context.Context, tx *db.Tx, row *preparationRow) error {
	var latest int64
	err := tx.NewSelect().Model((*preparationRow)(nil)).ColumnExpr("COALESCE(MAX(ordinal), 0)").Where("dataset_id = ?", row.DatasetID).Scan(ctx, &latest)
	if err != nil {
		return fault.Wrap(err, "number the preparation of dataset %d", row.DatasetID)
	}
	row.Ordinal = latest + 1
	_, err = tx.NewInsert().Model(row).On("CONFLICT DO NOTHING").Returning("id").Exec(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && row.ID == 0 {
		return fault.New(fault.Conflict, "dataset %d: is being prepared already; wait for that preparation, or resume it", row.DatasetID)
	}
	return fault.Wrap(err, "insert preparation of dataset %d", row.DatasetID)
}

// priorOf returns the id of the preparation that a new one goes on from: the
// latest complete one, if it has packed files as these rules say; 0 for none.
func priorOf(ctx context.Context, q bun.IDB, dataset int64, rules Rules) (id int64, err error) {
	var row preparationRow
	err = q.NewSelect().Model(&row).Where("dataset_id = ? AND state = ?", dataset, Complete).Order("id DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !rules.encodes(row.Rules) {
		return 0, nil
	}
	return row.ID, fault.Wrap(err, "preparation before")
}

// rowOfPreparation returns a preparation of any project, for jobs.
func rowOfPreparation(ctx context.Context, q bun.IDB, id int64) (preparationRow, error) {
	return onePreparation(ctx, q.NewSelect().Where("id = ?", id), id)
}

func preparationByID(ctx context.Context, q bun.IDB, project, id int64) (preparationRow, error) {
	return onePreparation(ctx, q.NewSelect().Where("id = ? AND project_id = ? AND state <> ?", id, project, Removed), id)
}

func onePreparation(ctx context.Context, sel *bun.SelectQuery, id int64) (preparationRow, error) {
	var row preparationRow
	err := sel.Model(&row).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fault.New(fault.NotFound, "preparation %d: this project has none with that id", id)
	}
	return row, fault.Wrap(err, "preparation %d", id)
}

func preparations(ctx context.Context, q bun.IDB, project int64, f Filter) ([]Preparation, error) {
	var rows []preparationRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.State != "" {
		sel.Where("state = ?", f.State)
	} else {
		sel.Where("state <> ?", Removed)
	}
	if f.Dataset != 0 {
		sel.Where("dataset_id = ?", f.Dataset)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	return mapped(rows, preparationRow.preparation), fault.Wrap(err, "list preparations of project %d", project)
}

// followerOf returns the id of a preparation that is not over and goes on from
// this one, 0 for none.
func followerOf(ctx context.Context, q bun.IDB, prior int64) (id int64, err error) {
	err = q.NewSelect().Model((*preparationRow)(nil)).ColumnExpr("COALESCE(MAX(id), 0)").
		Where("prior = ? AND state IN (?)", prior, bun.List([]State{Active, Paused, Failed})).Scan(ctx, &id)
	return id, fault.Wrap(err, "preparation after %d", prior)
}

// idsOfPreparations returns all preparations of a dataset that are not removed,
// the newest first.
func idsOfPreparations(ctx context.Context, q bun.IDB, dataset int64) (ids []int64, err error) {
	err = q.NewSelect().Model((*preparationRow)(nil)).Column("id").Where("dataset_id = ? AND state <> ?", dataset, Removed).
		Order("id DESC").Scan(ctx, &ids)
	return ids, fault.Wrap(err, "preparations of dataset %d", dataset)
}

// standing returns which of these preparations may still need their files on a
// worker's disk.
func standing(ctx context.Context, q bun.IDB, ids []int64) (open []int64, err error) {
	err = q.NewSelect().Model((*preparationRow)(nil)).Column("id").
		Where("id IN (?) AND state IN (?)", bun.List(ids), bun.List([]State{Active, Paused, Failed})).Scan(ctx, &open)
	return open, fault.Wrap(err, "open preparations")
}

// update changes a preparation in one of the states; set is what to change.
// The row is locked until tx ends, and comes back as it is then.
func (r *preparationRow) update(ctx context.Context, tx *db.Tx, states []State, now time.Time, set string, args ...any) error {
	var rows []preparationRow
	_, err := tx.NewUpdate().Model(&rows).Set(set, args...).Set("updated_at = ?", now).
		Where("id = ? AND state IN (?)", r.ID, bun.List(states)).Returning("*").Exec(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && len(rows) == 0:
		return fault.New(fault.Conflict, "preparation %d: is no longer in the state this change assumed", r.ID)
	case err != nil:
		return fault.Wrap(err, "change preparation %d", r.ID)
	}
	*r = rows[0]
	return nil
}
