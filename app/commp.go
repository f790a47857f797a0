package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/piece"
)

// commpPause is how often a node of role commp asks for work where there is none.
const commpPause = 2 * time.Second

// openCommP makes a node of role commp: no home, no database, no doors. All it
// knows is the API of the node it works for.
func (a *App) openCommP(cfg Config, log *slog.Logger) error {
	if cfg.CommP.Upstream == "" {
		return fault.New(fault.Invalid, "configuration commp.upstream: is empty; name the node whose imports are to be computed, with --upstream")
	}
	web := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	c, err := client.New(cfg.CommP.Upstream, client.Options{Token: cfg.CommP.Token, HTTP: web, UserAgent: "firth-commp/" + Version().Version})
	if err != nil {
		return fault.New(fault.Invalid, "configuration commp.upstream: %w", err)
	}
	fetch, err := fetcher(cfg)
	if err != nil {
		return err
	}
	a.works("commp", piece.NewWorker(upstream{c, web, fetch, workerName()}, cfg.CommP.Parallel, commpPause, time.Now, log).Run)
	return nil
}

// upstream is the API of a node, as a worker wants it.
type upstream struct {
	client *client.Client
	web    *http.Client
	fetch  *http.Client // for URLs that upstream's users name
	name   string
}

// Claim implements piece.Upstream.
func (u upstream) Claim(ctx context.Context) (piece.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamPatience)
	defer cancel()
	c, err := u.client.ClaimImport(ctx, u.name)
	return piece.Claim{
		ID: c.ID, Epoch: c.Epoch, Size: c.Size, Limit: c.Limit, Root: c.Root, URL: c.URL, Version: c.Version, Parts: c.Parts,
		Lease: time.Duration(c.LeaseMS) * time.Millisecond,
	}, answered(err)
}

// upstreamPatience bounds the short questions.
const upstreamPatience = 30 * time.Second

// Open implements piece.Upstream.
func (u upstream) Open(ctx context.Context, c piece.Claim, from int64) (io.ReadCloser, error) {
	o := fetch.Options{From: from, Version: c.Version}
	url, web := c.URL, u.fetch
	if url == "" {
		url, o.Header = u.client.ImportCAR(c.ID, c.Epoch)
		web = u.web
	}
	s, err := fetch.Open(ctx, web, url, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Progress implements piece.Upstream.
func (u upstream) Progress(ctx context.Context, c piece.Claim, done int64) error {
	ctx, cancel := context.WithTimeout(ctx, min(upstreamPatience, c.Lease))
	defer cancel()
	return answered(u.client.BeatImport(ctx, c.ID, client.ImportProgress{Epoch: c.Epoch, DoneBytes: done}))
}

// Part implements piece.Upstream.
func (u upstream) Part(ctx context.Context, c piece.Claim, number int) (io.ReadCloser, error) {
	part, err := u.client.ImportPart(ctx, c.ID, c.Epoch, number)
	return part, answered(err)
}

// Keep implements piece.Upstream.
func (u upstream) Keep(ctx context.Context, c piece.Claim, number int, part io.Reader) error {
	return answered(u.client.KeepImportPart(ctx, c.ID, c.Epoch, number, part))
}

// Finish implements piece.Upstream.
func (u upstream) Finish(ctx context.Context, c piece.Claim, r piece.Result, index io.Reader) error {
	_, err := u.client.FinishImport(ctx, c.ID, c.Epoch, r.Root, r.At, index)
	return answered(err)
}

// maxReason is how much of a reason upstream takes.
const maxReason = 4096

// GiveUp implements piece.Upstream.
func (u upstream) GiveUp(ctx context.Context, c piece.Claim, reason string, retry bool) error {
	reason = reason[:min(len(reason), maxReason)]
	return answered(u.client.GiveUpImport(ctx, c.ID, client.ImportFailure{Epoch: c.Epoch, Reason: reason, Retry: retry}))
}

// answered gives an answer of a node its kind; what never came is Unavailable.
func answered(err error) error {
	var a *client.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &a):
		return fault.Mark(fault.KindOfStatus(a.Status), err)
	}
	return fault.Mark(fault.Unavailable, err)
}
