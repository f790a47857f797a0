package piece

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

type planRow struct {
	bun.BaseModel `bun:"table:piece_plan"`

	ID        int64     `bun:"id,pk,autoincrement"`
	ProjectID int64     `bun:"project_id"`
	Label     string    `bun:"label"`
	Roots     []Root    `bun:"roots,type:text"`
	State     PlanState `bun:"state"`
	Reason    string    `bun:"reason"`
	CreatedAt time.Time `bun:"created_at"`
	UpdatedAt time.Time `bun:"updated_at"`
}

type pieceRow struct {
	bun.BaseModel `bun:"table:piece"`

	ID         int64     `bun:"id,pk,autoincrement"`
	ProjectID  int64     `bun:"project_id"`
	CID        string    `bun:"piece_cid"`
	CIDv1      string    `bun:"piece_cid_v1"`
	Root       string    `bun:"root"`
	CARSize    int64     `bun:"car_size"`
	PaddedSize int64     `bun:"padded_size"`
	Blocks     int64     `bun:"blocks"`
	Cached     bool      `bun:"cached"`
	CAR        string    `bun:"car"`
	CARTime    int64     `bun:"car_mtime"`
	CARAt      int64     `bun:"car_at"`
	CARLength  int64     `bun:"car_length"`
	Wrong      string    `bun:"wrong"`
	CreatedAt  time.Time `bun:"created_at"`
}

func (r pieceRow) piece() Piece {
	return Piece{
		ID: r.ID, Project: r.ProjectID, CID: r.CID, CIDv1: r.CIDv1, Root: r.Root, CARSize: r.CARSize,
		PaddedSize: r.PaddedSize, Blocks: r.Blocks, Cached: r.Cached, CAR: r.CAR, CARTime: r.CARTime,
		CARAt: r.CARAt, CARLength: r.CARLength, Wrong: r.Wrong,
		CreatedAt: r.CreatedAt.UTC(),
	}
}

type partRow struct {
	bun.BaseModel `bun:"table:piece_part"`

	PlanID  int64 `bun:"plan_id,pk"`
	Part    int   `bun:"part,pk"`
	PieceID int64 `bun:"piece_id"`
}

func insertPlan(ctx context.Context, tx *db.Tx, project int64, label string, roots []Root, now time.Time) (int64, error) {
	row := &planRow{ProjectID: project, Label: label, Roots: roots, State: Planned, CreatedAt: now, UpdatedAt: now}
	_, err := tx.NewInsert().Model(row).Returning("id").Exec(ctx)
	return row.ID, fault.Wrap(err, "insert plan %s", label)
}

func planByID(ctx context.Context, q bun.IDB, id int64) (Plan, error) {
	var row planRow
	err := q.NewSelect().Model(&row).ExcludeColumn("roots").Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Plan{}, fault.New(fault.NotFound, "plan %d: there is none with that id", id)
	}
	if err != nil {
		return Plan{}, fault.Wrap(err, "plan %d", id)
	}
	p := Plan{
		ID: row.ID, Project: row.ProjectID, Label: row.Label, State: row.State, Reason: row.Reason,
		CreatedAt: row.CreatedAt.UTC(), UpdatedAt: row.UpdatedAt.UTC(),
	}
	if p.State == Packed {
		p.Pieces, err = piecesOf(ctx, q, id)
	}
	return p, err
}

// rootsOf returns the DAGs of a plan, which only its packer needs: there may be
// many.
func rootsOf(ctx context.Context, q bun.IDB, plan int64) ([]Root, error) {
	var row planRow
	err := q.NewSelect().Model(&row).Column("roots").Where("id = ?", plan).Scan(ctx)
	return row.Roots, fault.Wrap(err, "roots of plan %d", plan)
}

func movePlan(ctx context.Context, tx *db.Tx, id int64, from, to PlanState, reason string, now time.Time) error {
	res, err := tx.NewUpdate().Model((*planRow)(nil)).Set("state = ?, reason = ?, updated_at = ?", to, reason, now).
		Where("id = ? AND state = ?", id, from).Exec(ctx)
	return db.One(res, err, "plan %d from %s to %s", id, from, to)
}

// insertPart makes a piece a part of a plan.
func insertPart(ctx context.Context, tx *db.Tx, plan int64, part int, p *Piece) error {
	if err := insertPiece(ctx, tx, p); err != nil {
		return err
	}
	_, err := tx.NewInsert().Model(&partRow{PlanID: plan, Part: part, PieceID: p.ID}).Exec(ctx)
	return fault.Wrap(err, "insert part %d of plan %d", part, plan)
}

// insertPiece makes a piece. One that the project already has is taken as it is;
// that its CAR is kept from now on, or where it stands, is noted.
func insertPiece(ctx context.Context, tx *db.Tx, p *Piece) error {
	row := &pieceRow{
		ProjectID: p.Project, CID: p.CID, CIDv1: p.CIDv1, Root: p.Root, CARSize: p.CARSize,
		PaddedSize: p.PaddedSize, Blocks: p.Blocks, Cached: p.Cached, CAR: p.CAR, CARTime: p.CARTime,
		CARAt: p.CARAt, CARLength: p.CARLength, CreatedAt: p.CreatedAt,
	}
	insert := tx.NewInsert().Model(row).On("CONFLICT (project_id, piece_cid) DO UPDATE").
		Set("cached = piece_row.cached OR EXCLUDED.cached, wrong = ''")
	if p.CAR != "" {
		insert.Set("car = EXCLUDED.car, car_mtime = EXCLUDED.car_mtime, car_at = EXCLUDED.car_at, car_length = EXCLUDED.car_length")
	}
	if _, err := insert.Returning("*").Exec(ctx); err != nil {
		return fault.Wrap(err, "insert piece %s", p.CID)
	}
	*p = row.piece()
	return nil
}

func pieceByID(ctx context.Context, q bun.IDB, project, id int64) (Piece, error) {
	return onePiece(ctx, q.NewSelect().Where("id = ? AND project_id = ?", id, project), id)
}

// pieceByCID finds a piece by v2, or by v1 where v2 is empty; of any project
// where project is 0.
func pieceByCID(ctx context.Context, q bun.IDB, project int64, v2, v1 string) (Piece, error) {
	sel := q.NewSelect().Order("id DESC").Limit(1)
	if project != 0 {
		sel.Where("project_id = ?", project)
	}
	if v2 != "" {
		return onePiece(ctx, sel.Where("piece_cid = ?", v2), v2)
	}
	return onePiece(ctx, sel.Where("piece_cid_v1 = ?", v1), v1)
}

func onePiece(ctx context.Context, sel *bun.SelectQuery, ref any) (Piece, error) {
	var row pieceRow
	err := sel.Model(&row).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Piece{}, fault.New(fault.NotFound, "piece %v: there is none here; `firth piece ls` lists them", ref)
	}
	return row.piece(), fault.Wrap(err, "piece %v", ref)
}

func piecesOf(ctx context.Context, q bun.IDB, plan int64) ([]Piece, error) {
	var rows []pieceRow
	err := q.NewSelect().Model(&rows).Join("JOIN piece_part AS part ON part.piece_id = piece_row.id").
		Where("part.plan_id = ?", plan).OrderExpr("part.part").Scan(ctx)
	return mapped(rows), fault.Wrap(err, "pieces of plan %d", plan)
}

func pieces(ctx context.Context, q bun.IDB, project int64, f Filter) ([]Piece, error) {
	var rows []pieceRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.Plan != 0 {
		sel.Where("id IN (SELECT piece_id FROM piece_part WHERE plan_id = ?)", f.Plan)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	return mapped(rows), fault.Wrap(err, "list pieces of project %d", project)
}

func piecesAfter(ctx context.Context, q bun.IDB, after int64, limit int) ([]Piece, error) {
	var rows []pieceRow
	err := q.NewSelect().Model(&rows).Where("id > ?", after).Order("id").Limit(pageLimit(limit)).Scan(ctx)
	return mapped(rows), fault.Wrap(err, "list pieces after %d", after)
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

func mapped(rows []pieceRow) []Piece {
	all := make([]Piece, len(rows))
	for i, r := range rows {
		all[i] = r.piece()
	}
	return all
}
