package deal_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/devnet"
	"github.com/firth-project/firth/flow/deal"
)

// cdn is somebody else's server of pieces, which opens to one header.
type cdn struct {
	*httptest.Server
	mu    sync.Mutex
	empty bool
	asked map[string]int // HEAD requests, by path and query
}

const secret = "Bearer tell-nobody"

func (w *world) cdn() *cdn {
	w.Helper()
	c := &cdn{asked: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		empty := c.empty
		if r.Method == http.MethodHead {
			c.asked[r.URL.RequestURI()]++
		}
		c.mu.Unlock()
		if r.Header.Get("Authorization") != secret {
			http.Error(out, "who are you", http.StatusForbidden)
			return
		}
		if r.URL.Path = "/piece/" + r.URL.Query().Get("v"); empty {
			r.URL.Path = "/piece/none"
		}
		r.Header.Set("Authorization", "Bearer firthp_test")
		w.servePiece(out, r)
	}))
	w.Cleanup(c.Close)
	// The node's own server is not there at all.
	w.links = links{"http://127.0.0.1:1"}
	return c
}

func (c *cdn) template() string { return c.URL + "/cars/{piece_cid_v1}.car?v={piece_cid}" }

func (c *cdn) wasAsked(uri string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[uri] > 0
}

func (c *cdn) fill(empty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty = empty
}

// A policy has its pieces fetched from outside, with a header that nobody can
// read again: neither people, nor who has the database.
func TestOutside(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 1})
		c := w.cdn()
		w.index()
		died := make(chan struct{})
		first := w.run(&dying{Market: w.market, died: died}, true)
		p := w.policy(deal.Policy{Copies: 1, URLTemplate: c.template(), HTTPHeaders: map[string]string{"authorization": secret}})
		if len(p.HTTPHeaders) != 1 || p.HTTPHeaders["Authorization"] != deal.Hidden {
			t.Errorf("shown: %v", p.HTTPHeaders)
		}
		plan := w.pack(3000)
		<-died
		first.stop()
		var request, headers []byte
		w.must(w.db.Read().NewRaw("SELECT request FROM deal").Scan(w.ctx, &request))
		w.must(w.db.Read().NewRaw("SELECT headers FROM deal_policy").Scan(w.ctx, &headers))
		if len(request) == 0 || len(headers) == 0 || bytes.Contains(append(request, headers...), []byte("tell-nobody")) {
			t.Errorf("kept: %d bytes of a request, %d of headers, readable", len(request), len(headers))
		}
		n := w.run(w.market, false)
		w.copies(plan, 1)
		d, seen, err := n.Get(w.ctx, project, w.deals(deal.Filter{})[0].UUID)
		w.must(err)
		if !d.Outside || !strings.HasPrefix(d.URL, c.URL+"/cars/baga") || !strings.HasSuffix(d.URL, ".car?v="+d.PieceCID) {
			t.Errorf("fetched from %s (outside: %v)", d.URL, d.Outside)
		}
		if !c.wasAsked(strings.TrimPrefix(d.URL, c.URL)) || strings.Contains(fmt.Sprintf("%+v %s", d, seen), "tell-nobody") {
			t.Errorf("not asked for, or the header shows: %+v %s", d, seen)
		}
		again, err := n.Policies(w.ctx, project, deal.PolicyFilter{})
		w.must(err)
		if again[0].HTTPHeaders["Authorization"] != deal.Hidden || again[0].URLTemplate != c.template() {
			t.Errorf("listed: %+v", again)
		}
	})
}

// Without the header the outside server refuses: the deal fails and says why
// and where, the provider is not blamed, and a policy that is mended is acted
// on at once.
func TestOutsideRefuses(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 1})
		c := w.cdn()
		w.index()
		n := w.run(w.market, true)
		p := w.policy(deal.Policy{Copies: 1, URLTemplate: c.template()})
		plan := w.pack(3000)
		w.until("refused", func() bool { return len(w.deals(deal.Filter{State: deal.Failed})) == 1 })
		d := w.deals(deal.Filter{})[0]
		for _, word := range []string{"not to be had from " + c.URL, "code: 403", "http_headers"} {
			if !strings.Contains(d.Reason, word) {
				t.Errorf("reason %q, want %q", d.Reason, word)
			}
		}
		seen, err := w.providers.Observations(w.ctx, d.Provider, 50)
		w.must(err)
		for _, o := range seen {
			if o.Kind == "deal" {
				t.Errorf("blamed: %+v", o)
			}
		}
		w.until("waits", func() bool {
			steps, err := n.DryRun(w.ctx, project, p.ID)
			w.must(err)
			return len(steps) == 1 && steps[0].Action == deal.ActionWait &&
				strings.Contains(steps[0].Reason, "asked again, the first at 20") && strings.Contains(steps[0].Reason, "code: 403")
		})
		_, err = n.UpdatePolicy(w.ctx, project, p.ID, deal.Change{HTTPHeaders: &map[string]string{"Authorization": secret}})
		w.must(err)
		w.copies(plan, 1)
	})
}

// A piece that is not where it should be outside is not asked of everybody in
// the index: two say so, then one at a time, until it is there.
func TestOutsideAbsent(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 5})
		c := w.cdn()
		c.fill(true)
		w.index()
		n := w.run(w.market, true)
		p := w.policy(deal.Policy{
			Copies: 1, URLTemplate: c.template(), HTTPHeaders: map[string]string{"Authorization": secret}, StartDelayEpochs: 100_000,
		})
		plan := w.pack(3000)
		waits := func(failed int) {
			w.until(fmt.Sprintf("%d failed, nobody is asked", failed), func() bool {
				steps, err := n.DryRun(w.ctx, project, p.ID)
				w.must(err)
				return len(w.deals(deal.Filter{State: deal.Failed})) == failed && len(steps) == 1 && steps[0].Action == deal.ActionWait &&
					strings.Contains(steps[0].Reason, fmt.Sprintf("%d providers could not get the piece from %s", failed, c.URL)) &&
					strings.Contains(steps[0].Reason, "the next at 20") && strings.Contains(steps[0].Reason, "code: 404")
			})
			w.must(n.Reconcile(w.ctx))
			if all := w.deals(deal.Filter{}); len(all) != failed {
				t.Errorf("want %d deals:\n%s", failed, w.show())
			}
		}
		waits(2)
		w.passed.Add(int64(w.settings.Backoff))
		waits(3) // a fresh one
		w.passed.Add(int64(w.settings.Backoff))
		waits(3) // its wait is the second, and doubled
		c.fill(false)
		w.passed.Add(int64(w.settings.Backoff))
		w.copies(plan, 1)
		seen := map[string]int{}
		for _, d := range w.deals(deal.Filter{}) {
			seen[d.Provider]++
		}
		if len(seen) != 4 {
			t.Errorf("want four asked, none of them again:\n%s", w.show())
		}
	})
}

// Values that are hidden are kept, and for their own server only.
func TestOutsideHeadersStay(t *testing.T) {
	w := open(t, dbtest.SQLite, devnet.Config{Providers: 1, Epoch: -1})
	n := w.build(w.market)
	const here, there = "https://cdn.example/{piece_cid}", "https://other.example/{piece_cid}"
	headers := map[string]string{"X-A": "one", "X-B": "two"}
	p := w.policy(deal.Policy{URLTemplate: here, HTTPHeaders: headers})
	change := func(c deal.Change) (deal.Policy, error) { return n.UpdatePolicy(w.ctx, project, p.ID, c) }
	moved, path, none, blank := there, "https://CDN.example/b/{piece_cid_v1}", "", "https://cdn.example/404"
	hidden := func(names ...string) *map[string]string {
		m := map[string]string{}
		for _, name := range names {
			m[name] = deal.Hidden
		}
		return &m
	}
	for word, c := range map[string]deal.Change{
		"was for another server":  {URLTemplate: &moved},
		"for another server than": {URLTemplate: &moved, HTTPHeaders: hidden("X-A")},
		"there is none":           {HTTPHeaders: hidden("X-C")},
		"neither {piece_cid}":     {URLTemplate: &blank},
		"none is named":           {URLTemplate: &none, HTTPHeaders: hidden("X-A")},
	} {
		if _, err := change(c); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%v, want %q", err, word)
		}
	}
	for step, c := range []deal.Change{
		{URLTemplate: &path},
		{HTTPHeaders: &map[string]string{"x-a": deal.Hidden, "X-D": "four"}},
		{URLTemplate: &moved, HTTPHeaders: &map[string]string{"X-E": "five"}},
		{URLTemplate: &none},
	} {
		got, err := change(c)
		want := []string{"map[X-A:*** X-B:***]", "map[X-A:*** X-D:***]", "map[X-E:***]", "map[]"}[step]
		if err != nil || fmt.Sprint(got.HTTPHeaders) != want {
			t.Errorf("step %d: %v, %v; want %s", step, got.HTTPHeaders, err, want)
		}
		var kept [][]byte
		w.must(w.db.Read().NewRaw("SELECT headers FROM deal_policy WHERE headers IS NOT NULL").Scan(w.ctx, &kept))
		var plain string
		if len(kept) == 1 {
			text, err := letter{}.Open(kept[0])
			w.must(err)
			plain = string(text)
		}
		if want := []string{`{"X-A":"one","X-B":"two"}`, `{"X-A":"one","X-D":"four"}`, `{"X-E":"five"}`, ``}[step]; plain != want {
			t.Errorf("step %d keeps %s, want %s", step, plain, want)
		}
	}
}

// A policy whose headers do not open any more, because the node's secret is
// another, stops and says what helps.
func TestOutsideSecretLost(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite, devnet.Config{Providers: 1})
	c := w.cdn()
	w.index()
	n := w.run(w.market, true)
	p := w.policy(deal.Policy{Copies: 1, URLTemplate: c.template(), HTTPHeaders: map[string]string{"Authorization": secret}})
	w.must(w.db.Tx(w.ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.NewRaw("UPDATE deal_policy SET headers = ?", []byte("another's")).Exec(ctx)
		return err
	}))
	plan := w.pack(3000)
	w.until("paused", func() bool {
		p, err := n.Policy(w.ctx, project, p.ID)
		w.must(err)
		return p.State == deal.PolicyPaused && strings.Contains(p.Reason, "http_headers: does not open") && strings.Contains(p.Reason, "give them again")
	})
	_, err := n.UpdatePolicy(w.ctx, project, p.ID, deal.Change{HTTPHeaders: &map[string]string{"Authorization": secret}})
	w.must(err)
	_, err = n.ResumePolicy(w.ctx, project, p.ID)
	w.must(err)
	w.copies(plan, 1)
	if d := w.deals(deal.Filter{State: deal.Active}); len(d) != 1 || time.Since(d[0].CreatedAt) > time.Hour {
		t.Errorf("%+v", d)
	}
}

// A proposal that was kept before they were sealed is sent as it is; one that
// does not open any more ends its deal, for another to be made.
func TestKeptProposals(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]func(request []byte) (again []byte, sealed bool){
		"in clear":  func(request []byte) ([]byte, bool) { plain, _ := letter{}.Open(request); return plain, false },
		"another's": func([]byte) ([]byte, bool) { return []byte("what"), true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, dbtest.SQLite, devnet.Config{Providers: 1})
			w.index()
			died := make(chan struct{})
			first := w.run(&dying{Market: w.market, died: died}, true)
			w.policy(deal.Policy{Copies: 1})
			plan := w.pack(3000)
			<-died
			first.stop()
			w.must(w.db.Tx(w.ctx, func(ctx context.Context, tx *db.Tx) error {
				var request []byte
				if err := tx.NewRaw("SELECT request FROM deal").Scan(ctx, &request); err != nil {
					return err
				}
				again, sealed := kept(request)
				_, err := tx.NewRaw("UPDATE deal SET request = ?, request_sealed = ?", again, sealed).Exec(ctx)
				return err
			}))
			w.run(w.market, false)
			w.copies(plan, 1)
			failed := w.deals(deal.Filter{State: deal.Failed})
			if name == "in clear" && len(failed) != 0 || name != "in clear" && (len(failed) != 1 || !strings.Contains(failed[0].Reason, "signed proposal does not open")) {
				t.Errorf("deals:\n%s", w.show())
			}
		})
	}
}
