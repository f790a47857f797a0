package db

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/fault"
)

// Engine is the database behind a DB.
type Engine string

// The engines. SQLite belongs to one process; PostgreSQL may be shared by many.
const (
	SQLite     Engine = "sqlite"
	PostgreSQL Engine = "postgres"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine Engine
	url    string
	log    *slog.Logger
	write  *bun.DB
	read   *bun.DB // equal to write on PostgreSQL
	bell   *bell
}

// Open opens the database named by a URL:
//
//	sqlite:PATH      a file, created if absent; PATH is taken literally, so it
//	                 may hold any character, and may be relative
//	postgres://…     anything pgx accepts (also postgresql://)
//
// On SQLite there is one writing connection and a pool of reading ones; WAL,
// synchronous FULL, foreign keys on. There is no in-memory database: two pools
// would see two of them. Use a file in a temporary folder.
func Open(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	return open(ctx, url, log, true)
}

// OpenTemporary opens a database that nobody wants any more when the machine
// has lost its power: on SQLite a commit does not wait for the disk. A killed
// process loses nothing that was committed, as with Open.
func OpenTemporary(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	return open(ctx, url, log, false)
}

func open(ctx context.Context, url string, log *slog.Logger, durable bool) (*DB, error) {
	d := &DB{url: url, log: log}
	var err error
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		d.engine = SQLite
		d.bell = newBell()
		d.write, d.read, err = openSQLite(ctx, rest, durable)
	case "postgres", "postgresql":
		d.engine = PostgreSQL
		d.write, d.bell, err = openPostgres(ctx, url)
		d.read = d.write
	default:
		// The URL may hold a password, so it is not repeated.
		return nil, fault.New(fault.Invalid, "database URL: unknown scheme %q; use sqlite:PATH or postgres://…", scheme)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Engine tells which engine is behind the handle. Only the few mechanisms that
// must differ ask (job, event); SQL is the same on both.
func (d *DB) Engine() Engine { return d.engine }

// URL returns the URL that Open was given. It may hold a password.
func (d *DB) URL() string { return d.url }

// Read returns the handle for queries outside a transaction. On SQLite it is a
// pool that cannot write; a write through it is an error, not a surprise.
func (d *DB) Read() bun.IDB { return d.read }

// SQL returns the pool that writes. On SQLite it holds one connection, so using
// it while a transaction is open waits for that transaction to end. It exists
// for job's driver; everyone else uses Tx and Read.
func (d *DB) SQL() *sql.DB { return d.write.DB }

// ReadSQL returns the pool behind Read, for job's driver.
func (d *DB) ReadSQL() *sql.DB { return d.read.DB }

// Close closes every connection. Transactions still open are rolled back.
func (d *DB) Close() error {
	d.bell.close()
	if d.read != d.write {
		if err := d.read.Close(); err != nil {
			return fault.Wrap(err, "close database readers")
		}
	}
	return fault.Wrap(d.write.Close(), "close database")
}
