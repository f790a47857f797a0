package piece_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/flow/piece"
)

// written makes a CAR at <piece cid>.car and what is known of its piece, which
// is packed from a source nobody has.
func written(t *testing.T, h *house, dir string, seed uint64) (string, pack.Made) {
	t.Helper()
	body := noise(seed, 200_000)
	car, m := packed(t, pack.Source{Origin: "source/1", Path: "file", Size: int64(len(body))}, body, false)
	must(t, h.pieces.KeepIndex(t.Context(), m.Piece.CIDv2.String(), m.Index))
	m.CAR = piece.CARIn(dir, m.Piece.CIDv2.String())
	must(t, os.WriteFile(m.CAR, car, 0o600))
	return m.CAR, m
}

func (h *house) adoptFor(p int64, holder string, m pack.Made) piece.Piece {
	h.t.Helper()
	var got piece.Piece
	must(h.t, h.db.Tx(h.t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		got, err = h.pieces.Adopt(ctx, tx, p, holder, m)
		return err
	}))
	return got
}

func (h *house) release(p piece.Piece) {
	h.t.Helper()
	must(h.t, h.db.Tx(h.t.Context(), func(ctx context.Context, tx *db.Tx) error { return h.pieces.Release(ctx, tx, p.ID, "enough deals") }))
}

func (h *house) told(kind string) (n int) {
	h.t.Helper()
	must(h.t, h.db.Read().NewRaw("SELECT COUNT(*) FROM event_log WHERE kind = ?", kind).Scan(h.t.Context(), &n))
	return n
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (h *house) idle() {
	h.t.Helper()
	until(h.t, func() bool {
		var n int
		must(h.t, h.db.Read().NewRaw("SELECT COUNT(*) FROM piece_place WHERE state = 'deleting'").Scan(h.t.Context(), &n))
		return n == 0
	})
}

// A CAR that equal pieces of two projects share goes with the second release,
// once, and may be written again.
func TestReleaseCountsReferences(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{}, nil)
		h.run()
		path, m := written(t, h, t.TempDir(), 1)
		mine, theirs := h.adoptFor(project, "chunk/1", m), h.adoptFor(project+1, "chunk/2", m)
		h.release(mine)
		until(t, func() bool { return h.told("car.released") == 1 })
		if gone := ok(h.pieces.Get(t.Context(), project+1, theirs.CID))(t); gone.CAR != path || !isThere(path) {
			t.Fatalf("another project's CAR is gone: %+v", gone)
		}
		h.release(mine) // again: nothing
		h.release(theirs)
		until(t, func() bool { return !isThere(path) && h.told("car.deleted") > 0 })
		for _, p := range []int64{project, project + 1} {
			if got := ok(h.pieces.Get(t.Context(), p, mine.CID))(t); got.CAR != "" {
				t.Errorf("project %d has its CAR at %q", p, got.CAR)
			}
		}
		h.release(theirs)
		if n := h.told("car.released"); n != 2 {
			t.Errorf("released %d times", n)
		}
		if n := h.told("car.deleted"); n != 1 {
			t.Errorf("deleted %d times", n)
		}
		_, m = written(t, h, filepath.Dir(path), 1)
		if again := h.adoptFor(project, "chunk/1", m); again.CAR != path {
			t.Errorf("written again: %+v", again)
		}
		h.release(mine)
		until(t, func() bool { return !isThere(path) })
	})
}

// What somebody imported stays, and so does a file that is another one by now.
func TestReleaseSparesWhatIsNotOurs(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	h.run()
	imported, m := written(t, h, t.TempDir(), 1)
	edited, n := written(t, h, t.TempDir(), 2)
	ours, o := written(t, h, t.TempDir(), 3)
	first, second, third := h.adoptFor(project, "chunk/1", m), h.adoptFor(project, "chunk/2", n), h.adoptFor(project, "chunk/3", o)
	must(t, h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.NewRaw(`INSERT INTO piece_import (project_id, place, copied, state, created_at, updated_at)
			VALUES (8, ?, FALSE, 'done', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)`, imported).Exec(ctx)
		return err
	}))
	must(t, os.WriteFile(edited, []byte("somebody's"), 0o600))
	for _, p := range []piece.Piece{first, second, third} {
		h.release(p)
	}
	until(t, func() bool { return !isThere(ours) })
	h.idle()
	if !isThere(imported) || !isThere(edited) {
		t.Errorf("imported %v, edited %v", isThere(imported), isThere(edited))
	}
}

// CARs that are kept in the blob store go too; the pieces are read from their
// blocks then. A copy that somebody imported stays.
func TestReleaseOfKeptCARs(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{CacheCAR: true}, nil)
	h.run()
	ours := h.packed(h.submit(project, h.file(1, 100_000))).Pieces[0]
	both := h.packed(h.submit(project, h.file(2, 100_000))).Pieces[0]
	car := h.car(ours)
	if im := h.imported(piece.NewImport{Place: put(t, "x.car", h.car(both)), Copy: true}); im.State != piece.ImportDone {
		t.Fatalf("%+v", im)
	}
	h.release(ours)
	h.release(both)
	until(t, func() bool { return !ok(h.pieces.Get(t.Context(), project, ours.CID))(t).Cached })
	h.idle()
	if f, kept := h.pieces.OpenCached(ours); kept {
		_ = f.Close()
		t.Error("the CAR is still there")
	}
	if !bytes.Equal(h.car(ours), car) {
		t.Error("other bytes by the blocks")
	}
	if got := ok(h.pieces.Get(t.Context(), project, both.CID))(t); !got.Cached {
		t.Error("an imported copy was deleted")
	}
}

// Of two datasets that wrote the same piece to the same directory the second
// one to be removed takes the CAR along.
func TestDrop(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	path, m := written(t, h, t.TempDir(), 1)
	h.adoptFor(project, "chunk/1", m)
	h.adoptFor(project, "chunk/2", m)
	must(t, h.pieces.Drop(t.Context(), path, "chunk/1"))
	must(t, h.pieces.Drop(t.Context(), path, "chunk/1"))
	if !isThere(path) {
		t.Fatal("the CAR of another dataset is gone")
	}
	must(t, h.pieces.Drop(t.Context(), path, "chunk/2"))
	if isThere(path) {
		t.Error("nobody wants the CAR, and it is there")
	}
	unlisted, _ := written(t, h, t.TempDir(), 2) // from before places were listed
	must(t, h.pieces.Drop(t.Context(), unlisted, "chunk/3"))
	if isThere(unlisted) {
		t.Error("a CAR that is not listed is there")
	}
}

// Killed between its two transactions, a deletion is finished by the next
// attempt, and nobody takes the place meanwhile.
func TestReleaseAfterAKill(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	path, m := written(t, h, t.TempDir(), 1)
	p := h.adoptFor(project, "chunk/1", m)
	h.release(p)
	must(t, h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.NewRaw("UPDATE piece_place SET state = 'deleting'").Exec(ctx)
		return err
	}))
	err := h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := h.pieces.Adopt(ctx, tx, project+1, "chunk/2", m)
		return err
	})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("adopted while it is deleted: %v", err)
	}
	h.run()
	until(t, func() bool { return !isThere(path) && ok(h.pieces.Get(t.Context(), project, p.CID))(t).CAR == "" })
	_, m = written(t, h, filepath.Dir(path), 1)
	if again := h.adoptFor(project+1, "chunk/2", m); again.CAR != path {
		t.Errorf("%+v", again)
	}
}
