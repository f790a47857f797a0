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

type chunkRow struct {
	bun.BaseModel `bun:"table:dataset_chunk"`

	ID            int64      `bun:"id,pk,autoincrement"`
	ProjectID     int64      `bun:"project_id"`
	PreparationID int64      `bun:"preparation_id"`
	Ordinal       int64      `bun:"ordinal"`
	Last          bool       `bun:"last"`
	State         ChunkState `bun:"state"`
	Epoch         int64      `bun:"epoch"` // grows whenever a worker takes it; only the latest may write
	Worker        string     `bun:"worker"`
	Reason        string     `bun:"reason"`
	Fault         string     `bun:"fault"` // kind of the reason
	Attempt       int64      `bun:"attempt"`
	NextAttempt   *time.Time `bun:"next_attempt_at"`
	Files         int64      `bun:"files"`
	Bytes         int64      `bun:"bytes"`
	BaseBytes     int64      `bun:"base_bytes"` // done when the worker took it
	DoneFiles     int64      `bun:"done_files"`
	DoneBytes     int64      `bun:"done_bytes"`
	Skipped       int64      `bun:"skipped"`
	First         []byte     `bun:"first_path"`
	Final         []byte     `bun:"final_path"`
	List          string     `bun:"list"`    // blob: the catalog of its slice as scanned
	Outcome       string     `bun:"outcome"` // blob: the same as packed
	Pieces        []int64    `bun:"pieces,type:text"`
	CARs          []string   `bun:"cars,type:text"` // paths of exported CARs
	Root          string     `bun:"root"`           // canonical root of the dataset, of the last chunk
	StartedAt     *time.Time `bun:"started_at"`
	FinishedAt    *time.Time `bun:"finished_at"`
	UpdatedAt     time.Time  `bun:"updated_at"`
}

func (r chunkRow) chunk() Chunk {
	return Chunk{
		ID: r.ID, Project: r.ProjectID, Preparation: r.PreparationID, Ordinal: r.Ordinal, Last: r.Last, State: r.State,
		Reason: r.Reason, Fault: fault.KindNamed(r.Fault), Attempt: r.Attempt, NextAttempt: utc(r.NextAttempt), Worker: r.Worker, Files: r.Files, Bytes: r.Bytes,
		DoneFiles: r.DoneFiles, DoneBytes: r.DoneBytes, Skipped: r.Skipped, First: string(r.First), Final: string(r.Final),
		Pieces: r.Pieces, StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

func insertChunk(ctx context.Context, tx *db.Tx, row *chunkRow) error {
	_, err := tx.NewInsert().Model(row).Returning("id").Exec(ctx)
	return fault.Wrap(err, "insert chunk %d of preparation %d", row.Ordinal, row.PreparationID)
}

// rowOfChunk returns a chunk of any project, for jobs.
func rowOfChunk(ctx context.Context, q bun.IDB, id int64) (chunkRow, error) {
	return oneChunk(ctx, q.NewSelect().Where("id = ?", id), id)
}

func chunkByID(ctx context.Context, q bun.IDB, project, id int64) (chunkRow, error) {
	return oneChunk(ctx, q.NewSelect().Where("id = ? AND project_id = ?", id, project), id)
}

func chunkByOrdinal(ctx context.Context, q bun.IDB, preparation, ordinal int64) (chunkRow, error) {
	return oneChunk(ctx, q.NewSelect().Where("preparation_id = ? AND ordinal = ?", preparation, ordinal), ordinal)
}

func oneChunk(ctx context.Context, sel *bun.SelectQuery, id int64) (chunkRow, error) {
	var row chunkRow
	err := sel.Model(&row).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fault.New(fault.NotFound, "chunk %d: this project has none with that id", id)
	}
	return row, fault.Wrap(err, "chunk %d", id)
}

// chunksAfter returns chunks of a preparation in order, those in one of the
// states or all.
func chunksAfter(ctx context.Context, q bun.IDB, preparation, after int64, limit int64, states ...ChunkState) ([]chunkRow, error) {
	var rows []chunkRow
	sel := q.NewSelect().Model(&rows).Where("preparation_id = ? AND ordinal > ?", preparation, after).Order("ordinal").Limit(limit)
	if len(states) > 0 {
		sel.Where("state IN (?)", bun.List(states))
	}
	err := sel.Scan(ctx)
	return rows, fault.Wrap(err, "chunks of preparation %d", preparation)
}

// update changes a chunk in one of the states and, where epoch is not negative,
// still in this worker's hands. It comes back as it is then.
func (r *chunkRow) update(ctx context.Context, tx *db.Tx, states []ChunkState, epoch int64, now time.Time, set string, args ...any) error {
	var rows []chunkRow
	upd := tx.NewUpdate().Model(&rows).Set(set, args...).Set("updated_at = ?", now).
		Where("id = ? AND state IN (?)", r.ID, bun.List(states)).Returning("*")
	if epoch >= 0 {
		upd.Where("epoch = ?", epoch)
	}
	_, err := upd.Exec(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && len(rows) == 0:
		return fault.New(fault.Conflict, "chunk %d: is no longer in the state this change assumed", r.ID)
	case err != nil:
		return fault.Wrap(err, "change chunk %d", r.ID)
	}
	*r = rows[0]
	return nil
}

// stateCount is what the chunks of a preparation in one state hold.
type stateCount struct {
	State     ChunkState
	Chunks    int64
	Files     int64
	Bytes     int64
	DoneFiles int64
	DoneBytes int64
}

func countChunks(ctx context.Context, q bun.IDB, preparation int64) ([]stateCount, error) {
	var counts []stateCount
	err := q.NewSelect().Model((*chunkRow)(nil)).Column("state").
		ColumnExpr("COUNT(*) AS chunks, CAST(SUM(files) AS BIGINT) AS files, CAST(SUM(bytes) AS BIGINT) AS bytes").
		ColumnExpr("CAST(SUM(done_files) AS BIGINT) AS done_files, CAST(SUM(done_bytes) AS BIGINT) AS done_bytes").
		Where("preparation_id = ?", preparation).Group("state").Scan(ctx, &counts)
	return counts, fault.Wrap(err, "count the chunks of preparation %d", preparation)
}

// waitingChunk returns the first chunk that has a reason and a next attempt, by
// its ordinal; one of ordinal 0 if there is none.
func waitingChunk(ctx context.Context, q bun.IDB, preparation int64) (row chunkRow, err error) {
	err = q.NewSelect().Model(&row).Where("preparation_id = ? AND state IN (?) AND next_attempt_at IS NOT NULL AND reason <> ''",
		preparation, bun.List([]ChunkState{ChunkPacking, ChunkFailed})).Order("ordinal").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return chunkRow{}, nil
	}
	return row, fault.Wrap(err, "waiting chunks of preparation %d", preparation)
}

// recentChunks returns chunks that were worked on since a time.
func recentChunks(ctx context.Context, q bun.IDB, preparation int64, since time.Time) ([]chunkRow, error) {
	var rows []chunkRow
	err := q.NewSelect().Model(&rows).Where("preparation_id = ? AND updated_at > ? AND state IN (?)",
		preparation, since, bun.List([]ChunkState{ChunkPacking, ChunkPacked})).Limit(1000).Scan(ctx)
	return rows, fault.Wrap(err, "recent chunks of preparation %d", preparation)
}
