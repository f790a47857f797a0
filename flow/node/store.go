package node

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

type row struct {
	bun.BaseModel `bun:"table:node"`

	ID        string    `bun:"id,pk"`
	Roles     []string  `bun:"roles,type:text"`
	Version   string    `bun:"version"`
	Address   string    `bun:"address"`
	StartedAt time.Time `bun:"started_at"`
	SeenAt    time.Time `bun:"seen_at"`
}

func upsert(ctx context.Context, tx *db.Tx, n Node) error {
	r := &row{ID: n.ID, Roles: n.Roles, Version: n.Version, Address: n.Address, StartedAt: n.StartedAt, SeenAt: n.SeenAt}
	_, err := tx.NewInsert().Model(r).On("CONFLICT (id) DO UPDATE").Set("seen_at = EXCLUDED.seen_at").Returning("NULL").Exec(ctx)
	return fault.Wrap(err, "sign of life of node %s", n.ID)
}

func remove(ctx context.Context, tx *db.Tx, id string) error {
	_, err := tx.NewDelete().Model((*row)(nil)).Where("id = ?", id).Exec(ctx)
	return fault.Wrap(err, "take node %s off the list", id)
}

func sweep(ctx context.Context, tx *db.Tx, before time.Time) error {
	_, err := tx.NewDelete().Model((*row)(nil)).Where("seen_at < ?", before).Exec(ctx)
	return fault.Wrap(err, "sweep the list of nodes")
}

func seenSince(ctx context.Context, q bun.IDB, since time.Time) ([]Node, error) {
	var rows []row
	if err := q.NewSelect().Model(&rows).Where("seen_at >= ?", since).Order("started_at", "id").Scan(ctx); err != nil {
		return nil, fault.Wrap(err, "list nodes")
	}
	nodes := make([]Node, len(rows))
	for i, r := range rows {
		nodes[i] = Node{ID: r.ID, Roles: r.Roles, Version: r.Version, Address: r.Address, StartedAt: r.StartedAt.UTC(), SeenAt: r.SeenAt.UTC()}
	}
	return nodes, nil
}
