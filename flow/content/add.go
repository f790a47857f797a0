package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// AddFile stores the bytes of r as one file. When it returns without an error
// the content is durable. Memory is that of one import, about 16 MiB, whatever
// the size. A reader that fails leaves a failed content with the reason.
func (s *Service) AddFile(ctx context.Context, a Add, r io.Reader) (Content, error) {
	return s.add(ctx, a, func(ctx context.Context, prof dag.Profile) (dag.Entry, int64, error) {
		e, err := dag.AddFile(ctx, s.blocks, r, prof)
		return e, 1, err
	})
}

// AddTree stores a tree, entry by entry. Entries may come in any order; the
// CID is that of the tree. An error from the sequence ends it all.
func (s *Service) AddTree(ctx context.Context, a Add, entries iter.Seq2[Entry, error]) (Content, error) {
	return s.add(ctx, a, func(ctx context.Context, prof dag.Profile) (dag.Entry, int64, error) {
		tree, files, bytes := dag.NewTree(s.blocks, prof), int64(0), int64(0)
		var last dag.Entry
		plain := a.Plain
		err := each(entries, func(e Entry) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			plain = plain && files == 0 && e.Kind == File && !strings.Contains(e.Path, "/")
			switch e.Kind {
			case Directory:
				return tree.Mkdir(e.Path)
			case Symlink:
				files++
				_, err := tree.AddSymlink(ctx, e.Path, e.Target)
				return err
			}
			files++
			added, err := tree.AddFile(ctx, e.Path, e.Body)
			bytes += added.Size
			last = added
			return fault.Wrap(err, "%q", e.Path)
		})
		if err != nil {
			return dag.Entry{}, 0, err
		}
		root, err := tree.Finish(ctx) // stores the file's last blocks too
		if plain && files == 1 {
			root = last
		}
		root.Size = bytes // a directory's own size is not what people ask for
		return root, files, err
	})
}

// add is the life of every content on its way in: a row and a lease, the bytes,
// then in one transaction the stored state, the bucket and the event.
func (s *Service) add(ctx context.Context, a Add, build func(context.Context, dag.Profile) (dag.Entry, int64, error)) (Content, error) {
	prof, err := dag.ProfileNamed(a.Profile)
	if err != nil {
		return Content{}, err
	}
	c := Content{Project: a.Project, Name: cleanText(a.Name, maxName), Profile: prof.Name, State: Receiving, CreatedAt: s.now()}
	c.UpdatedAt = c.CreatedAt
	if err := s.receive(ctx, &c); err != nil {
		return Content{}, err
	}

	root, files, err := s.underLease(ctx, c.ID, prof, build)
	if err == nil {
		c.CID, c.Size, c.Files = root.Cid.String(), root.Size, files
		err = s.store(ctx, &c)
	}
	if err != nil {
		return Content{}, errors.Join(fault.Wrap(err, "store %q", c.Name), s.giveUp(ctx, c, err))
	}
	return c, nil
}

// receive makes the row of a content whose bytes are about to come.
func (s *Service) receive(ctx context.Context, c *Content) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		c.ID, err = insertContent(ctx, tx, *c, c.CreatedAt.Add(s.settings.Lease))
		return err
	})
}

// leaseBeats is how often a lease is renewed while it lasts. A database that is
// away for less than that ends no upload.
const leaseBeats = 3

// underLease builds the DAG while a heartbeat keeps the row's lease alive: a
// sweep elsewhere must not take a slow upload for a dead one.
func (s *Service) underLease(ctx context.Context, id int64, prof dag.Profile, build func(context.Context, dag.Profile) (dag.Entry, int64, error)) (root dag.Entry, files int64, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		beat := time.NewTicker(s.settings.Lease / leaseBeats)
		defer beat.Stop()
		missed := 0
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				err := s.renew(ctx, id)
				if err == nil {
					missed = 0
				} else if missed++; ctx.Err() == nil && (missed == leaseBeats || fault.Is(err, fault.Conflict)) {
					stop(err)
					return
				}
			}
		}
	}()
	defer func() { <-done }()
	defer stop(nil)
	// A panic in a parser must end the upload, not the process's promise that
	// every content ends in a state: add's caller recovers requests, not rows.
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Internal, "panic: %v", r)
		}
	}()
	root, files, err = build(ctx, prof)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return root, files, err
}

func (s *Service) renew(ctx context.Context, id int64) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		return renewLease(ctx, tx, id, s.now().Add(s.settings.Lease))
	})
}

// store acknowledges a content whose blocks are durable.
func (s *Service) store(ctx context.Context, c *Content) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		b, err := s.join(ctx, tx, c.Project, c.Size, now)
		if err != nil {
			return err
		}
		c.State, c.Bucket, c.UpdatedAt = Stored, b.ID, now
		if err := storeContent(ctx, tx, *c); err != nil {
			return err
		}
		if err := announce(ctx, tx, *c); err != nil {
			return err
		}
		if s.settings.full(b.Size, b.Contents) {
			return s.move(ctx, tx, &b, Closing)
		}
		return nil
	})
}

// join adds a content of size bytes to the project's open bucket, opening one
// if there is none.
func (s *Service) join(ctx context.Context, tx *db.Tx, project, size int64, now time.Time) (Bucket, error) {
	// Somebody may close the bucket between finding and joining it; the next
	// round then finds or opens another.
	for range 8 {
		b, err := openBucket(ctx, tx, project, now, now.Add(s.settings.BucketAge))
		if err != nil {
			return Bucket{}, err
		}
		b, joined, err := joinBucket(ctx, tx, b.ID, size, now)
		if err != nil || joined {
			return b, err
		}
	}
	return Bucket{}, fault.New(fault.Conflict, "project %d: its buckets close faster than they fill; try again", project)
}

// giveUp ends a content that was not acknowledged. It works for a caller who
// has gone: that is the usual reason to be here.
func (s *Service) giveUp(ctx context.Context, c Content, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	reason := cause.Error()
	switch {
	case errors.Is(cause, context.Canceled):
		reason = "the upload was broken off; send it again"
	case errors.Is(cause, io.ErrUnexpectedEOF):
		reason = fmt.Sprintf("the upload was broken off: %v; send it again", cause)
	}
	reason = cleanText(reason, maxReason)
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		c.State, c.Reason, c.UpdatedAt = Failed, reason, s.now()
		err := moveContent(ctx, tx, c.ID, Receiving, Failed, reason, c.UpdatedAt)
		if fault.Is(err, fault.Conflict) {
			return nil // a sweep was faster
		}
		if err != nil {
			return err
		}
		return announce(ctx, tx, c)
	})
}
