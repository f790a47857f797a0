package dataset_test

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/base/indexdag/routertest"
	"github.com/firth-project/firth/flow/dataset"
)

// routed has the house give its records to routers; the second of them is told
// with a password.
func (h *house) routed(validity time.Duration) (all []*routertest.Router) {
	h.t.Helper()
	var urls []*indexdag.Router
	for i := range 2 {
		r := routertest.New()
		server := httptest.NewServer(r)
		h.t.Cleanup(server.Close)
		url := server.URL
		if i == 1 {
			url = strings.Replace(url, "//", "//me:tell-nobody@", 1)
		}
		all, urls = append(all, r), append(urls, ok(indexdag.OpenRouter(url, nil))(h.t))
	}
	h.hire(h.dir, func(s *dataset.Settings) { s.Routers, s.NameValidity = urls, validity })
	return all
}

func (h *house) name(d dataset.Dataset) dataset.Name {
	h.t.Helper()
	return ok(h.data.Name(h.t.Context(), project, d.ID))(h.t)
}

// leads waits until a router has the latest record of a name, and returns what
// it says.
func (h *house) leads(d dataset.Dataset, r *routertest.Router, index string) (rec indexdag.Record) {
	h.t.Helper()
	until(h.t, func() bool {
		n := h.name(d)
		var err error
		rec, err = indexdag.VerifyRecord(n.Name, r.Record(n.Name))
		return err == nil && rec.Path == "/ipfs/"+index && int64(rec.Sequence) == n.Sequence
	})
	return rec
}

// A name leads to the index of whichever preparation was complete last, also at
// the routers, and keeps leading there.
func TestPublish(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		routers := h.routed(0)
		routers[1].Refuse(2)
		stop := h.run()
		dir := tree(t, map[string][]byte{"one": noise(1, 1000)})
		d := h.create("photos", dir, small())
		if _, err := h.data.Name(t.Context(), project, d.ID); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "publish") {
			t.Errorf("%v", err)
		}
		if _, err := h.data.Unpublish(t.Context(), project, d.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		early := ok(h.data.Publish(t.Context(), project, d.ID))(t)
		if early.Record != nil || !early.Published || early.Sequence != 0 || !strings.HasPrefix(early.Name, "k51") || len(early.Deliveries) != 2 {
			t.Errorf("%+v", early)
		}
		if _, err := h.data.Record(t.Context(), early.Name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		first := h.prepare(d)
		rec := h.leads(d, routers[0], first.IndexRoot)
		if left := time.Until(rec.Expires); left < 167*time.Hour || left > 168*time.Hour || rec.Cache != dataset.NameCache {
			t.Errorf("%+v", rec)
		}
		h.leads(d, routers[1], first.IndexRoot)
		if routers[1].Puts() < 3 {
			t.Errorf("the second router was asked %d times", routers[1].Puts())
		}
		until(t, func() bool { // what the routers said is written down after they said it
			n := h.name(d)
			for _, r := range n.Deliveries {
				if r.Sequence != n.Sequence || r.Reason != "" || r.DeliveredAt == nil || strings.Contains(r.Router, "tell-nobody") {
					return false
				}
			}
			return len(n.Deliveries) == 2
		})

		// Again changes nothing; a new index does.
		before := h.name(d)
		if n := ok(h.data.Publish(t.Context(), project, d.ID))(t); n.Name != early.Name || n.Sequence != before.Sequence {
			t.Errorf("%+v", n)
		}
		write(t, filepath.Join(dir, "two"), noise(2, 1000))
		second := h.prepare(d)
		h.leads(d, routers[0], second.IndexRoot)
		if n := h.name(d); n.Sequence <= before.Sequence || n.Preparation != second.ID || n.Index != second.IndexRoot {
			t.Errorf("%+v after %+v", n, before)
		}
		kept := ok(indexdag.VerifyRecord(early.Name, ok(h.data.Record(t.Context(), early.Name))(t)))(t)
		if kept.Path != "/ipfs/"+second.IndexRoot {
			t.Errorf("%+v", kept)
		}

		// The preparation before is the latest again when this one goes.
		must(t, h.data.Remove(t.Context(), project, second.ID, false))
		h.leads(d, routers[0], first.IndexRoot)

		gone := ok(h.data.Unpublish(t.Context(), project, d.ID))(t)
		if gone.Published || gone.Record != nil || gone.ExpiresAt == nil {
			t.Errorf("%+v", gone)
		}
		ok(h.data.Unpublish(t.Context(), project, d.ID))(t)
		if _, err := h.data.Record(t.Context(), early.Name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		h.prepare(d)
		if n := h.name(d); n.Sequence != gone.Sequence {
			t.Errorf("signed though withdrawn: %+v", n)
		}
		back := ok(h.data.Publish(t.Context(), project, d.ID))(t)
		if back.Name != early.Name || back.Sequence <= gone.Sequence {
			t.Errorf("%+v", back)
		}
		must(t, h.data.RemoveDataset(t.Context(), project, d.ID, false))
		if _, err := h.data.Record(t.Context(), early.Name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		stop()
	})
}

// A record is renewed before it expires, and by another process too; one that
// has other routers asks those.
func TestRenew(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	routers := h.routed(3 * time.Second) // due after one
	stop := h.run()
	d := h.create("photos", tree(t, map[string][]byte{"one": noise(1, 1000)}), small())
	p := h.prepare(d)
	n := ok(h.data.Publish(t.Context(), project, d.ID))(t)
	if n.RenewAt == nil || n.ExpiresAt.Sub(*n.RenewAt) < time.Second {
		t.Errorf("%+v", n)
	}
	stop()
	other := h.routed(3 * time.Second)
	h.run()
	for _, s := range h.data.Schedules() {
		if s.Kind == "dataset.renew" {
			s.Every = 100 * time.Millisecond
			must(t, h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error { return h.jobs.Schedule(ctx, tx, s) }))
		}
	}
	until(t, func() bool { return h.name(d).Sequence >= n.Sequence+2 })
	h.leads(d, other[0], p.IndexRoot)
	if got := routers[0].Record(n.Name); got != nil {
		if rec, err := indexdag.VerifyRecord(n.Name, got); err == nil && int64(rec.Sequence) > n.Sequence {
			t.Errorf("a router that is not configured was given %+v", rec)
		}
	}
}

// Who publishes at once gets one name; what is sealed with another secret is
// told, and so is a stranger.
func TestPublishAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		stop := h.run()
		d := h.create("photos", tree(t, map[string][]byte{"one": noise(1, 1000)}), small())
		h.prepare(d)
		stop()
		var all sync.WaitGroup
		names := make([]dataset.Name, 8)
		for i := range names {
			all.Go(func() {
				var err error
				if names[i], err = h.data.Publish(t.Context(), project, d.ID); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, n := range names {
			if now := h.name(d); n.Name != now.Name || n.Sequence != now.Sequence {
				t.Errorf("%+v, and %+v", n, now)
			}
		}
		if _, err := h.data.Publish(t.Context(), project+1, d.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		if _, err := h.data.Name(t.Context(), project+1, d.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		ok(h.data.Unpublish(t.Context(), project, d.ID))(t)
		h.hireSealed(wrongSeal{})
		if _, err := h.data.Publish(t.Context(), project, d.ID); !fault.Is(err, fault.Forbidden) || h.name(d).Published {
			t.Errorf("%v", err)
		}
	})
}
