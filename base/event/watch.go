package event

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// Watch keeps a reconciler going until ctx ends: fn runs at once, after events
// of the named kinds (a burst of them is one run), and at least every interval,
// because events are hints and rows are the truth. It runs one fn at a time. An
// error of fn is logged and mended by the next run.
func Watch(ctx context.Context, l *Log, kinds []string, interval time.Duration, log *slog.Logger, fn func(ctx context.Context) error) error {
	head, err := l.Head(ctx)
	if err != nil {
		return fault.Wrap(err, "watch events")
	}
	hint := make(chan struct{}, 1)
	lost := make(chan error, 1)
	go func() {
		for e, err := range l.Subscribe(ctx, head) {
			if err != nil {
				lost <- err
				return
			}
			if slices.Contains(kinds, e.Kind) {
				select {
				case hint <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			log.Error("reconcile", "kinds", kinds, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return fault.Wrap(err, "watch events")
		case <-hint:
		case <-tick.C:
		}
	}
}
