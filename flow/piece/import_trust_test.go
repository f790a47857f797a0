package piece_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// lying is a worker that computes another CAR than the one it is given.
func lying(h *house, token int64, other []byte) direct {
	return direct{s: h.pieces, token: token, opened: func(_ piece.Claim, from int64, in io.ReadCloser) io.ReadCloser {
		_ = in.Close()
		return io.NopCloser(bytes.NewReader(other[from:]))
	}}
}

func (h *house) ended(im piece.Import) piece.Import {
	h.t.Helper()
	until(h.t, func() bool {
		im = ok(h.pieces.ImportByID(h.t.Context(), project, im.ID))(h.t)
		return im.State == piece.ImportDone || im.State == piece.ImportFailed
	})
	return im
}

// Whoever hands in what is not so is refused, the import is another's, and what
// it had handed in before is computed again: a piece that is wrong is made right.
func TestLiars(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{ImportsApart: true, WorkDir: t.TempDir()}, nil)
		h.pieces.ConnectBy(http.DefaultClient)
		defer h.run()()
		car, bs := own(5, 60_000)
		_, others := own(6, 60_000)
		roots := []cid.Cid{bs[4].Cid()}
		false1 := carOf(roots, append(slices.Clone(bs[:4]), others[5])...) // the same header and length
		another := carOf(roots, bs[1], bs[0], bs[2], bs[3], bs[4])         // an equal CAR would make the index of a lie anew
		stop := h.worker(direct{s: h.pieces, token: 5}, 1)
		before := h.ended(ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: put(t, "a.car", car)}))(t))
		p := h.pieceOf(before)
		stop()
		// as if it had lied in a slot that nobody looked at
		_ = ok(h.blobs.Put(t.Context(), "piece/"+p.CID+".index", bytes.NewReader(h.indexOf(false1))))(t)

		web := serveSlowly(t, another)
		for name, place := range map[string]string{"file": put(t, "b.car", another), "URL": web.URL + "/x.car"} {
			token := int64(5)
			if name == "URL" {
				token = 6
			}
			im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: place}))(t)
			stop := h.worker(lying(h, token, false1), 1)
			until(t, func() bool {
				im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
				return strings.Contains(im.Reason, "a worker's result was wrong")
			})
			stop()
			_, _, err := h.pieces.ClaimImport(t.Context(), project, token, "w")
			if !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "give the worker another token") {
				t.Errorf("%s: %v", name, err)
			}
			stop = h.worker(direct{s: h.pieces, token: token + 10}, 1)
			if p := h.pieceOf(h.ended(im)); p.CID != commitment(t, another).CIDv2.String() {
				t.Errorf("%s: %+v", name, p)
			}
			stop()
		}
		defer h.worker(direct{s: h.pieces, token: 20}, 1)() // the last one caught left it to others
		until(t, func() bool {
			again := ok(h.pieces.ImportByID(t.Context(), project, before.ID))(t)
			return again.Epoch > before.Epoch && again.State == piece.ImportDone
		})
		if p := h.pieceOf(before); p.Wrong != "" || !bytes.Equal(h.car(p), car) {
			t.Errorf("%+v", p)
		}
	})
}

// indexOf is the index of a CAR as a worker makes it.
func (h *house) indexOf(car []byte) []byte {
	h.t.Helper()
	other := build(h.t, opened(h.t, dbtest.SQLite), piece.Settings{}, nil)
	stop := other.run()
	defer stop()
	p := other.pieceOf(other.imported(piece.NewImport{Place: put(h.t, "x.car", car)}))
	in := ok(other.blobs.Get(context.Background(), "piece/"+p.CID+".index", 0, -1))(h.t)
	defer in.Close()
	return ok(io.ReadAll(in))(h.t)
}

// What a worker says ends nothing: it hands in what is no index, says that a CAR
// is none, or falls silent again and again; the node then does it itself.
func TestWorkersEndNothing(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{ImportsApart: true, WorkDir: t.TempDir()}, nil)
	defer h.run()()
	car, bs := own(3, 60_000)
	up := direct{s: h.pieces, token: 1}
	for name, do := range map[string]func(c piece.Claim){
		"no index": func(c piece.Claim) {
			must(t, up.Finish(t.Context(), c, piece.Result{Root: bs[2].Cid().String()}, strings.NewReader("no index")))
		},
		"no CAR": func(c piece.Claim) { must(t, up.GiveUp(t.Context(), c, "is no CAR", false)) },
	} {
		im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: put(t, "x.car", car)}))(t)
		do(ok(up.Claim(t.Context()))(t))
		if p := h.pieceOf(h.ended(im)); !bytes.Equal(h.car(p), car) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	bad := bytes.Clone(car)
	bad[1000]++
	im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: put(t, "bad.car", bad)}))(t)
	defer h.worker(up, 1)()
	if im = h.ended(im); im.State != piece.ImportFailed || !strings.Contains(im.Reason, "section 1 at byte") {
		t.Errorf("%+v", im)
	}
}
