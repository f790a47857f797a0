package piece_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/flow/piece"
)

// direct is an upstream without the wire.
type direct struct {
	s      *piece.Service
	name   string
	opened func(c piece.Claim) // if it is not nil
}

func (d direct) Claim(ctx context.Context) (piece.Claim, error) {
	im, err := d.s.ClaimImport(ctx, project, d.name)
	return piece.Claim{ID: im.ID, Epoch: im.Epoch, Size: im.Size, Limit: d.s.Payload(), Root: im.Root, Lease: d.s.Lease()}, err
}

func (d direct) Open(ctx context.Context, c piece.Claim) (io.ReadCloser, error) {
	f, _, err := d.s.OpenImport(ctx, project, c.ID, c.Epoch)
	if err == nil && d.opened != nil {
		d.opened(c)
	}
	return f, err
}

func (d direct) Progress(ctx context.Context, c piece.Claim, done int64) error {
	return d.s.BeatImport(ctx, project, c.ID, c.Epoch, done)
}

func (d direct) Finish(ctx context.Context, c piece.Claim, r piece.Result, index io.Reader) error {
	_, err := d.s.FinishImport(ctx, project, c.ID, c.Epoch, r.Root, r.At, index)
	return err
}

func (d direct) GiveUp(ctx context.Context, c piece.Claim, reason string, retry bool) error {
	return d.s.GiveUpImport(ctx, project, c.ID, c.Epoch, reason, retry)
}

// worker runs a worker until stop.
func (h *house) worker(up piece.Upstream, parallel int) (stop func()) {
	w := piece.NewWorker(up, parallel, time.Millisecond, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	h.t.Cleanup(stop)
	return stop
}

// Two workers share the imports: each is one's, and the pieces are those that
// are made here.
func TestImportsApart(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{ImportsApart: true}, nil)
		defer h.run()()
		var wait []piece.Import
		var want []commp.Piece
		var bodies [][]byte
		for i := range 6 {
			car, _ := own(i+1, 50_000+i)
			file := car
			if i == 3 {
				file = v2(car)
			}
			wait = append(wait, ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: put(t, fmt.Sprint(i), file)}))(t))
			want, bodies = append(want, commitment(t, car)), append(bodies, car)
		}
		again := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: wait[0].Place}))(t)
		if again.ID != wait[0].ID {
			t.Errorf("imported twice at a time: %d and %d", again.ID, wait[0].ID)
		}
		if _, err := h.pieces.Import(t.Context(), project, piece.NewImport{Place: wait[0].Place, Copy: true}); !fault.Is(err, fault.Conflict) {
			t.Errorf("asked for otherwise: %v", err)
		}
		h.worker(direct{s: h.pieces, name: "one"}, 2)
		h.worker(direct{s: h.pieces, name: "two"}, 2)
		for i, im := range wait {
			until(t, func() bool {
				im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
				return im.State == piece.ImportDone || im.State == piece.ImportFailed
			})
			p := h.pieceOf(im)
			if im.Epoch != 1 || im.Attempts != 1 || p.CID != want[i].CIDv2.String() || !bytes.Equal(h.car(p), bodies[i]) {
				t.Errorf("%+v is %+v", im, p)
			}
		}
		if _, err := h.pieces.ClaimImport(t.Context(), project, "three"); !fault.Is(err, fault.NotFound) {
			t.Errorf("work is left: %v", err)
		}
	})
}

// A worker that falls silent loses the import when its lease ends, and what it
// says afterwards is not heard.
func TestDeadWorker(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{ImportsApart: true, Lease: 200 * time.Millisecond}, nil)
		car, _ := own(3, 5000)
		im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: put(t, "x.car", car)}))(t)
		dead := direct{s: h.pieces, name: "dead"}
		c := ok(dead.Claim(t.Context()))(t)
		if _, err := dead.Claim(t.Context()); !fault.Is(err, fault.NotFound) {
			t.Errorf("claimed twice under a lease: %v", err)
		}
		must(t, dead.Progress(t.Context(), c, 100))
		h.worker(direct{s: h.pieces, name: "living"}, 1)
		until(t, func() bool {
			im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
			return im.State == piece.ImportDone
		})
		if im.Worker != "living" || im.Epoch != 2 {
			t.Errorf("%+v", im)
		}
		for name, err := range map[string]error{
			"beat":    dead.Progress(t.Context(), c, 200),
			"read":    errOf(dead.Open(t.Context(), c)),
			"give up": dead.GiveUp(t.Context(), c, "late", true),
			"finish":  dead.Finish(t.Context(), c, piece.Result{}, strings.NewReader("late")),
		} {
			if !fault.Is(err, fault.Conflict) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func errOf[T any](_ T, err error) error { return err }

// What a worker hands in is looked at, and what it says of a CAR is kept.
func TestWorkersAreNotBelieved(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{ImportsApart: true}, nil)
	car, bs := own(3, 100_000)
	_, other := packed(t, pack.Source{Origin: piece.OriginCAR}, noise(1, 200_000), true)
	state := func(n piece.NewImport, r piece.Result, index []byte) (piece.Import, error) {
		im := ok(h.pieces.Import(t.Context(), project, n))(t)
		up := direct{s: h.pieces, name: "w"}
		err := up.Finish(t.Context(), ok(up.Claim(t.Context()))(t), r, bytes.NewReader(index))
		return ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t), err
	}
	root := bs[2].Cid().String()
	for name, index := range map[string][]byte{"none": nil, "garbage": noise(1, 10_000), "another CAR's": ok(os.ReadFile(other.Index))(t)} {
		im, err := state(piece.NewImport{Place: put(t, "x.car", car)}, piece.Result{Root: root}, index)
		if err == nil || im.State == piece.ImportDone {
			t.Errorf("%s: %+v, %v", name, im, err)
		}
	}
	bad := bytes.Clone(car)
	bad[1000]++
	im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: put(t, "bad.car", bad)}))(t)
	stop := h.worker(direct{s: h.pieces, name: "w"}, 1)
	until(t, func() bool {
		im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
		return im.State == piece.ImportFailed
	})
	if !strings.Contains(im.Reason, "section 1 at byte") {
		t.Error(im.Reason)
	}
	stop()
	if im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: "/absent.car"}))(t); true {
		if _, err := h.pieces.ClaimImport(t.Context(), project, "w"); !fault.Is(err, fault.NotFound) {
			t.Errorf("claimed what is not there: %v", err)
		}
		if im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t); im.State != piece.ImportFailed {
			t.Errorf("%+v", im)
		}
	}
}
