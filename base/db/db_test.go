package db_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
)

var things = fstest.MapFS{"migrations/00001_thing.sql": {Data: []byte(`-- +goose Up
CREATE TABLE db_thing (
    id {{identity}},
    name TEXT NOT NULL,
    body BYTEA,
    pinned BOOLEAN NOT NULL DEFAULT FALSE,
    info TEXT NOT NULL,
    at TIMESTAMP NOT NULL,
    n BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX db_thing_name ON db_thing (name);
CREATE TABLE db_part (
    id {{identity}},
    thing BIGINT NOT NULL REFERENCES db_thing (id)
);
-- +goose Down
DROP TABLE db_part;
DROP TABLE db_thing;
`)}}

type thing struct {
	bun.BaseModel `bun:"table:db_thing"`

	ID     int64 `bun:",pk,autoincrement"`
	Name   string
	Body   []byte
	Pinned bool
	Info   map[string]any `bun:"type:text"`
	At     time.Time
	N      int64
}

func add(t *testing.T, d *db.DB, th *thing) error {
	t.Helper()
	return d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.NewInsert().Model(th).Exec(ctx)
		return err
	})
}

func count(t *testing.T, d *db.DB) int {
	t.Helper()
	n, err := d.Read().NewSelect().Model((*thing)(nil)).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestValuesReadBackEqual(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d := open(t, things)
		at := db.Now(time.Date(2026, 7, 1, 23, 59, 59, 987654321, time.FixedZone("far", -11*3600)))
		in := thing{Name: "it's a ? \\ \"name\" ☃", Body: []byte{0, 1, 0xff, '\''}, Pinned: true,
			Info: map[string]any{"a": "b'?", "n": 1.5}, At: at, N: 1<<62 + 1}
		if err := add(t, d, &in); err != nil || in.ID == 0 {
			t.Fatal(in.ID, err)
		}
		var out thing
		if err := d.Read().NewSelect().Model(&out).Where("pinned").Where("at = ?", at).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out.At != in.At || out.At.Location() != time.UTC {
			t.Errorf("time: %v, want %v", out.At, in.At)
		}
		if out.Name != in.Name || string(out.Body) != string(in.Body) || !out.Pinned || out.N != in.N ||
			out.Info["a"] != "b'?" || out.Info["n"] != 1.5 {
			t.Errorf("got %+v, want %+v", out, in)
		}
		if err := d.Read().NewSelect().Model(&out).Where("id = ?", 99).Scan(t.Context()); err == nil {
			t.Error("found what is not there")
		}
	})
}

// Times sort as times, whole seconds and fractions mixed.
func TestTimesSort(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d := open(t, things)
		base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for i, micros := range []int{0, 1, 10, 999_999, 1_000_000, 1_100_000, 1_100_001} {
			if err := add(t, d, &thing{Name: fmt.Sprint(i), At: base.Add(time.Duration(micros) * time.Microsecond)}); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		if err := d.Read().NewSelect().Model((*thing)(nil)).Column("name").
			Where("at > ?", base).Order("at").Scan(t.Context(), &names); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(names) != "[1 2 3 4 5 6]" {
			t.Errorf("order: %v", names)
		}
	})
}

func TestConflicts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d := open(t, things)
		first := thing{Name: "a", At: time.Now()}
		if err := add(t, d, &first); err != nil {
			t.Fatal(err)
		}
		if err := add(t, d, &thing{Name: "a", At: time.Now()}); !db.IsConflict(err) || !fault.Is(err, fault.Conflict) {
			t.Errorf("equal name: %v", err)
		}
		err := d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.NewRaw("INSERT INTO db_part (thing) VALUES (77)").Exec(ctx)
			return err
		})
		if err == nil || db.IsConflict(err) {
			t.Errorf("a part of nothing: %v", err)
		}
		err = d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			res, err := tx.NewRaw("UPDATE db_thing SET n = 1 WHERE name = 'b'").Exec(ctx)
			return db.One(res, err, "accept thing %d", 7)
		})
		if !fault.Is(err, fault.Conflict) || db.IsConflict(err) {
			t.Errorf("compare-and-swap of nothing: %v", err)
		}
	})
}

// Sabotage of somebody's habit to write through the reader fails on SQLite,
// where it would otherwise wait for the writer or fork the truth.
func TestReaderCannotWrite(t *testing.T) {
	d := dbtest.SQLite(t, things)
	if _, err := d.Read().NewInsert().Model(&thing{Name: "x", At: time.Now()}).Exec(t.Context()); err == nil {
		t.Error("the read pool wrote")
	}
}

func TestOddFileNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&e=f;'ö")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "firth?mode=ro.db")
	d := dbtest.Reopen(t, "sqlite:"+file, things)
	if err := add(t, d, &thing{Name: "x", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the database is elsewhere: %v", err)
	}
	if count(t, d) != 1 {
		t.Error("readers see another file")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "firth.db", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite://relative/firth.db", "postgres://a:b:c/%zz"} {
		d, err := db.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("Open(%q) = %v, %v; want invalid", url, d, err)
		}
	}
	if _, err := db.Open(t.Context(), "postgres://127.0.0.1:1/x?connect_timeout=2", slog.New(slog.DiscardHandler)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody listens: %v", err)
	}
}

// How long a commit has to last is decided once, when the database is opened.
func TestDurability(t *testing.T) {
	for want, open := range map[int]func(context.Context, string, *slog.Logger) (*db.DB, error){2: db.Open, 0: db.OpenTemporary} {
		d, err := open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "firth.db"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var got int
		if err := d.SQL().QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got); err != nil || got != want {
			t.Errorf("synchronous is %d (%v), want %d", got, err, want)
		}
	}
}
