package piece

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

type importRow struct {
	bun.BaseModel `bun:"table:piece_import"`

	ID          int64       `bun:"id,pk,autoincrement"`
	ProjectID   int64       `bun:"project_id"`
	Place       string      `bun:"place"`
	Copied      bool        `bun:"copied"`
	PieceCID    string      `bun:"piece_cid"`
	Root        string      `bun:"root"`
	State       ImportState `bun:"state"`
	Reason      string      `bun:"reason"`
	Attempts    int         `bun:"attempts"`
	NextAttempt *time.Time  `bun:"next_attempt_at"`
	DoneBytes   int64       `bun:"done_bytes"`
	Size        int64       `bun:"size"`
	FileMtime   int64       `bun:"file_mtime"`
	Worker      string      `bun:"worker"`
	Epoch       int64       `bun:"epoch"`
	LeaseUntil  *time.Time  `bun:"lease_until"`
	PieceID     *int64      `bun:"piece_id"`
	Version     string      `bun:"version"`
	TokenID     int64       `bun:"token_id"`
	Own         bool        `bun:"own"`
	Work        string      `bun:"work"`
	KeptBytes   int64       `bun:"kept_bytes"`
	FoundIndex  string      `bun:"found_index"`
	FoundRoot   string      `bun:"found_root"`
	FoundAt     int64       `bun:"found_at"`
	FoundBy     int64       `bun:"found_by"`
	FaultKind   string      `bun:"fault_kind"`
	Known       bool        `bun:"known"`
	Note        string      `bun:"note"`
	Login       []byte      `bun:"login"`
	CreatedAt   time.Time   `bun:"created_at"`
	UpdatedAt   time.Time   `bun:"updated_at"`
}

func (r importRow) imported() Import {
	im := Import{
		ID: r.ID, Project: r.ProjectID, Place: r.Place, Copy: r.Copied, PieceCID: r.PieceCID, Root: r.Root, State: r.State,
		Reason: r.Reason, Attempts: r.Attempts, NextAttempt: timeOf(r.NextAttempt), DoneBytes: r.DoneBytes, Size: r.Size,
		Worker: r.Worker, Epoch: r.Epoch, LeaseUntil: timeOf(r.LeaseUntil), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		Version: r.Version, Committed: r.FoundIndex != "", FaultKind: r.FaultKind, Known: r.Known, Note: r.Note,
		mtime: r.FileMtime, token: r.TokenID, own: r.Own, work: r.Work, kept: r.KeptBytes, login: r.Login,
		found: found{index: r.FoundIndex, root: r.FoundRoot, at: r.FoundAt, by: r.FoundBy},
	}
	if r.PieceID != nil {
		im.Piece = *r.PieceID
	}
	return im
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// insertImport makes an import, unless its place is being imported: then made is
// false and that one is returned.
func insertImport(ctx context.Context, tx *db.Tx, project int64, n NewImport, sealed []byte, login bool, now time.Time) (im Import, made bool, err error) {
	row := &importRow{
		ProjectID: project, Place: n.Place, Copied: n.Copy, PieceCID: n.PieceCID, Root: n.Root, State: ImportWaiting,
		CreatedAt: now, UpdatedAt: now, Login: sealed, Own: login, // who is apart learns no passwords
	}
	res, err := tx.NewInsert().Model(row).On("CONFLICT (project_id, place) WHERE state IN ('waiting', 'running') DO NOTHING").Returning("id").Exec(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return im, false, fault.Wrap(err, "insert import of %s", n.Place)
	}
	if count, _ := res.RowsAffected(); err == nil && count > 0 {
		return row.imported(), true, nil
	}
	var live importRow
	err = tx.NewSelect().Model(&live).Where("project_id = ? AND place = ? AND state IN ('waiting', 'running')", project, n.Place).Scan(ctx)
	return live.imported(), false, fault.Wrap(err, "import of %s", n.Place)
}

// importByID finds an import of a project; 0 is any.
func importByID(ctx context.Context, q bun.IDB, project, id int64) (Import, error) {
	var row importRow
	sel := q.NewSelect().Model(&row).Where("id = ?", id)
	if project != 0 {
		sel.Where("project_id = ?", project)
	}
	err := sel.Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Import{}, fault.New(fault.NotFound, "import %d: there is none with that id", id)
	}
	return row.imported(), fault.Wrap(err, "import %d", id)
}

func imports(ctx context.Context, q bun.IDB, project int64, f ImportFilter) ([]Import, error) {
	var rows []importRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.State != "" {
		sel.Where("state = ?", f.State)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	all := make([]Import, len(rows))
	for i, r := range rows {
		all[i] = r.imported()
	}
	return all, fault.Wrap(err, "list imports of project %d", project)
}

// claimable is an import that nobody owns: it waits and its time has come, or
// its owner let the lease end.
const claimable = "(state = 'waiting' AND (next_attempt_at IS NULL OR next_attempt_at <= ?) OR state = 'running' AND lease_until <= ?)"

// claimImport makes worker the owner of an import until a time; token is whose,
// 0 the node's. If it has an owner or is over, the error is fault.Conflict.
func claimImport(ctx context.Context, tx *db.Tx, id, token int64, worker string, now, until time.Time) (Import, error) {
	var rows []importRow
	_, err := tx.NewUpdate().Model(&rows).
		Set("token_id = ?", token).
		Set("state = 'running', worker = ?, epoch = epoch + 1, attempts = attempts + 1, lease_until = ?, next_attempt_at = NULL", worker, until).
		Set("reason = '', fault_kind = '', done_bytes = 0, updated_at = ?", now).
		Where("id = ? AND "+claimable, id, now, now).Returning("*").Exec(ctx)
	if err != nil {
		return Import{}, fault.Wrap(err, "claim import %d", id)
	}
	if len(rows) == 0 {
		return Import{}, fault.New(fault.Conflict, "import %d: is owned or over", id)
	}
	return rows[0].imported(), nil
}

// nextImport returns the id of an import that a node of role commp may claim, 0
// if there is none: whose CAR nobody has read yet, and not the node's alone.
func nextImport(ctx context.Context, q bun.IDB, project int64, now time.Time) (int64, error) {
	var ids []int64
	err := q.NewSelect().Model((*importRow)(nil)).Column("id").
		Where("project_id = ? AND own = ? AND found_index = '' AND "+claimable, project, false, now, now).Order("id").Limit(1).Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return 0, fault.Wrap(err, "next import of project %d", project)
	}
	return ids[0], nil
}

// owned is a change by the owner of an import, shown by its epoch: it is lost
// when somebody else claimed it, whether the lease has ended or not.
func owned(ctx context.Context, tx *db.Tx, im Import, change func(*bun.UpdateQuery)) error {
	up := tx.NewUpdate().Model((*importRow)(nil)).Where("id = ? AND epoch = ? AND state = 'running'", im.ID, im.Epoch)
	change(up)
	res, err := up.Exec(ctx)
	return db.One(res, err, "import %d of epoch %d", im.ID, im.Epoch)
}

// beatImport renews a lease and notes how far the import is.
func beatImport(ctx context.Context, tx *db.Tx, im Import, now, until time.Time) error {
	return owned(ctx, tx, im, func(up *bun.UpdateQuery) {
		up.Set("done_bytes = ?, size = ?, file_mtime = ?, version = ?, lease_until = ?, updated_at = ?",
			im.DoneBytes, im.Size, im.mtime, im.Version, until, now)
		up.Set("reason = ?, work = ?", im.Reason, im.work)
	})
}

// touchImport renews a lease.
func touchImport(ctx context.Context, tx *db.Tx, im Import, now, until time.Time) error {
	return owned(ctx, tx, im, func(up *bun.UpdateQuery) { up.Set("lease_until = ?, updated_at = ?", until, now) })
}

// keptImport notes how much of the copy is durable.
func keptImport(ctx context.Context, tx *db.Tx, im Import, now time.Time) error {
	return owned(ctx, tx, im, func(up *bun.UpdateQuery) { up.Set("kept_bytes = ?, updated_at = ?", im.kept, now) })
}

// importWorks reports whether an import that is not over copies into a file of
// that name.
func importWorks(ctx context.Context, q bun.IDB, name string) (bool, error) {
	live, err := q.NewSelect().Model((*importRow)(nil)).Where("work = ? AND state IN ('waiting', 'running')", name).Exists(ctx)
	return live, fault.Wrap(err, "look for the import of %s", name)
}

// saveImport writes the state its owner leaves an import in.
func saveImport(ctx context.Context, tx *db.Tx, im Import, now time.Time) error {
	return owned(ctx, tx, im, func(up *bun.UpdateQuery) {
		up.Set("state = ?, reason = ?, attempts = ?, done_bytes = ?, size = ?, lease_until = NULL, updated_at = ?",
			im.State, im.Reason, im.Attempts, im.DoneBytes, im.Size, now)
		up.Set("own = ?, found_index = ?, found_root = ?, found_at = ?, found_by = ?", im.own, im.found.index, im.found.root, im.found.at, im.found.by)
		up.Set("fault_kind = ?, known = ?, note = ?", im.FaultKind, im.Known, im.Note)
		if im.over() {
			up.Set("login = NULL")
		}
		if !im.NextAttempt.IsZero() {
			up.Set("next_attempt_at = ?", im.NextAttempt)
		}
		if im.Piece != 0 {
			up.Set("piece_id = ?", im.Piece)
		}
	})
}

// endImport ends an import whoever owns it.
func endImport(ctx context.Context, tx *db.Tx, im Import, now time.Time) error {
	res, err := tx.NewUpdate().Model((*importRow)(nil)).Set("state = ?, reason = ?, fault_kind = ?, epoch = epoch + 1, lease_until = NULL, login = NULL, updated_at = ?", im.State, im.Reason, im.FaultKind, now).
		Where("id = ? AND epoch = ? AND state IN ('waiting', 'running')", im.ID, im.Epoch).Exec(ctx)
	return db.One(res, err, "end import %d", im.ID)
}
