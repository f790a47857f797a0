package piece_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
	"github.com/firth-project/firth/flow/piece"
)

// direct is an upstream without the wire.
type direct struct {
	s      *piece.Service
	token  int64
	opened func(c piece.Claim, from int64, in io.ReadCloser) io.ReadCloser // if it is not nil
}

func (d direct) owner(c piece.Claim) piece.Owner {
	return piece.Owner{Project: project, Token: d.token, Import: c.ID, Epoch: c.Epoch}
}

func (d direct) Claim(ctx context.Context) (piece.Claim, error) {
	im, parts, err := d.s.ClaimImport(ctx, project, d.token, fmt.Sprint("worker ", d.token))
	c := piece.Claim{
		ID: im.ID, Epoch: im.Epoch, Size: im.Size, Limit: d.s.Payload(), Root: im.Root, Parts: parts, Version: im.Version, Lease: d.s.Lease(),
	}
	if piece.IsURL(im.Place) {
		c.URL = im.Place
	}
	return c, err
}

func (d direct) Open(ctx context.Context, c piece.Claim, from int64) (io.ReadCloser, error) {
	in, err := d.read(ctx, c, from)
	if err == nil && d.opened != nil {
		in = d.opened(c, from, in)
	}
	return in, err
}

func (d direct) read(ctx context.Context, c piece.Claim, from int64) (io.ReadCloser, error) {
	if c.URL != "" {
		return fetch.Open(ctx, http.DefaultClient, c.URL, fetch.Options{From: from, Version: c.Version})
	}
	f, _, err := d.s.OpenImport(ctx, d.owner(c))
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(from, io.SeekStart)
	return f, err
}

func (d direct) Part(ctx context.Context, c piece.Claim, number int) (io.ReadCloser, error) {
	return d.s.ImportPart(ctx, d.owner(c), number)
}

func (d direct) Keep(ctx context.Context, c piece.Claim, number int, part io.Reader) error {
	return d.s.KeepImportPart(ctx, d.owner(c), number, part)
}

func (d direct) Progress(ctx context.Context, c piece.Claim, done int64) error {
	return d.s.BeatImport(ctx, d.owner(c), done)
}

func (d direct) Finish(ctx context.Context, c piece.Claim, r piece.Result, index io.Reader) error {
	_, err := d.s.FinishImport(ctx, d.owner(c), r.Root, r.At, index)
	return err
}

func (d direct) GiveUp(ctx context.Context, c piece.Claim, reason string, retry bool) error {
	return d.s.GiveUpImport(ctx, d.owner(c), reason, retry)
}

// worker runs a worker until stop.
func (h *house) worker(up piece.Upstream, parallel int) (stop func()) {
	w := piece.NewWorker(up, parallel, time.Millisecond, time.Now, slog.New(slog.DiscardHandler))
	w.Keep(commp.SlotRaw, 0)
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
		h.worker(direct{s: h.pieces, token: 1}, 2)
		h.worker(direct{s: h.pieces, token: 2}, 2)
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
		if _, _, err := h.pieces.ClaimImport(t.Context(), project, 6, "three"); !fault.Is(err, fault.NotFound) {
			t.Errorf("work is left: %v", err)
		}
	})
}

// A worker that falls silent loses the import when its lease ends, and what it
// says afterwards is not heard.
func TestDeadWorker(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{ImportsApart: true, Lease: 2 * time.Second}, nil)
		car, _ := own(3, 5000)
		im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: put(t, "x.car", car)}))(t)
		dead := direct{s: h.pieces, token: 3}
		c := ok(dead.Claim(t.Context()))(t)
		if _, err := dead.Claim(t.Context()); !fault.Is(err, fault.NotFound) {
			t.Errorf("claimed twice under a lease: %v", err)
		}
		must(t, dead.Progress(t.Context(), c, 100))
		h.worker(direct{s: h.pieces, token: 4}, 1)
		until(t, func() bool {
			im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
			return im.State == piece.ImportDone
		})
		if im.Worker != "worker 4" || im.Epoch != 2 {
			t.Errorf("%+v", im)
		}
		for name, err := range map[string]error{
			"beat":    dead.Progress(t.Context(), c, 200),
			"read":    errOf(dead.Open(t.Context(), c, 0)),
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
