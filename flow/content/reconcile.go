package content

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// sweepPage is how many rows the reconciler takes at a time.
const sweepPage = 200

// Reconcile moves every bucket as far along as the rows allow, and ends uploads
// that broke off. It may run in several processes at once: each step is a
// compare-and-swap, and losing one means somebody else took it.
func (s *Service) Reconcile(ctx context.Context) error {
	errs := []error{s.sweep(ctx)}
	for _, state := range []BucketState{Open, Closing, Packing, Ready, Dealing, Broken} {
		errs = append(errs, each(s.restless(ctx, state), func(b Bucket) error {
			err := s.step(ctx, b)
			if fault.Is(err, fault.Conflict) {
				return nil
			}
			if err != nil && ctx.Err() == nil {
				// One bad bucket must not hold the others up.
				s.log.Error("bucket is stuck", "bucket", b.ID, "state", string(b.State), "err", err)
				return nil
			}
			return err
		}))
	}
	return errors.Join(errs...)
}

// restless iterates over the buckets in a state that may have to move.
func (s *Service) restless(ctx context.Context, state BucketState) iter.Seq2[Bucket, error] {
	return func(yield func(Bucket, error) bool) {
		for after := int64(0); ; {
			page, err := restless(ctx, s.db.Read(), state, s.now(), after, sweepPage)
			if err != nil {
				yield(Bucket{}, err)
				return
			}
			for _, b := range page {
				if !yield(b, nil) {
					return
				}
				after = b.ID
			}
			if len(page) < sweepPage {
				return
			}
		}
	}
}

// sweep ends contents whose upload gave no sign of life within its lease.
func (s *Service) sweep(ctx context.Context) error {
	lost, err := expired(ctx, s.db.Read(), s.now(), sweepPage)
	if err != nil {
		return err
	}
	for _, c := range lost {
		if err := s.giveUp(ctx, c, fault.New(fault.Unavailable, "the node stopped while it was being received; send it again")); err != nil {
			return err
		}
	}
	return nil
}

// step takes one bucket one state further, if it can.
func (s *Service) step(ctx context.Context, b Bucket) error {
	switch b.State {
	case Open: // its age is reached
		to := Closing
		if b.Contents == 0 {
			to = Collected
		}
		return s.moveNow(ctx, b, to)
	case Closing:
		return s.pack(ctx, b)
	case Packing:
		return s.takePieces(ctx, b)
	case Ready, Dealing:
		return s.countCopies(ctx, b)
	case Broken:
		b.NextAttempt = nil
		return s.moveNow(ctx, b, Closing)
	}
	return nil
}

// pack hands a closed bucket's contents to packing, in the transaction that
// says so.
func (s *Service) pack(ctx context.Context, b Bucket) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		held, err := rootsOf(ctx, tx, b.ID)
		if err != nil {
			return err
		}
		if len(held) == 0 { // all of it was removed meanwhile
			return s.move(ctx, tx, &b, Collected)
		}
		roots := make([]piece.Root, len(held))
		for i, c := range held {
			roots[i] = piece.Root{CID: c.CID, Name: c.CID, Size: c.Size}
		}
		if b.Plan, err = s.pieces.Submit(ctx, tx, b.Project, fmt.Sprintf("bucket/%d", b.ID), roots); err != nil {
			return err
		}
		return s.move(ctx, tx, &b, Packing)
	})
}

// takePieces reads what became of a bucket's plan.
func (s *Service) takePieces(ctx context.Context, b Bucket) error {
	plan, err := s.pieces.Plan(ctx, b.Plan)
	if err != nil {
		return err
	}
	switch plan.State {
	case piece.Packed:
		b.Reason, b.Attempt = "", 0
		return s.moveAll(ctx, b, Ready, Stored, Packed)
	case piece.Failed:
		b.Attempt++
		b.Reason = plan.Reason
		next := s.now().Add(retryAfter(b.Attempt))
		b.NextAttempt = &next
		return s.moveNow(ctx, b, Broken)
	}
	return nil
}

// countCopies compares the copies there are with the copies wanted.
func (s *Service) countCopies(ctx context.Context, b Bucket) error {
	wanted, active, err := s.copies.Copies(ctx, b.Plan)
	switch {
	case err != nil || wanted == 0:
		return err
	case active >= wanted:
		return s.moveAll(ctx, b, Complete, Packed, StoredOnFilecoin)
	case b.State == Ready:
		return s.moveNow(ctx, b, Dealing)
	}
	return nil
}

func (s *Service) moveNow(ctx context.Context, b Bucket, to BucketState) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return s.move(ctx, tx, &b, to) })
}

// moveAll moves a bucket and its contents together.
func (s *Service) moveAll(ctx context.Context, b Bucket, to BucketState, from, state State) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := s.move(ctx, tx, &b, to); err != nil {
			return err
		}
		moved, err := moveContents(ctx, tx, b.ID, from, state, b.UpdatedAt)
		if err != nil {
			return err
		}
		for _, c := range moved {
			if err := announce(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// move writes a bucket's new state and tells it.
func (s *Service) move(ctx context.Context, tx *db.Tx, b *Bucket, to BucketState) error {
	from := b.State
	b.State, b.UpdatedAt = to, s.now()
	if err := saveBucket(ctx, tx, *b, from); err != nil {
		return err
	}
	return event.Append(ctx, tx, event.Event{
		At: b.UpdatedAt, Kind: "bucket." + string(to), Project: b.Project, Subject: fmt.Sprintf("bucket/%d", b.ID),
		Data: event.JSON(bucketFact{b.ID, b.Size, b.Contents, b.Plan, b.Reason, b.NextAttempt}),
	})
}

// bucketFact is the data of a bucket's events.
type bucketFact struct {
	ID          int64      `json:"id"`
	Size        int64      `json:"size"`
	Contents    int64      `json:"contents"`
	Plan        int64      `json:"plan,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
}

// contentFact is the data of a content's events.
type contentFact struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	CID    string `json:"cid,omitempty"`
	Size   int64  `json:"size"`
	Files  int64  `json:"files"`
	Bucket int64  `json:"bucket,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// announce tells the state a content has reached.
func announce(ctx context.Context, tx *db.Tx, c Content) error {
	return event.Append(ctx, tx, event.Event{
		At: c.UpdatedAt, Kind: "content." + string(c.State), Project: c.Project, Subject: fmt.Sprintf("content/%d", c.ID),
		Data: event.JSON(contentFact{c.ID, c.Name, c.CID, c.Size, c.Files, c.Bucket, c.Reason}),
	})
}
