package db

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/firth-project/firth/base/fault"
)

// SQLite result codes, https://www.sqlite.org/rescode.html.
const (
	sqliteBusy       = 5
	sqliteFull       = 13
	sqlitePrimaryKey = 1555
	sqliteUnique     = 2067
)

// PostgreSQL condition classes and codes, appendix A of its manual.
const (
	pgUniqueViolation   = "23505"
	pgClassRollback     = "40" // deadlock, serialization failure
	pgClassResources    = "53" // disk full, out of memory, too many connections
	pgClassConnection   = "08"
	pgClassIntervention = "57" // shutdown, crash of another backend
)

// IsConflict reports whether err is the violation of a unique index or primary
// key, on either engine. On PostgreSQL the transaction is over then: insert with
// ON CONFLICT DO NOTHING where going on matters.
func IsConflict(err error) bool {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return pg.Code == pgUniqueViolation
	}
	if lite := (*sqlite.Error)(nil); errors.As(err, &lite) {
		return lite.Code() == sqliteUnique || lite.Code() == sqlitePrimaryKey
	}
	return false
}

// Now cuts a time to what both engines keep: UTC, microseconds. A value so cut
// is equal (==) to itself read back.
func Now(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// classify gives a driver's error the kind that its code means. Errors that
// carry a kind already keep it.
func classify(err error) error {
	if known := (*fault.Error)(nil); err == nil || errors.As(err, &known) {
		return err
	}
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		switch {
		case pg.Code == pgUniqueViolation, strings.HasPrefix(pg.Code, pgClassRollback):
			return fault.Mark(fault.Conflict, err)
		case strings.HasPrefix(pg.Code, pgClassResources):
			return fault.Mark(fault.Exhausted, err)
		case strings.HasPrefix(pg.Code, pgClassConnection), strings.HasPrefix(pg.Code, pgClassIntervention):
			return fault.Mark(fault.Unavailable, err)
		}
		return err
	}
	if lite := (*sqlite.Error)(nil); errors.As(err, &lite) {
		switch {
		case IsConflict(err):
			return fault.Mark(fault.Conflict, err)
		case lite.Code()&0xff == sqliteFull:
			return fault.Mark(fault.Exhausted, err)
		case lite.Code()&0xff == sqliteBusy:
			return fault.Mark(fault.Unavailable, err)
		}
		return err
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fault.Mark(fault.NotFound, err)
	}
	if connect := (*pgconn.ConnectError)(nil); errors.As(err, &connect) || errors.Is(err, driver.ErrBadConn) {
		return fault.Mark(fault.Unavailable, err)
	}
	return err
}
