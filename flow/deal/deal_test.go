package deal_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/devnet"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/provider"
)

func TestCopiesBecomeActive(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 4})
		w.index()
		n := w.run(w.market, true)
		p := w.policy(deal.Policy{Name: "three", Copies: 3})
		plans := []int64{w.pack(3000), w.pack(700_000)}
		for _, plan := range plans {
			w.copies(plan, 3)
		}
		seen := map[string]bool{}
		for _, d := range w.deals(deal.Filter{}) {
			key := fmt.Sprint(d.Piece, d.Provider)
			if seen[key] || d.State != deal.Active {
				t.Errorf("deal %+v: want one active deal a piece and provider", d)
			}
			seen[key] = true
			onChain, err := w.chain.MarketDeal(w.ctx, abi.DealID(d.DealID))
			if err != nil || !onChain.State.Active() {
				t.Errorf("deal %d on chain: %+v, %v", d.DealID, onChain.State, err)
			}
			detail, observations, err := n.Get(w.ctx, project, d.UUID)
			w.must(err)
			if detail.ProposalCID == "" || detail.PublishCID == "" || len(observations) < 4 || observations[0].To != deal.Draft {
				t.Errorf("detail %+v, observations %+v", detail, observations)
			}
			for i, o := range observations[1:] {
				if o.From != observations[i].To {
					t.Errorf("observation %+v does not follow %+v", o, observations[i])
				}
			}
			wanted, state, err := n.Liveness(w.ctx, d.ProposalCID)
			if !wanted || state != deal.Active || err != nil {
				t.Errorf("liveness: %v %s %v", wanted, state, err)
			}
		}
		if len(seen) != 6 {
			t.Errorf("%d deals, want 6\n%s", len(seen), w.show())
		}
		status, err := n.PolicyStatus(w.ctx, project, p.ID)
		if want := (deal.PolicyStatus{Pieces: 2, Wanted: 6, Active: 6}); err != nil || status != want {
			t.Errorf("status %+v, %v; want %+v", status, err, want)
		}
	})
}

// A provider that refuses, lies, is gone or stalls is replaced, and the reason
// can be read.
func TestBadProvidersAreReplaced(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 5})
		w.settings.Backoff = time.Hour // nobody is asked again in here
		w.index()
		faults := []devnet.Fault{devnet.Reject, devnet.Lie, devnet.Vanish, devnet.Stall}
		for i, f := range faults {
			w.must(w.net.SetFault(w.info.Providers[i].ID, f))
		}
		w.run(w.market, true)
		w.policy(deal.Policy{Copies: 5})
		plan := w.pack(3000)
		reasons := []struct {
			state deal.State
			word  string
		}{
			{deal.Rejected, "maintenance window"}, {deal.Failed, "commp mismatch"},
			{deal.Failed, "could not be reached"}, {deal.Failed, "no progress for 5m0s"},
		}
		w.until("the good provider's copy", func() bool { return len(w.byProvider(4, deal.Active)) == 1 })
		for i, want := range reasons {
			if faults[i] == devnet.Stall {
				w.rests(i)
				w.passed.Add(int64(w.settings.Silence))
			}
			w.until(fmt.Sprintf("%s of %s", want.word, faults[i]), func() bool {
				found := w.byProvider(i, want.state)
				return len(found) > 0 && strings.Contains(found[0].Reason, want.word)
			})
			seen, err := w.providers.Observations(w.ctx, w.info.Providers[i].ID, 10)
			if err != nil || len(seen) == 0 || seen[0].OK || seen[0].Code != string(want.state) {
				t.Errorf("observations of provider with %s: %+v, %v", faults[i], seen, err)
			}
		}
		// Five copies want five providers; now two will do.
		policies, err := w.nodes[0].Policies(w.ctx, project, deal.PolicyFilter{})
		w.must(err)
		steps, err := w.nodes[0].DryRun(w.ctx, project, policies[0].ID)
		if err != nil || len(steps) != 1 || steps[0].Action != deal.ActionWait || !strings.Contains(steps[0].Reason, "lacks 4 of 5 copies") {
			t.Errorf("dry run %+v, %v", steps, err)
		}
		one := 1
		_, err = w.nodes[0].UpdatePolicy(w.ctx, project, policies[0].ID, deal.Change{Copies: &one})
		w.must(err)
		w.copies(plan, 1)
		if got := w.byProvider(4, deal.Active); len(got) != 1 {
			t.Errorf("the good provider has %d active deals\n%s", len(got), w.show())
		}
		candidates, err := w.providers.Candidates(w.ctx, provider.Want{PaddedSize: 4096})
		if err != nil || len(candidates) == 0 || candidates[0].Actor != w.info.Providers[4].ID {
			t.Errorf("candidates %+v, %v: want the one without failures first", candidates, err)
		}
	})
}

func TestSlashedDealIsReplaced(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 2})
		w.settings.ActiveInterval = time.Hour // the chain's events come first
		w.index()
		n := w.run(w.market, true)
		w.policy(deal.Policy{Copies: 1})
		plan := w.pack(3000)
		w.copies(plan, 1)
		first := w.deals(deal.Filter{State: deal.Active})[0]
		w.must(w.net.SetFault(first.Provider, devnet.Slash))
		w.until("slashed", func() bool { return len(w.deals(deal.Filter{State: deal.Slashed})) == 1 })
		w.copies(plan, 1)
		if second := w.deals(deal.Filter{State: deal.Active})[0]; second.Provider == first.Provider {
			t.Errorf("replaced by the provider that was slashed\n%s", w.show())
		}
		gone, observations, err := n.Get(w.ctx, project, first.UUID)
		w.must(err)
		if last := observations[len(observations)-1]; last.Source != deal.FromChain || !strings.Contains(gone.Reason, "terminated on chain at epoch") {
			t.Errorf("%q by %s", gone.Reason, last.Source)
		}
		if wanted, _, err := n.Liveness(w.ctx, first.UUID); wanted || err != nil {
			t.Errorf("a slashed deal is still wanted (%v)", err)
		}
	})
}

func TestNeverPublishedExpires(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite, devnet.Config{Providers: 1, Faults: map[int]devnet.Fault{1: devnet.NeverPublish}})
	w.index()
	w.run(w.market, true)
	w.policy(deal.Policy{Copies: 1, StartDelayEpochs: 100_000})
	w.pack(3000)
	w.until("under way", func() bool {
		found := w.deals(deal.Filter{})
		return len(found) == 1 && found[0].State == deal.Transferring
	})
	w.net.Advance(100_000)
	w.until("proposal expired", func() bool {
		found := w.deals(deal.Filter{State: deal.ProposalExpired})
		return len(found) == 1 && strings.Contains(found[0].Reason, "not on chain by its start epoch")
	})
}

// counting counts the proposals that really leave, and may break them.
type counting struct {
	deal.Market
	mu    sync.Mutex
	sent  map[string]int // by the bytes
	after func() error   // what comes in place of the answer
}

func (c *counting) Propose(ctx context.Context, p provider.Provider, request []byte) (deal.Answer, error) {
	c.mu.Lock()
	if c.sent == nil {
		c.sent = map[string]int{}
	}
	c.sent[string(request)]++
	c.mu.Unlock()
	answer, err := c.Market.Propose(ctx, p, request)
	if c.after != nil {
		return deal.Answer{}, c.after()
	}
	return answer, err
}

// different counts the proposals that differ.
func (c *counting) different() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

// The process dies after the proposal arrived and before the answer was
// written down: the next one asks, and does not propose again.
func TestLostAnswerMakesNoSecondDeal(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 1})
		w.index()
		market := &counting{Market: w.market}
		var lost atomic.Int32
		market.after = func() error {
			lost.Add(1)
			return fmt.Errorf("%w: the wire was cut", deal.ErrUnanswered)
		}
		w.run(market, true)
		w.policy(deal.Policy{Copies: 1})
		plan := w.pack(3000)
		w.copies(plan, 1)
		if market.different() != 1 || lost.Load() != 1 {
			t.Errorf("%d proposals, %d sent: want one, sent once", market.different(), lost.Load())
		}
		if all := w.deals(deal.Filter{}); len(all) != 1 {
			t.Errorf("deals:\n%s", w.show())
		}
	})
}

// The process dies after the proposal was kept and before it left: the next one
// asks, learns that nothing arrived, and sends the same bytes.
func TestUnsentProposalIsSentOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 1})
		w.index()
		died := make(chan struct{})
		first := w.run(&dying{Market: w.market, died: died}, true)
		w.policy(deal.Policy{Copies: 1})
		plan := w.pack(3000)
		<-died
		first.stop()
		sending := w.deals(deal.Filter{State: deal.Sending})
		if len(sending) != 1 {
			t.Fatalf("want one deal whose proposal is kept\n%s", w.show())
		}
		market := &counting{Market: w.market}
		w.run(market, false)
		w.copies(plan, 1)
		if all := w.deals(deal.Filter{}); len(all) != 1 || all[0].UUID != sending[0].UUID || all[0].ProposalCID != sending[0].ProposalCID {
			t.Errorf("deals:\n%s", w.show())
		}
		if market.different() != 1 {
			t.Errorf("%d different proposals left, want 1", market.different())
		}
	})
}

// dying is a process that ends as it begins to send.
type dying struct {
	deal.Market
	died chan struct{}
	once sync.Once
}

func (d *dying) Propose(ctx context.Context, _ provider.Provider, _ []byte) (deal.Answer, error) {
	d.once.Do(func() { close(d.died) })
	<-ctx.Done()
	return deal.Answer{}, ctx.Err()
}

// Two processes reconcile at once: no provider is sent a piece twice, and no
// copy is made beyond those wanted.
func TestTwoReconcilersNeverDouble(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 5})
		w.index()
		n := w.run(w.market, true)
		plans := make([]int64, 8)
		for i := range plans {
			plans[i] = w.pack(2000)
		}
		w.until("all packed", func() bool {
			for _, plan := range plans {
				if p, err := w.pieces.Plan(w.ctx, plan); err != nil || len(p.Pieces) == 0 {
					return false
				}
			}
			return true
		})
		n.stop()
		w.policy(deal.Policy{Copies: 2})
		a, b := w.build(w.market), w.build(w.market)
		var both sync.WaitGroup
		for _, one := range []*node{a, b, a, b} {
			both.Go(func() {
				if err := one.Reconcile(w.ctx); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		count := map[int64]map[string]int{}
		for _, d := range w.deals(deal.Filter{}) {
			if count[d.Piece] == nil {
				count[d.Piece] = map[string]int{}
			}
			count[d.Piece][d.Provider]++
		}
		for id, by := range count {
			if len(by) != 2 {
				t.Errorf("piece %d has deals with %v, want two providers once each", id, by)
			}
		}
		if len(count) != len(plans) || len(w.deals(deal.Filter{})) != 2*len(plans) {
			t.Errorf("%d pieces\n%s", len(count), w.show())
		}
	})
}

func TestPauseResumeAndDryRun(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, openDB dbtest.Open) {
		w := open(t, openDB, devnet.Config{Providers: 3})
		w.index()
		n := w.run(w.market, true)
		p := w.policy(deal.Policy{Copies: 2})
		paused, err := n.PausePolicy(w.ctx, project, p.ID)
		if err != nil || paused.State != deal.PolicyPaused {
			t.Fatalf("%+v, %v", paused, err)
		}
		plan := w.pack(3000)
		w.until("taken over", func() bool {
			st, err := n.PolicyStatus(w.ctx, project, p.ID)
			return err == nil && st.Pieces == 1
		})
		w.must(n.Reconcile(w.ctx))
		if all := w.deals(deal.Filter{}); len(all) != 0 {
			t.Fatalf("a paused policy dealt:\n%s", w.show())
		}
		n.stop()
		_, err = n.ResumePolicy(w.ctx, project, p.ID)
		w.must(err)
		steps, err := n.DryRun(w.ctx, project, p.ID)
		if err != nil || len(steps) != 2 || steps[0].Action != deal.ActionPropose || !strings.Contains(steps[0].Reason, "copy 1 of 2") {
			t.Errorf("dry run %+v, %v", steps, err)
		}
		if all := w.deals(deal.Filter{}); len(all) != 0 {
			t.Errorf("a dry run dealt:\n%s", w.show())
		}
		n = w.run(w.market, false)
		w.copies(plan, 2)
		w.must(n.RemovePolicy(w.ctx, project, p.ID))
		w.must(n.RemovePolicy(w.ctx, project, p.ID))
		if _, err := n.ResumePolicy(w.ctx, project, p.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("resuming a removed policy: %v", err)
		}
		if left, err := n.Policies(w.ctx, project, deal.PolicyFilter{}); err != nil || len(left) != 0 {
			t.Errorf("policies %+v, %v", left, err)
		}
		if wanted, _, err := n.Copies(w.ctx, plan); wanted != 0 || err != nil {
			t.Errorf("wanted %d, %v after the policy was removed", wanted, err)
		}
	})
}

// A policy stops, with a reason, before the money runs out.
func TestPolicyStopsBeforeMoneyRunsOut(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite, devnet.Config{
		Providers: 3, Fund: 1, Terms: devnet.Terms{Price: abi.NewTokenAmount(1e18)}, // 1 FIL a GiB and epoch: 2 FIL for 4 KiB
	})
	w.index()
	n := w.run(w.market, true)
	p := w.policy(deal.Policy{Copies: 2, MaxPrice: "1000000000000000000"})
	w.pack(3000)
	w.until("paused", func() bool {
		now, err := n.Policy(w.ctx, project, p.ID)
		w.must(err)
		return now.State == deal.PolicyPaused && strings.Contains(now.Reason, "market balance")
	})
	w.until("all drafts ended", func() bool { return len(w.deals(deal.Filter{State: deal.Draft})) == 0 })
	for _, d := range w.deals(deal.Filter{}) {
		if d.State != deal.Failed || !strings.Contains(d.Reason, "the money does not last") && !strings.Contains(d.Reason, "no longer acts") {
			t.Errorf("deal %s: %s", d.State, d.Reason)
		}
	}
}

// What a provider asks beyond the policy's limit is not paid.
func TestPriceLimitHolds(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite, devnet.Config{Providers: 1, Terms: devnet.Terms{Price: abi.NewTokenAmount(100)}})
	w.index()
	n := w.run(w.market, true)
	p := w.policy(deal.Policy{Copies: 1, MaxPrice: "99"})
	plan := w.pack(3000)
	w.until("waits", func() bool {
		steps, err := n.DryRun(w.ctx, project, p.ID)
		return err == nil && len(steps) == 1 && steps[0].Action == deal.ActionWait
	})
	limit := "100"
	_, err := n.UpdatePolicy(w.ctx, project, p.ID, deal.Change{MaxPrice: &limit})
	w.must(err)
	w.copies(plan, 1)
	if d := w.deals(deal.Filter{})[0]; d.Price != "100" {
		t.Errorf("price %s", d.Price)
	}
}

// Providers that come later are used without waiting for a schedule.
func TestLateProviderIsUsed(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite, devnet.Config{Providers: 1})
	w.settings.Interval = time.Minute
	n := w.run(w.market, true)
	p := w.policy(deal.Policy{Copies: 1})
	w.pack(3000)
	w.until("waits", func() bool {
		w.must(n.Reconcile(w.ctx))
		st, err := n.PolicyStatus(w.ctx, project, p.ID)
		return err == nil && st.Pieces == 1
	})
	w.index()
	w.until("proposed", func() bool { return len(w.deals(deal.Filter{Provider: w.info.Providers[0].ID})) == 1 })
}

func TestPolicyErrors(t *testing.T) {
	w := open(t, dbtest.SQLite, devnet.Config{Providers: 1, Epoch: -1})
	n := w.build(w.market)
	tests := map[string]struct {
		p    deal.Policy
		word string
		kind fault.Kind
	}{
		"copies":       {deal.Policy{Copies: 101}, "1 to 100", fault.Invalid},
		"less":         {deal.Policy{Copies: -1}, "1 to 100", fault.Invalid},
		"price":        {deal.Policy{MaxPrice: "1.5"}, "attoFIL", fault.Invalid},
		"negative":     {deal.Policy{MaxPrice: "-1"}, "attoFIL", fault.Invalid},
		"short":        {deal.Policy{DurationEpochs: 2880}, "180 to 1278 days", fault.Invalid},
		"late":         {deal.Policy{StartDelayEpochs: 1278 * 2880}, "start delay", fault.Invalid},
		"provider":     {deal.Policy{Copies: 1, Providers: []string{"f1abc"}}, "provider", fault.Invalid},
		"providers":    {deal.Policy{Copies: 2, Providers: []string{"f01000", "t01000"}}, "need as many providers", fault.Invalid},
		"wallet":       {deal.Policy{Wallet: "f01"}, "no key", fault.Invalid},
		"bad wallet":   {deal.Policy{Wallet: "me"}, "address", fault.Invalid},
		"absent piece": {deal.Policy{Pieces: []int64{99}}, "piece 99", fault.NotFound},
	}
	for name, tt := range tests {
		_, err := n.CreatePolicy(w.ctx, project, tt.p)
		if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("%s: %v, want %s with %q", name, err, tt.kind, tt.word)
		}
	}
	p, err := n.CreatePolicy(w.ctx, project, deal.Policy{})
	if err != nil || p.Copies != 6 || p.MaxPrice != "0" || p.DurationEpochs != 518400 || p.Wallet != w.info.Wallets[0].Address {
		t.Errorf("defaults %+v, %v", p, err)
	}
	if _, err := n.Policy(w.ctx, project+1, p.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("another project's policy: %v", err)
	}
	if _, _, err := n.Liveness(w.ctx, "bafyreia"); !fault.Is(err, fault.NotFound) {
		t.Errorf("liveness of nothing: %v", err)
	}
	if _, _, err := n.Get(w.ctx, project, "x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("deal x: %v", err)
	}
}

// misnaming is a provider that passes somebody else's deal off as ours.
type misnaming struct {
	deal.Market
	liar   string
	number func() (int64, bool)
}

func (m *misnaming) Status(ctx context.Context, p provider.Provider, name, client string) (deal.Report, error) {
	r, err := m.Market.Status(ctx, p, name, client)
	if n, ok := m.number(); err == nil && ok && p.Actor == m.liar {
		r.Stage, r.OnChain, r.DealID, r.PublishCID = deal.Published, true, n, "bafyliar"
	}
	return r, err
}

// An active deal on chain is believed only if it is of our proposal.
func TestForeignDealIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite, devnet.Config{Providers: 2, Faults: map[int]devnet.Fault{2: devnet.NeverPublish}})
	w.index()
	honest, liar := w.info.Providers[0].ID, w.info.Providers[1].ID
	ledger := w.build(w.market)
	// The tracker asks until the test ends, and a question cut off by that end
	// is no failure.
	market := &misnaming{Market: w.market, liar: liar, number: func() (int64, bool) {
		found, err := ledger.Deals(w.ctx, project, deal.Filter{Provider: honest, State: deal.Active})
		if err != nil || len(found) == 0 {
			return 0, false
		}
		return found[0].DealID, true
	}}
	n := w.run(market, true)
	w.policy(deal.Policy{Copies: 2})
	plan := w.pack(3000)
	w.until("seen through", func() bool {
		found := w.deals(deal.Filter{Provider: liar})
		return len(found) == 1 && strings.Contains(found[0].Reason, "on chain is not this proposal")
	})
	if found := w.deals(deal.Filter{Provider: liar})[0]; found.State != deal.Transferring && found.State != deal.Proposed || found.DealID != 0 {
		t.Errorf("believed: %+v", found)
	}
	if _, active, err := n.Copies(w.ctx, plan); active != 1 || err != nil {
		t.Errorf("%d copies, %v; want the honest one", active, err)
	}
}
