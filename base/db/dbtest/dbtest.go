// Package dbtest opens databases for tests.
//
// It owns one private PostgreSQL server per test process, started on first use
// on a Unix socket in a temporary folder and gone with the process however that
// ends, and one fresh database per open on either engine. It promises that every
// store test runs on both engines, or says loudly which one it skipped.
// It refuses shared or configured servers: a test never sees another's rows.
package dbtest

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/firth-project/firth/base/db"
)

// Open makes a new empty database with the migrations applied and closes it when
// the test ends.
type Open = func(t *testing.T, migrations ...fs.FS) *db.DB

// Each runs fn once per engine, as the subtests "sqlite" and "postgres". Without
// a PostgreSQL server to start the second is skipped, or fails when
// FIRTH_TEST_POSTGRES=require is set.
func Each(t *testing.T, fn func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB)) {
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite) })
	t.Run("postgres", func(t *testing.T) {
		requireServer(t)
		fn(t, func(t *testing.T, migrations ...fs.FS) *db.DB {
			return Reopen(t, create(t, serverMould(t, migrations)), migrations...)
		})
	})
}

// SQLite opens a new SQLite database in the test's temporary folder.
func SQLite(t *testing.T, migrations ...fs.FS) *db.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "firth.db")
	if err := os.WriteFile(path, sqliteMould(t, migrations), 0o600); err != nil {
		t.Fatal(err)
	}
	return Reopen(t, "sqlite:"+path, migrations...)
}

// Reopen opens an existing database once more, as a second process would. Only
// PostgreSQL is meant to be open twice at the same time.
func Reopen(t *testing.T, url string, migrations ...fs.FS) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.Migrate(t.Context(), migrations...); err != nil {
		t.Fatal(err)
	}
	return d
}
