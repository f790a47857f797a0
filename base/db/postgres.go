package db

import (
	"context"
	"crypto/rand"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/firth-project/firth/base/fault"
)

// postgresConns bounds the connections of one process; PostgreSQL allows 100
// by default and several processes share it.
const postgresConns = 16

func openPostgres(ctx context.Context, url string) (*bun.DB, *bell, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "database URL: %w", err)
	}
	// bun writes arguments into the text, so a cache of prepared statements
	// would never hit and cost a second round trip for every query.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.RuntimeParams["timezone"] = "UTC" // CURRENT_TIMESTAMP in a TIMESTAMP column
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, nil, fault.Wrap(fault.Mark(fault.Unavailable, err), "open database %s on %s", cfg.Database, cfg.Host)
	}
	d := bun.NewDB(pool, pgdialect.New())
	return d, newPostgresBell(d, cfg, rand.Text()), nil
}
