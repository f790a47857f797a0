package account

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

type projectRow struct {
	bun.BaseModel `bun:"table:account_project"`

	ID        int64     `bun:"id,pk"`
	Name      string    `bun:"name"`
	CreatedAt time.Time `bun:"created_at"`
}

type tokenRow struct {
	bun.BaseModel `bun:"table:account_token"`

	ID         int64      `bun:"id,pk,autoincrement"`
	ProjectID  int64      `bun:"project_id"`
	Name       string     `bun:"name"`
	Prefix     string     `bun:"prefix"`
	Hash       []byte     `bun:"hash"`
	Scopes     []Scope    `bun:"scopes,type:text"`
	ExpiresAt  *time.Time `bun:"expires_at"`
	RevokedAt  *time.Time `bun:"revoked_at"`
	LastUsedAt *time.Time `bun:"last_used_at"`
	CreatedAt  time.Time  `bun:"created_at"`
}

func (r tokenRow) token() Token {
	return Token{
		ID: r.ID, Project: r.ProjectID, Name: r.Name, Prefix: r.Prefix, Scopes: r.Scopes,
		ExpiresAt: utc(r.ExpiresAt), RevokedAt: utc(r.RevokedAt), LastUsedAt: utc(r.LastUsedAt), CreatedAt: r.CreatedAt.UTC(),
	}
}

// utc undoes SQLite's habit of handing times back in local time.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// insertDefaultProject reports whether this call made the row: its primary key
// is fixed, so of several only one can.
func insertDefaultProject(ctx context.Context, tx *db.Tx, now time.Time) (bool, error) {
	res, err := tx.NewInsert().Model(&projectRow{ID: DefaultProject, Name: "default", CreatedAt: now}).
		On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func insertToken(ctx context.Context, tx *db.Tx, t Token, hash []byte) (int64, error) {
	row := &tokenRow{
		ProjectID: t.Project, Name: t.Name, Prefix: t.Prefix, Hash: hash, Scopes: t.Scopes,
		ExpiresAt: utc(t.ExpiresAt), CreatedAt: t.CreatedAt,
	}
	_, err := tx.NewInsert().Model(row).Returning("id").Exec(ctx)
	return row.ID, err
}

func tokenByHash(ctx context.Context, q bun.IDB, hash []byte) (Token, error) {
	var row tokenRow
	err := q.NewSelect().Model(&row).Where("hash = ?", hash).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, fault.New(fault.NotFound, "token: no such hash")
	}
	if err != nil {
		return Token{}, fmt.Errorf("look up a token: %w", err)
	}
	return row.token(), nil
}

func tokensOf(ctx context.Context, q bun.IDB, project int64) ([]Token, error) {
	var rows []tokenRow
	if err := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list tokens of project %d: %w", project, err)
	}
	tokens := make([]Token, len(rows))
	for i, r := range rows {
		tokens[i] = r.token()
	}
	return tokens, nil
}

func touchToken(ctx context.Context, tx *db.Tx, id int64, now time.Time) error {
	_, err := tx.NewUpdate().Model((*tokenRow)(nil)).Set("last_used_at = ?", now).Where("id = ?", id).Exec(ctx)
	return fault.Wrap(err, "note the use of token %d", id)
}

func revokeToken(ctx context.Context, tx *db.Tx, project, id int64, now time.Time) error {
	res, err := tx.NewUpdate().Model((*tokenRow)(nil)).Set("revoked_at = COALESCE(revoked_at, ?)", now).
		Where("id = ? AND project_id = ?", id, project).Exec(ctx)
	if err != nil {
		return fault.Wrap(err, "revoke token %d", id)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fault.New(fault.NotFound, "token %d: this project has none with that id", id))
	}
	return nil
}
