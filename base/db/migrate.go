package db

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"

	"github.com/firth-project/firth/base/fault"
)

// Migrate brings the schema up to date with the union of the given sets. A set
// is any file system; each *.sql file in it, at any depth, is a goose migration
// (00010_what.sql). Numbers are global: two files with one number are refused.
// In the text the word {{identity}} stands for the type and constraint of a
// generated BIGINT primary key, which is the one thing the engines spell
// differently.
//
// Migrate may be called again, with more sets or with other ones; what has been
// applied is skipped, and a lower number that arrives late is applied. On
// PostgreSQL processes that start together wait for each other.
func (d *DB) Migrate(ctx context.Context, sets ...fs.FS) error {
	files, err := mergeMigrations(d.engine, sets)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return nil
	}
	return fault.Wrap(d.Alone(ctx, func(ctx context.Context) error { return d.up(ctx, files) }), "migrate database")
}

func (d *DB) up(ctx context.Context, files migrations) error {
	dialect := goose.DialectSQLite3
	if d.engine == PostgreSQL {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, d.write.DB, files,
		goose.WithAllowOutofOrder(true),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	if partial := (*goose.PartialError)(nil); errors.As(err, &partial) {
		return fault.Wrap(classify(partial.Err), "%s", partial.Failed.Source.Path)
	}
	if err != nil {
		return classify(err)
	}
	for _, r := range results {
		d.log.DebugContext(ctx, "migration applied", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}

// alone is the number of PostgreSQL's advisory lock that Alone takes.
const alone = 0x6669727468 // "firth"

// Alone runs fn while no other process runs something alone on this database;
// it waits for its turn. It is for changes of the schema. On SQLite, which
// belongs to one process, it just runs fn.
func (d *DB) Alone(ctx context.Context, fn func(ctx context.Context) error) error {
	if d.engine == SQLite {
		return fn(ctx)
	}
	conn, err := d.write.DB.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", alone); err != nil {
		return classify(err)
	}
	// The lock belongs to the session, and the session goes back to the pool.
	defer conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", alone)
	return fn(ctx)
}
