package piece

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

type importPartRow struct {
	bun.BaseModel `bun:"table:piece_import_part"`

	ImportID int64  `bun:"import_id,pk"`
	Number   int    `bun:"number,pk"`
	Blob     string `bun:"place"`
	Reaches  int64  `bun:"reaches"`
	TokenID  int64  `bun:"token_id"`
}

type liarRow struct {
	bun.BaseModel `bun:"table:piece_liar"`

	ProjectID int64     `bun:"project_id,pk"`
	TokenID   int64     `bun:"token_id,pk"`
	Reason    string    `bun:"reason"`
	CreatedAt time.Time `bun:"created_at"`
}

// insertImportPart adds the part of a number; number 0 is the first and replaces
// all there are. One that does not follow on the last is fault.Conflict.
func insertImportPart(ctx context.Context, tx *db.Tx, p importPartRow) error {
	if p.Number == 0 {
		if err := deleteImportParts(ctx, tx, p.ImportID); err != nil {
			return err
		}
	}
	n, err := tx.NewSelect().Model((*importPartRow)(nil)).Where("import_id = ?", p.ImportID).Count(ctx)
	if err == nil && int(n) != p.Number {
		return fault.New(fault.Conflict, "import %d: part %d comes after %d parts", p.ImportID, p.Number, n)
	}
	if err == nil {
		_, err = tx.NewInsert().Model(&p).Exec(ctx)
	}
	return fault.Wrap(err, "insert part %d of import %d", p.Number, p.ImportID)
}

func importParts(ctx context.Context, q bun.IDB, id int64) ([]importPartRow, error) {
	var rows []importPartRow
	err := q.NewSelect().Model(&rows).Where("import_id = ?", id).Order("number").Scan(ctx)
	return rows, fault.Wrap(err, "parts of import %d", id)
}

func deleteImportParts(ctx context.Context, tx *db.Tx, id int64) error {
	_, err := tx.NewDelete().Model((*importPartRow)(nil)).Where("import_id = ?", id).Exec(ctx)
	return fault.Wrap(err, "delete the parts of import %d", id)
}

// liar returns why a token is refused, "" if it is not.
func liar(ctx context.Context, q bun.IDB, project, token int64) (string, error) {
	var reasons []string
	err := q.NewSelect().Model((*liarRow)(nil)).Column("reason").Where("project_id = ? AND token_id = ?", project, token).Scan(ctx, &reasons)
	if err != nil || len(reasons) == 0 {
		return "", fault.Wrap(err, "look for token %d", token)
	}
	return reasons[0], nil
}

// insertLiar refuses a token from now on, and takes from it what it owns.
func insertLiar(ctx context.Context, tx *db.Tx, project, token int64, reason string, now time.Time) error {
	row := &liarRow{ProjectID: project, TokenID: token, Reason: reason, CreatedAt: now}
	if _, err := tx.NewInsert().Model(row).On("CONFLICT (project_id, token_id) DO NOTHING").Exec(ctx); err != nil {
		return fault.Wrap(err, "refuse token %d", token)
	}
	_, err := tx.NewDelete().Model((*importPartRow)(nil)).Where(`import_id IN (SELECT p.import_id FROM piece_import_part AS p
		JOIN piece_import AS i ON i.id = p.import_id WHERE i.project_id = ? AND p.token_id = ?)`, project, token).Exec(ctx)
	if err != nil {
		return fault.Wrap(err, "forget the parts of token %d", token)
	}
	_, err = tx.NewUpdate().Model((*importRow)(nil)).
		Set("state = 'waiting', epoch = epoch + 1, lease_until = NULL, next_attempt_at = NULL, attempts = 0, updated_at = ?", now).
		Where("project_id = ? AND token_id = ? AND state = 'running'", project, token).Exec(ctx)
	if err == nil {
		_, err = tx.NewUpdate().Model((*importRow)(nil)).Set("found_index = '', found_by = 0, updated_at = ?", now).
			Where("project_id = ? AND found_by = ? AND state = 'waiting'", project, token).Exec(ctx)
	}
	return fault.Wrap(err, "take the imports of token %d", token)
}

// foundBy returns the ids of imports that are done on the word of a token.
func foundBy(ctx context.Context, q bun.IDB, project, token int64) ([]int64, error) {
	var ids []int64
	err := q.NewSelect().Model((*importRow)(nil)).Column("id").
		Where("project_id = ? AND found_by = ? AND state = 'done'", project, token).Order("id").Scan(ctx, &ids)
	return ids, fault.Wrap(err, "imports done by token %d", token)
}

// vouch notes that the node has computed itself what a token had found.
func vouch(ctx context.Context, tx *db.Tx, im Import, now time.Time) error {
	_, err := tx.NewUpdate().Model((*importRow)(nil)).Set("found_by = 0, updated_at = ?", now).
		Where("id = ? AND state = 'done'", im.ID).Exec(ctx)
	return fault.Wrap(err, "vouch for import %d", im.ID)
}

// reopenImport has an import that was done made again by the node itself.
func reopenImport(ctx context.Context, tx *db.Tx, im Import, reason string, now time.Time) error {
	res, err := tx.NewUpdate().Model((*importRow)(nil)).
		Set("state = 'waiting', reason = ?, own = ?, attempts = 0, piece_id = NULL, epoch = epoch + 1, next_attempt_at = NULL", reason, true).
		Set("found_index = '', found_by = 0, done_bytes = 0, updated_at = ?", now).
		Where("id = ? AND state = 'done' AND epoch = ?", im.ID, im.Epoch).
		Where("NOT EXISTS (SELECT 1 FROM piece_import AS live WHERE live.project_id = ? AND live.place = ? AND live.state IN ('waiting', 'running'))", im.Project, im.Place).
		Exec(ctx)
	return db.One(res, err, "import %d again", im.ID)
}

// markWrong says of a piece that it is not what its CID says.
func markWrong(ctx context.Context, tx *db.Tx, id int64, reason string) error {
	_, err := tx.NewUpdate().Model((*pieceRow)(nil)).Set("wrong = ?", reason).Where("id = ?", id).Exec(ctx)
	return fault.Wrap(err, "mark piece %d", id)
}
