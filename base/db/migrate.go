package db

import (
	"context"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

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
	dialect := goose.DialectSQLite3
	options := []goose.ProviderOption{
		goose.WithAllowOutofOrder(true),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)),
	}
	if d.engine == PostgreSQL {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fault.Wrap(err, "migrate database")
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, d.write.DB, files, options...)
	if err != nil {
		return fault.Wrap(err, "migrate database")
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fault.Wrap(classify(err), "migrate database")
	}
	for _, r := range results {
		d.log.InfoContext(ctx, "migration applied", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}
