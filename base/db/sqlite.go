package db

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/firth-project/firth/base/fault"
)

// sqliteReaders bounds the reading connections: each costs a page cache (2 MB)
// and they share the processors with everything else.
const sqliteReaders = 8

func openSQLite(ctx context.Context, path string, durable bool) (write, read *bun.DB, err error) {
	if path == "" || path == ":memory:" || strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///") {
		return nil, nil, fault.New(fault.Invalid, "database URL: sqlite needs the path of a file, got %q", path)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, nil, fault.Wrap(err, "open database %s", path)
	}
	// The writer comes first: it creates the file and turns WAL on, which a
	// connection that may only read could not.
	if write, err = openSQLitePool(ctx, path, sqliteDSN(path, "immediate", durable, false)); err != nil {
		return nil, nil, err
	}
	write.SetMaxOpenConns(1)
	if read, err = openSQLitePool(ctx, path, sqliteDSN(path, "deferred", durable, true)); err != nil {
		write.Close()
		return nil, nil, err
	}
	read.SetMaxOpenConns(sqliteReaders)
	read.SetMaxIdleConns(sqliteReaders)
	return write, read, nil
}

func openSQLitePool(ctx context.Context, path, dsn string) (*bun.DB, error) {
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fault.Wrap(err, "open database %s", path)
	}
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, fault.Wrap(classify(err), "open database %s", path)
	}
	return bun.NewDB(pool, sqlitedialect.New()), nil
}

// sqliteDSN escapes the path into a file: URI, so that ?, # and % in a folder's
// name stay what they are.
func sqliteDSN(path, lock string, durable, readOnly bool) string {
	synchronous := "synchronous(FULL)"
	if !durable {
		synchronous = "synchronous(OFF)"
	}
	q := url.Values{
		"_pragma": {
			"busy_timeout(10000)",
			"journal_mode(WAL)",
			synchronous,
			"foreign_keys(1)",
		},
		"_txlock": {lock},
		// Without these the driver would write times as time.Time.String, which
		// does not sort with what bun writes, and hand them back in local time.
		"_timezone":    {"UTC"},
		"_time_format": {"sqlite"},
	}
	if readOnly {
		q.Add("_pragma", "query_only(1)")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}
