package piece_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/flow/piece"
)

// folder is a source on disk.
type folder string

// openFile is a file that is the version which was packed as long as its size is.
type openFile struct {
	*os.File
	size int64
}

func (f openFile) Check() error {
	info, err := f.Stat()
	if err == nil && info.Size() != f.size {
		err = fault.New(fault.Conflict, "another size")
	}
	return err
}

func (d folder) OpenSource(_ context.Context, s pack.Source) (pack.File, error) {
	f, err := os.Open(filepath.Join(string(d), s.Path))
	if err != nil {
		return nil, fault.Mark(fault.NotFound, err)
	}
	one := openFile{f, s.Size}
	if err := one.Check(); err != nil {
		_ = one.Close()
		return nil, err
	}
	return one, nil
}

// packed is a piece of two leaves of one file, made elsewhere: its CAR, and what
// is known of it.
func packed(t *testing.T, src pack.Source, body []byte, own bool) ([]byte, pack.Made) {
	t.Helper()
	root := cid.MustParse("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
	car := dag.CARHeader([]cid.Cid{root})
	header := bytes.Clone(car)
	s := pack.NewSpool()
	from := ok(s.AddSource(src))(t)
	for i := range 2 {
		half := body[i*len(body)/2 : (i+1)*len(body)/2]
		r := pack.Record{Offset: int64(len(car)), Position: int64(i * len(body) / 2), From: from, Size: len(half), Digest: sha256.Sum256(half)}
		if own { // in the CAR itself
			r.Position = int64(len(car)) + r.Section() - int64(len(half))
		}
		must(t, s.Add(r))
		car = append(r.AppendHead(car), half...)
	}
	tree := commp.NewTree(int64(len(car)))
	must(t, tree.SetAt(0, car))
	index := filepath.Join(t.TempDir(), "index")
	f := ok(os.Create(index))(t)
	must(t, s.WriteIndex(t.Context(), f, header, int64(len(car)), tree))
	must(t, f.Close())
	return car, pack.Made{Piece: ok(tree.Piece())(t), Root: root, CARSize: int64(len(car)), Blocks: 2, Index: index}
}

// adopt registers a piece.
func (h *house) adopt(p int64, m pack.Made) (got piece.Piece, err error) {
	err = h.db.Tx(h.t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		got, err = h.pieces.Adopt(ctx, tx, p, "dataset/1", m)
		return err
	})
	return got, err
}

func TestAdoptedPieceIsReadFromItsSource(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{}, nil)
		h.run()
		dir := folder(t.TempDir())
		body := noise(1, 600_000)
		path := filepath.Join(string(dir), "file")
		must(t, os.WriteFile(path, body, 0o600))
		car, m := packed(t, pack.Source{Origin: "source/1", Path: "file", Size: 600_000}, body, false)
		must(t, h.pieces.KeepIndex(t.Context(), m.Piece.CIDv2.String(), m.Index))
		one := ok(h.adopt(project, m))(t)
		if again := ok(h.adopt(project, m))(t); again != one || one.CID != m.Piece.CIDv2.String() || one.Project != project {
			t.Errorf("%+v, again %+v", one, again)
		}
		found(t, h, one)
		adopted(t, h, one)

		r := ok(h.pieces.Open(t.Context(), one.CID))(t)
		if _, err := io.ReadAll(r); !fault.Is(err, fault.Unavailable) {
			t.Errorf("without sources: %v", err)
		}
		must(t, r.Close())
		h.pieces.ReadFrom(dir)
		if got := h.car(one); !bytes.Equal(got, car) {
			t.Error("other bytes")
		}
		if _, bad, err := h.pieces.Verify(t.Context(), project, one.CID, nil); err != nil || len(bad) != 0 {
			t.Errorf("%+v, %v", bad, err)
		}
		body[500_000]++
		must(t, os.WriteFile(path, body, 0o600))
		r = ok(h.pieces.Open(t.Context(), one.CID))(t)
		defer r.Close()
		if got, err := io.ReadAll(r); !fault.Is(err, fault.Conflict) || !bytes.HasPrefix(car, got) || !strings.Contains(err.Error(), "changed since it was prepared") {
			t.Errorf("an edited file: %v", err)
		}
		_, bad, err := h.pieces.Verify(t.Context(), project, one.CIDv1, nil)
		if err != nil || len(bad) != 1 || len(bad[0].Paths) != 1 || bad[0].Offset > 500_000 || bad[0].Offset+bad[0].Length < 500_000 {
			t.Errorf("%+v, %v", bad, err)
		}
		if _, _, err := h.pieces.Verify(t.Context(), project+1, one.CID, nil); !fault.Is(err, fault.NotFound) {
			t.Errorf("another project verifies: %v", err)
		}
	})
}

// adopted checks the event of a piece from elsewhere.
func adopted(t *testing.T, h *house, one piece.Piece) {
	t.Helper()
	until(t, func() bool {
		for _, e := range ok(h.events.Read(t.Context(), 0, 100))(t) {
			var fact struct {
				Label string
				ID    int64
			}
			if e.Kind == "piece.ready" && json.Unmarshal(e.Data, &fact) == nil && fact.Label == "dataset/1" && fact.ID == one.ID {
				return true
			}
		}
		return false
	})
}

// A CAR that stands somewhere is preferred while it is what it was.
func TestExportedCAR(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{}, nil)
		body := noise(1, 300_000)
		car, m := packed(t, pack.Source{Origin: piece.OriginCAR}, body, true)
		m.CAR = filepath.Join(t.TempDir(), "x.car")
		must(t, h.pieces.KeepIndex(t.Context(), m.Piece.CIDv2.String(), m.Index))
		if _, err := h.adopt(project, m); !fault.Is(err, fault.NotFound) {
			t.Errorf("a CAR that is not there: %v", err)
		}
		must(t, os.WriteFile(m.CAR, car[1:], 0o600))
		if _, err := h.adopt(project, m); !fault.Is(err, fault.Conflict) {
			t.Errorf("a CAR of another size: %v", err)
		}
		without := m
		without.CAR = ""
		ok(h.adopt(project, without))(t)
		must(t, os.WriteFile(m.CAR, car, 0o600))
		one := ok(h.adopt(project, m))(t)
		if again := ok(h.adopt(project, without))(t); one.CAR != m.CAR || again != one {
			t.Errorf("%+v, again %+v", one, again)
		}
		f, kept := h.pieces.OpenCached(one)
		if !kept || !bytes.Equal(ok(io.ReadAll(f))(t), car) {
			t.Fatal("the CAR is not served")
		}
		must(t, f.Close())
		if got := h.car(one); !bytes.Equal(got, car) { // its blocks are in it, too
			t.Error("other bytes")
		}
		must(t, os.Chtimes(m.CAR, time.Time{}, time.Now().Add(time.Hour)))
		if _, kept := h.pieces.OpenCached(one); kept {
			t.Error("a CAR that was changed is served")
		}
		r := ok(h.pieces.Open(t.Context(), one.CID))(t)
		defer r.Close()
		if _, err := io.ReadAll(r); !fault.Is(err, fault.Conflict) {
			t.Errorf("a CAR that was changed: %v", err)
		}
	})
}

func TestKeepIndexRefusesAnother(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	_, m := packed(t, pack.Source{}, noise(1, 1000), false)
	_, other := packed(t, pack.Source{}, noise(2, 1000), false)
	for _, ref := range []string{other.Piece.CIDv2.String(), m.Piece.CIDv1.String(), "x"} {
		if err := h.pieces.KeepIndex(t.Context(), ref, m.Index); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	larger := ok(commp.FromCIDv1Padded(m.Piece.CIDv1, m.Piece.RawSize, m.Piece.PaddedSize))(t)
	must(t, h.pieces.KeepIndex(t.Context(), larger.CIDv2.String(), m.Index))
	must(t, os.Truncate(m.Index, 100))
	if err := h.pieces.KeepIndex(t.Context(), m.Piece.CIDv2.String(), m.Index); err == nil {
		t.Error("a damaged index is kept")
	}
}
