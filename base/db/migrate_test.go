package db_test

import (
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
)

func set(name, up string) fs.FS {
	return fstest.MapFS{name: {Data: []byte("-- +goose Up\n" + up + "\n")}, "README.md": {Data: []byte("not a migration")}}
}

// Packages come in any order and one after another, as the product grows.
func TestMigrateMergesSets(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		second := set("deep/er/00005_b.sql", "CREATE TABLE b (id {{identity}}, a BIGINT REFERENCES a (id));")
		first := set("00003_a.sql", "CREATE TABLE a (id {{identity}});")
		d := open(t, second, first, first)
		late := set("00004_c.sql", "CREATE TABLE c (id {{identity}});")
		for range 2 {
			if err := d.Migrate(t.Context(), late, first); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		var n int
		if err := d.Read().NewRaw("SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c)").Scan(t.Context(), &n); err != nil {
			t.Error(err)
		}
	})
}

func TestMigrateRefusesSharedNumbers(t *testing.T) {
	d := dbtest.SQLite(t)
	err := d.Migrate(t.Context(), set("00003_a.sql", "SELECT 1;"), set("3_b.sql", "SELECT 1;"))
	if err == nil || !strings.Contains(err.Error(), "00003_a.sql") || !strings.Contains(err.Error(), "3_b.sql") {
		t.Errorf("err = %v", err)
	}
	if err := d.Migrate(t.Context(), set("00003_a.sql", "SELECT nonsense FROM nowhere;")); err == nil || !strings.Contains(err.Error(), "00003_a.sql") {
		t.Errorf("broken migration: %v", err)
	}
}

// Processes of one deployment start together.
func TestMigrateTogether(t *testing.T) {
	url := dbtest.PostgresURL(t)
	var all sync.WaitGroup
	for range 3 {
		d := dbtest.Reopen(t, url)
		all.Go(func() {
			if err := d.Migrate(t.Context(), things); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
