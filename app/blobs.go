package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/blob/s3"
)

// openBlobs opens the blob store that the configuration names: a directory, in
// the home if it is not named, or a bucket. What of a bucket's uploads was left
// half sent is swept while the node runs.
func (a *App) openBlobs(ctx context.Context, cfg Config, home *Home, temporary bool) (blob.Store, error) {
	switch {
	case s3.Names(cfg.Blob):
		place, err := s3.Parse(cfg.Blob)
		if err != nil {
			return nil, err
		}
		store, err := s3.Open(ctx, place, s3.Options{AccessKey: cfg.S3.AccessKey, SecretKey: cfg.S3.SecretKey})
		if err != nil {
			return nil, err
		}
		a.works("abandoned uploads", func(ctx context.Context) error { return sweepUploads(ctx, store, a.log) })
		return store, nil
	case cfg.Blob == "":
		cfg.Blob = home.Path("blob")
	}
	if temporary {
		return disk.OpenTemporary(cfg.Blob)
	}
	return disk.Open(cfg.Blob)
}

// sweepPace is how often uploads that nobody continues are looked for.
const sweepPace = 6 * time.Hour

// sweepUploads removes what writers that died have left in a bucket. That it
// cannot is no reason to stop: the parts cost space, and nobody reads them.
func sweepUploads(ctx context.Context, store *s3.Store, log *slog.Logger) error {
	tick := time.NewTicker(sweepPace)
	defer tick.Stop()
	for {
		n, err := store.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Warn("abandoned uploads were not swept", "err", err)
		case n > 0:
			log.Info("abandoned uploads were swept", "uploads", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// buckets are the places outside the blob store that CARs are exported to. Each
// is opened when it is first needed, and kept.
type buckets struct {
	keys S3
	log  *slog.Logger

	mu   sync.Mutex
	open map[string]*s3.Store
}

func newBuckets(keys S3, log *slog.Logger) *buckets {
	return &buckets{keys: keys, log: log, open: map[string]*s3.Store{}}
}

// OpenBucket implements piece.Buckets.
func (b *buckets) OpenBucket(ctx context.Context, url string) (blob.Store, error) {
	place, err := s3.Parse(url)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	kept, ok := b.open[place.String()]
	b.mu.Unlock()
	if ok {
		return kept, nil
	}
	store, err := s3.Open(ctx, place, s3.Options{AccessKey: b.keys.AccessKey, SecretKey: b.keys.SecretKey, Exact: true})
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept, ok := b.open[place.String()]; ok { // somebody was faster
		return kept, nil
	}
	b.open[place.String()] = store
	return store, nil
}

// Tidy implements piece.Buckets.
func (b *buckets) Tidy(ctx context.Context, url string) {
	place, err := s3.Parse(url)
	if err != nil {
		return
	}
	b.mu.Lock()
	store := b.open[place.String()]
	b.mu.Unlock()
	if store == nil {
		return
	}
	if n, err := store.Sweep(ctx); err != nil && ctx.Err() == nil {
		b.log.Warn("abandoned uploads were not swept", "err", err)
	} else if n > 0 {
		b.log.Info("abandoned uploads were swept", "uploads", n)
	}
}

// CheckBucket opens a bucket that CARs are to be exported to, to tell early
// that it cannot be, and returns its URL in its one spelling.
func CheckBucket(ctx context.Context, cfg Config, url string) (string, error) {
	place, err := s3.Parse(url)
	if err != nil {
		return "", err
	}
	_, err = s3.Open(ctx, place, s3.Options{AccessKey: cfg.S3.AccessKey, SecretKey: cfg.S3.SecretKey, Exact: true})
	return place.String(), err
}
