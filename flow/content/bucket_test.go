package content_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/piece"
)

func (h *house) add(seed uint64, n int) content.Content {
	h.t.Helper()
	return ok(h.contents.AddFile(h.t.Context(), content.Add{Project: project, Name: fmt.Sprint(seed)}, bytes.NewReader(noise(seed, n))))(h.t)
}

func TestBucketLife(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		h.run(true)
		one, same, two := h.add(1, 50_000), h.add(1, 50_000), h.add(2, 10)
		b := ok(h.contents.CloseBucket(t.Context(), project, one.Bucket))(t)
		b = h.reaches(b.ID, content.Ready)
		plan := ok(h.pieces.Plan(t.Context(), b.Plan))(t)
		if plan.State != piece.Packed || len(plan.Pieces) != 1 || plan.Label != fmt.Sprintf("bucket/%d", b.ID) {
			t.Fatalf("plan %+v", plan)
		}
		for _, c := range []content.Content{one, same, two} {
			if got := h.get(c.ID); got.State != content.Packed || got.Bucket != b.ID {
				t.Errorf("content %+v", got)
			}
		}
		held := 0
		for range dag.Links(t.Context(), h.blocks, cid.MustParse(plan.Pieces[0].Root)) {
			held++
		}
		if held != 2 {
			t.Errorf("the piece holds %d roots, want each CID once", held)
		}
		if again := ok(h.contents.CloseBucket(t.Context(), project, b.ID))(t); again.State != content.Ready {
			t.Errorf("closed again: %+v", again)
		}
		h.copies.set(2, 1)
		h.reaches(b.ID, content.Dealing)
		must(t, h.contents.Remove(t.Context(), project, two.ID))
		h.copies.set(2, 2)
		h.reaches(b.ID, content.Complete)
		if got := h.get(one.ID); got.State != content.StoredOnFilecoin {
			t.Errorf("content %+v", got)
		}
		if got := h.get(two.ID); got.State != content.Removed {
			t.Errorf("a removed content came back: %+v", got)
		}
		if next := h.add(3, 10); next.Bucket == b.ID {
			t.Error("a bucket that is over took one more")
		}
		for _, kind := range []string{"bucket.closing", "bucket.packing", "bucket.ready", "bucket.dealing", "bucket.complete"} {
			until(t, func() bool { return count(h.kinds(), kind) == 1 })
		}
		until(t, func() bool {
			all := h.kinds()
			return count(all, "content.stored") == 4 && count(all, "content.packed") == 3 && count(all, "content.stored_on_filecoin") == 2
		})
	})
}

func TestBucketsCloseBySizeAndNumber(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		s := plain
		s.BucketSize, s.BucketContents = 1000, 3
		h := build(t, open, s)
		first, second := h.add(1, 999), h.add(2, 5000)
		if second.Bucket != first.Bucket {
			t.Error("the last one may overshoot")
		}
		if b := h.bucket(first.Bucket); b.State != content.Closing || b.Size != 5999 {
			t.Errorf("full by size: %+v", b)
		}
		third := h.add(3, 1)
		h.add(4, 1)
		if b := h.bucket(third.Bucket); b.State != content.Open {
			t.Errorf("two of three: %+v", b)
		}
		if fifth := h.add(5, 1); fifth.Bucket != third.Bucket || h.bucket(third.Bucket).State != content.Closing {
			t.Errorf("full by number: %+v", h.bucket(third.Bucket))
		}
		for state, want := range map[content.BucketState]int{"": 2, content.Closing: 2, content.Open: 0} {
			if got := ok(h.contents.Buckets(t.Context(), project, content.BucketFilter{State: state}))(t); len(got) != want {
				t.Errorf("%d buckets %q, want %d", len(got), state, want)
			}
		}
		if got := ok(h.contents.Buckets(t.Context(), project, content.BucketFilter{Before: third.Bucket, Limit: 5}))(t); len(got) != 1 {
			t.Errorf("%d buckets before the second", len(got))
		}
		if _, err := h.contents.Bucket(t.Context(), project+1, third.Bucket); !fault.Is(err, fault.NotFound) {
			t.Errorf("another project's: %v", err)
		}
	})
}

func TestBucketsCloseByAge(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		c := h.add(1, 10)
		h.clock.move(plain.BucketAge - time.Second)
		must(t, h.contents.Reconcile(t.Context()))
		if b := h.bucket(c.Bucket); b.State != content.Open {
			t.Fatalf("closed before its time: %+v", b)
		}
		h.clock.move(time.Second)
		must(t, h.contents.Reconcile(t.Context()))
		if b := h.bucket(c.Bucket); b.State != content.Packing || b.Plan == 0 { // closed and handed on in one round
			t.Errorf("bucket %+v", b)
		}
		empty := h.add(2, 10)
		must(t, h.contents.Remove(t.Context(), project, empty.ID))
		if _, err := h.contents.CloseBucket(t.Context(), project, empty.Bucket); !fault.Is(err, fault.Conflict) {
			t.Errorf("closed an empty bucket: %v", err)
		}
		h.clock.move(plain.BucketAge)
		must(t, h.contents.Reconcile(t.Context()))
		if b := h.bucket(empty.Bucket); b.State != content.Collected {
			t.Errorf("empty bucket %+v", b)
		}
	})
}

// A plan that fails leaves a bucket that says why and when it tries again, and
// the next attempt succeeds when the reason is gone.
func TestFailedPlanIsTriedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		h.run(true)
		c, gone := h.add(1, 100), h.add(2, 50)
		held := ok(h.blocks.Get(t.Context(), cid.MustParse(c.CID)))(t)
		must(t, h.blocks.DeleteBlock(t.Context(), held.Cid()))
		ok(h.contents.CloseBucket(t.Context(), project, c.Bucket))(t)
		var tried []int64
		for attempt, wait := range []time.Duration{time.Minute, 2 * time.Minute} {
			b := h.reaches(c.Bucket, content.Broken)
			if !strings.Contains(b.Reason, c.CID) || b.Attempt != attempt+1 || b.NextAttempt == nil || !b.NextAttempt.Equal(h.clock.now().Add(wait)) {
				t.Fatalf("attempt %d: %+v", attempt, b)
			}
			tried = append(tried, b.Plan)
			if attempt == 1 {
				must(t, h.contents.Remove(t.Context(), project, gone.ID))
				if b := h.bucket(c.Bucket); b.Contents != 1 || b.Size != 100 {
					t.Errorf("one left a failed bucket: %+v", b)
				}
				must(t, h.blocks.Put(t.Context(), held))
			}
			h.clock.move(wait)
			until(t, func() bool { b := h.bucket(c.Bucket); return b.Attempt > attempt+1 || b.State == content.Ready })
		}
		b := h.reaches(c.Bucket, content.Ready)
		if b.Reason != "" || b.Attempt != 0 || b.NextAttempt != nil || b.Plan == tried[0] || b.Plan == tried[1] {
			t.Errorf("bucket %+v after plans %v", b, tried)
		}
		if got := h.get(c.ID); got.State != content.Packed {
			t.Errorf("content %+v", got)
		}
	})
}

// Two nodes on one database take contents in and move buckets side by side:
// one open bucket a project, each bucket packed once, nothing lost.
func TestTwoNodesRace(t *testing.T) {
	url := dbtest.PostgresURL(t)
	again := func() *db.DB {
		return dbtest.Reopen(t, url, event.Migrations, piece.Migrations(), content.Migrations())
	}
	s := plain
	s.BucketContents = 7
	h := buildOn(t, again(), s)
	nodes := []*content.Service{h.contents}
	h.run(true)
	h.beside(again(), s)
	nodes = append(nodes, h.contents)
	h.run(true)
	var uploads sync.WaitGroup
	const each = 30
	for n, node := range nodes {
		for w := range 4 {
			uploads.Go(func() {
				for i := range each {
					_, err := node.AddFile(t.Context(), content.Add{Project: project}, bytes.NewReader(noise(uint64(n*1000+w*100+i), 100)))
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	uploads.Wait()
	for _, b := range ok(h.contents.Buckets(t.Context(), project, content.BucketFilter{State: content.Open}))(t) {
		if b.Contents > 0 {
			ok(h.contents.CloseBucket(t.Context(), project, b.ID))(t)
		}
	}
	all := 2 * 4 * each
	until(t, func() bool {
		return len(ok(h.contents.List(t.Context(), project, content.Filter{State: content.Packed, Limit: 1000}))(t)) == all
	})
	var sum int64
	plans := map[int64]bool{}
	for _, b := range ok(h.contents.Buckets(t.Context(), project, content.BucketFilter{Limit: 1000}))(t) {
		if b.State != content.Ready || b.Contents > s.BucketContents || plans[b.Plan] {
			t.Errorf("bucket %+v", b)
		}
		plans[b.Plan] = true
		sum += b.Contents
	}
	if sum != int64(all) {
		t.Errorf("buckets hold %d contents, want %d", sum, all)
	}
	until(t, func() bool { return count(h.kinds(), "bucket.packing") == len(plans) })
}
