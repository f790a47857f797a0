package app

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
)

// Packer is a node with the packer's work alone: no doors, no network, nobody
// to deal with. Its home is a home like any other, which a node may serve from
// afterwards.
type Packer struct {
	Datasets *dataset.Service
	Pieces   *piece.Service

	app *App
}

// packerDrain is how long a chunk may go on after a stop: it keeps what is done
// of it, so there is nothing to wait for.
const packerDrain = 100 * time.Millisecond

// OpenPacker opens a home to pack in. The caller runs what it returns; Run
// closes it. In a temporary home nothing waits for the disk but CARs that are
// written elsewhere.
func OpenPacker(ctx context.Context, cfg Config, temporary bool, log *slog.Logger) (_ *Packer, err error) {
	a := &App{log: log, drain: packerDrain, temporary: temporary}
	if temporary && cfg.Secret == "" {
		cfg.Secret = rand.Text()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.roles, err = ParseRoles("packer"); err != nil {
		return nil, err
	}
	in, err := a.openStores(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &Packer{app: a}
	if p.Pieces, p.Datasets, err = a.buildPacking(cfg, in, time.Now); err != nil {
		return nil, err
	}
	in.jobs.Handle(slices.Concat(p.Pieces.Handlers(), p.Datasets.Handlers())...)
	a.works("events", in.events.Run)
	a.works("jobs", in.jobs.Run)
	a.works("memory", lean())
	return p, nil
}

// Run packs while fn runs, and closes the home.
func (p *Packer) Run(ctx context.Context, fn func(ctx context.Context) error) error {
	working, stop := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() {
		err := p.app.Run(working)
		stop(err)
		ended <- err
	}()
	err := fn(working)
	stop(nil)
	return errors.Join(err, <-ended)
}

// trace is what a temporary home is named by.
const trace = "firth-pack-*"

// TemporaryHome makes a home that Discard removes, and removes those that were
// left behind by a kill.
func TemporaryHome() (string, error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), trace))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		if err := discardLeft(dir); err != nil && !fault.Is(err, fault.Conflict) && !errors.Is(err, os.ErrPermission) {
			return "", err
		}
	}
	return os.MkdirTemp("", trace)
}

// discardLeft discards a home that nobody uses any more: it was used once, and
// is not locked.
func discardLeft(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
		return nil // being made, or none of ours
	}
	h, err := OpenHome(dir)
	if err != nil {
		return err
	}
	return errors.Join(Discard(dir), h.Close())
}

// Discard removes a temporary home, and the half-written CARs that belong to
// work in it, wherever they are.
func Discard(dir string) error {
	jobs, err := filepath.Glob(filepath.Join(dir, "work", "*", "chunk-*", "[0-9]*"))
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := pack.Sweep(j); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
