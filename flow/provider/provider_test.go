package provider_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
	"github.com/firth-project/firth/devnet"
	"github.com/firth-project/firth/flow/provider"
)

// clock is a time that only moves when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type index struct {
	*provider.Service
	db    *db.DB
	jobs  *job.Client
	net   *devnet.Network
	info  devnet.Info
	clock *clock
}

// each runs a test on every engine, beside one network of three providers.
func each(t *testing.T, fn func(t *testing.T, x *index)) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		net, err := devnet.Start(t.Context(), devnet.Config{Epoch: -1, Terms: devnet.Terms{Price: abi.NewTokenAmount(5), MaxPieceSize: 1 << 30}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { net.Close() })
		host, err := p2p.New(p2p.Config{DialTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { host.Close() })
		log := slog.New(slog.DiscardHandler)
		node, err := chain.Dial(t.Context(), net.Info().RPC, "", log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(node.Close)
		d := open(t, event.Migrations, provider.Migrations())
		if err := job.Migrate(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		c := &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
		jobs, err := job.New(d, log, job.Options{Clock: c.Now, Drain: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		s := provider.New(d, jobs, node, mk12.NewClient(host), c.Now, rand.Reader, log, provider.Settings{Interval: time.Hour})
		fn(t, &index{s, d, jobs, net, net.Info(), c})
	})
}

func TestFactsComeFromChainAndProvider(t *testing.T) {
	each(t, func(t *testing.T, x *index) {
		ctx := t.Context()
		want := x.info.Providers[1]
		for range 2 { // adding twice is the same as once
			p, err := x.Add(ctx, "t"+want.ID[1:])
			if err != nil || p.State != provider.Online || p.Actor != want.ID {
				t.Fatalf("%+v, %v", p, err)
			}
		}
		p, err := x.Get(ctx, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if p.HTTP != want.HTTP || p.PeerID != want.PeerID || len(p.Multiaddrs) != len(want.Multiaddrs) || !strings.HasPrefix(want.Multiaddrs[0], p.Multiaddrs[0]) {
			t.Errorf("%+v, want to be reached as %+v", p, want)
		}
		if p.Price != "5" || p.VerifiedPrice != "0" || p.MinPiece != 256 || p.MaxPiece != 1<<30 || p.SectorSize == 0 ||
			!strings.HasPrefix(p.Owner, "f0") || p.CheckedAt == nil || !p.CheckedAt.Equal(x.clock.Now()) {
			t.Errorf("facts %+v", p)
		}
		if all, err := x.List(ctx, provider.Filter{State: provider.Online}); err != nil || len(all) != 1 {
			t.Errorf("list %+v, %v", all, err)
		}
		if err := x.Remove(ctx, want.ID); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{x.Remove(ctx, want.ID), second(x.Get(ctx, want.ID))} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("removed: %v", err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestStrangersAreNotTakenIn(t *testing.T) {
	each(t, func(t *testing.T, x *index) {
		for _, actor := range []string{"", "f1abc", "f0999999", "f099", x.info.Wallets[0].Address} {
			if p, err := x.Add(t.Context(), actor); !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %+v, %v, want invalid", actor, p, err)
			}
		}
		if all, err := x.List(t.Context(), provider.Filter{}); err != nil || len(all) != 0 {
			t.Errorf("list %+v, %v", all, err)
		}
	})
}

// One that cannot be reached is offline with a reason, is no candidate, and
// comes back by itself when it is looked up again.
func TestOfflineAndBack(t *testing.T) {
	each(t, func(t *testing.T, x *index) {
		ctx, actor := t.Context(), x.info.Providers[0].ID
		if _, err := x.Add(ctx, actor); err != nil {
			t.Fatal(err)
		}
		if err := x.net.SetFault(actor, devnet.Vanish); err != nil {
			t.Fatal(err)
		}
		p, err := x.Refresh(ctx, actor)
		if err != nil || p.State != provider.Offline || p.Reason == "" {
			t.Fatalf("%+v, %v", p, err)
		}
		if fit, err := x.Candidates(ctx, provider.Want{PaddedSize: 1024}); err != nil || len(fit) != 0 {
			t.Errorf("candidates %+v, %v", fit, err)
		}
		seen, err := x.Observations(ctx, actor, 0)
		if err != nil || len(seen) != 2 || seen[0].OK || seen[0].Code != "unreachable" || !seen[1].OK {
			t.Errorf("observations %+v, %v", seen, err)
		}
		if err := x.net.SetFault(actor, 0); err != nil {
			t.Fatal(err)
		}
		x.clock.pass(2 * time.Hour)
		x.work(t)
		wait(t, func() bool {
			p, err := x.Get(ctx, actor)
			return err == nil && p.State == provider.Online && p.Reason == ""
		})
	})
}

// work runs jobs and schedule until the test ends.
func (x *index) work(t *testing.T) {
	t.Helper()
	x.jobs.Handle(x.Handlers()...)
	err := x.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		for _, s := range x.Schedules() {
			if err := x.jobs.Schedule(ctx, tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.jobs.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func wait(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it never came")
		}
	}
}

func TestCandidates(t *testing.T) {
	each(t, func(t *testing.T, x *index) {
		ctx := t.Context()
		var ids []int64
		var actors []string
		for _, p := range x.info.Providers {
			added, err := x.Add(ctx, p.ID)
			if err != nil {
				t.Fatal(err)
			}
			ids, actors = append(ids, added.ID), append(actors, added.Actor)
		}
		first := map[string]bool{}
		for range 50 { // by chance, when nothing else tells them apart
			fit, err := x.Candidates(ctx, provider.Want{PaddedSize: 1024, MaxPrice: "5"})
			if err != nil || len(fit) != 3 {
				t.Fatalf("%+v, %v", fit, err)
			}
			first[fit[0].Actor] = true
		}
		if len(first) != 3 {
			t.Errorf("only %v ever came first", first)
		}
		for name, want := range map[string]provider.Want{
			"too dear":  {PaddedSize: 1024, MaxPrice: "4"},
			"too small": {PaddedSize: 128},
			"too large": {PaddedSize: 2 << 30},
			"nobody":    {PaddedSize: 1024, Only: []string{}},
		} {
			if fit, err := x.Candidates(ctx, want); err != nil || len(fit) != 0 {
				t.Errorf("%s: %+v, %v", name, fit, err)
			}
		}
		if fit, err := x.Candidates(ctx, provider.Want{PaddedSize: 1024, Verified: true, MaxPrice: "0", Only: actors[1:2]}); err != nil || len(fit) != 1 || fit[0].Actor != actors[1] {
			t.Errorf("the one: %+v, %v", fit, err)
		}

		x.observe(t, ids[0], false, 2)
		x.observe(t, ids[1], false, 1)
		x.observe(t, ids[2], true, 3)
		order := func() (got []string) {
			fit, err := x.Candidates(ctx, provider.Want{PaddedSize: 1024})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range fit {
				got = append(got, p.Actor)
			}
			return got
		}
		if got, want := order(), []string{actors[2], actors[1], actors[0]}; !slices.Equal(got, want) {
			t.Errorf("order %v, want fewer failures first: %v", got, want)
		}
		x.clock.pass(8 * 24 * time.Hour) // it is forgotten
		last := map[string]bool{}
		for range 50 {
			last[order()[2]] = true
		}
		if len(last) != 3 {
			t.Errorf("old failures still count: %v", last)
		}
	})
}

func (x *index) observe(t *testing.T, id int64, ok bool, times int) {
	t.Helper()
	err := x.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		for range times {
			if err := x.Observe(ctx, tx, provider.Observation{Provider: id, Kind: "deal", OK: ok, Took: time.Second}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
