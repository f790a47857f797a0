package deal

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/flow/provider"
)

const (
	checkTimeout = 30 * time.Second
	// checks is how many deals are looked at side by side.
	checks = 32
	// noEvents is how long a node that keeps no events is not asked for them.
	noEvents = 10 * time.Minute
)

// Track follows the deals under way until ctx ends: those whose time has come,
// each time the chain moves and at least every Settings.Interval. Several may
// run at once; a deal is looked at by one of them.
func (s *Service) Track(ctx context.Context) error {
	t := &tracker{Service: s, moved: make(chan struct{}, 1), slots: make(chan struct{}, checks), ids: map[string]address.Address{}}
	var running sync.WaitGroup
	defer running.Wait()
	defer t.work.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	running.Go(func() { t.follow(ctx) })
	tick := time.NewTicker(s.settings.Interval)
	defer tick.Stop()
	for {
		if err := t.checkDue(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "deals not checked", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.moved:
		case <-tick.C:
		}
	}
}

// tracker is one run of Track.
type tracker struct {
	*Service
	head  atomic.Int64
	moved chan struct{}
	slots chan struct{}
	work  sync.WaitGroup

	mu  sync.Mutex
	ids map[string]address.Address // id addresses of wallets
}

// follow keeps the head, and has deals checked that the chain tells of.
func (t *tracker) follow(ctx context.Context) {
	var asked int64
	var again time.Time
	for change, err := range t.chain.Follow(ctx) {
		if err != nil {
			t.log.WarnContext(ctx, "chain not followed", "err", err)
			continue
		}
		if change.Type == chain.HeadRevert {
			continue
		}
		height := int64(change.Val.Height)
		t.head.Store(height)
		if asked > 0 && height > asked && !t.clock().Before(again) {
			if err := t.heed(ctx, asked+1, height); err != nil && ctx.Err() == nil {
				t.log.InfoContext(ctx, "node tells no events", "err", err)
				again = t.clock().Add(noEvents)
			}
		}
		asked = height
		select {
		case t.moved <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// events is what a node may offer: without it an active deal is looked at every
// Settings.ActiveInterval only.
type events interface {
	ActorEvents(ctx context.Context, f chain.ActorEventFilter) ([]chain.ActorEvent, error)
}

// heed has the deals checked that the market actor spoke of.
func (t *tracker) heed(ctx context.Context, from, to int64) error {
	node, ok := t.chain.(events)
	if !ok {
		return nil
	}
	first, last := abi.ChainEpoch(from), abi.ChainEpoch(to)
	told, err := node.ActorEvents(ctx, chain.ActorEventFilter{
		Addresses: []address.Address{builtin.StorageMarketActorAddr}, FromHeight: &first, ToHeight: &last,
	})
	if err != nil {
		return err
	}
	var ids []int64
	for _, e := range told {
		if d, ok := e.Deal(); ok {
			ids = append(ids, int64(d.ID))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return t.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return hastenChecks(ctx, tx, ids, t.now()) })
}

// checkDue starts the checks that are due. A deal is taken until its check must
// have ended, so that no other tracker, and no later round, takes it too.
func (t *tracker) checkDue(ctx context.Context) error {
	for ctx.Err() == nil {
		due, err := dueDeals(ctx, t.db.Read(), t.now(), page)
		if err != nil {
			return err
		}
		for _, d := range due {
			select {
			case t.slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			until := db.Now(t.now().Add(checkTimeout + t.settings.Interval))
			err := t.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return claimCheck(ctx, tx, d, until) })
			if err != nil {
				<-t.slots
				if fault.Is(err, fault.Conflict) {
					continue
				}
				return err
			}
			d.NextCheck = &until
			t.work.Go(func() {
				defer func() { <-t.slots }()
				if err := t.check(ctx, d); err != nil && ctx.Err() == nil && !fault.Is(err, fault.Conflict) {
					t.log.ErrorContext(ctx, "deal not checked", "deal", d.UUID, "err", err)
				}
			})
		}
		if len(due) < page {
			return nil
		}
	}
	return ctx.Err()
}

// check looks at one deal and writes down what follows.
func (t *tracker) check(ctx context.Context, d Deal) error {
	asking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	f, err := t.learn(asking, &d)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return t.apply(ctx, d, f, judge(d, f, t.settings))
}

// learn asks the provider, where its word counts, and the chain.
func (t *tracker) learn(ctx context.Context, d *Deal) (finding, error) {
	f := finding{now: t.now(), head: t.head.Load()}
	number, known := d.DealID, d.onChain
	if d.State != Active {
		report, err := t.ask(ctx, *d)
		switch {
		case err != nil:
			f.unreached = err.Error()
		default:
			f.report = &report
			if p := progressOf(report); report.Refusal == "" && p != d.progress {
				d.progress, d.progressAt = p, f.now
			}
			if report.PublishCID != "" {
				d.PublishCID = report.PublishCID
			}
			if report.OnChain { // after a fork it may have another number
				number, known = report.DealID, true
			}
		}
	}
	if !known {
		return f, nil
	}
	f.number = number
	found, err := t.chain.MarketDeal(ctx, abi.DealID(number))
	switch {
	case fault.Is(err, fault.NotFound):
		f.word = missing
	case err != nil:
		t.log.WarnContext(ctx, "chain not asked about deal", "deal", d.UUID, "err", err)
	default:
		mine, err := t.isOurs(ctx, *d, found)
		if err != nil {
			return f, err
		}
		f.word, f.state = foreign, found.State
		if mine {
			f.word, d.DealID = ours, number
		}
	}
	return f, nil
}

func (t *tracker) ask(ctx context.Context, d Deal) (Report, error) {
	p, err := t.providers.Get(ctx, d.Provider)
	if err != nil {
		return Report{}, err
	}
	return t.market.Status(ctx, p, d.UUID, d.Client)
}

// isOurs reports whether a deal on chain is the one that was proposed: a
// provider may name any number.
func (t *tracker) isOurs(ctx context.Context, d Deal, found chain.MarketDeal) (bool, error) {
	v2, err := cid.Decode(d.PieceCID)
	if err != nil {
		return false, fault.New(fault.Internal, "piece CID %q: %w", d.PieceCID, err)
	}
	one, padded, err := commp.CIDv1(v2)
	if err != nil {
		return false, err
	}
	_, actor, err := provider.ParseActor(d.Provider)
	if err != nil {
		return false, err
	}
	p := found.Proposal
	if !p.PieceCID.Equals(one) || uint64(p.PieceSize) != padded || p.Provider != actor ||
		int64(p.StartEpoch) != d.StartEpoch || int64(p.EndEpoch) != d.EndEpoch {
		return false, nil
	}
	client, err := wallet.ParseAddress(d.Client)
	if err != nil || p.Client == client {
		return err == nil, err
	}
	id, err := t.idOf(ctx, client)
	return err == nil && p.Client == id, err
}

// idOf returns the address by which the chain names a wallet.
func (t *tracker) idOf(ctx context.Context, client address.Address) (address.Address, error) {
	t.mu.Lock()
	id, ok := t.ids[client.String()]
	t.mu.Unlock()
	if ok {
		return id, nil
	}
	id, err := t.chain.LookupID(ctx, client)
	if err != nil {
		return address.Undef, err
	}
	t.mu.Lock()
	t.ids[client.String()] = id
	t.mu.Unlock()
	return id, nil
}

// apply writes a verdict down. What does not change state or reason is no
// observation.
func (t *tracker) apply(ctx context.Context, d Deal, f finding, v verdict) error {
	d.lostEpoch, d.onChain = v.lost, v.onChain
	if !v.state.Live() {
		return t.end(ctx, d, ending{
			state: v.state, source: v.source, reason: v.reason, proof: v.proof,
			blame: v.state != Expired, waiting: v.state != Expired,
		})
	}
	every := t.settings.Interval
	if v.state == Active && v.reason == "" {
		every = t.settings.ActiveInterval
	}
	next := db.Now(f.now.Add(every))
	d.NextCheck = &next
	if d.State == v.state && d.Reason == v.reason {
		d.UpdatedAt = t.now()
		return t.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return saveDeal(ctx, tx, d, d.State) })
	}
	return t.advance(ctx, d, v)
}

// advance takes a deal one state further, or notes what it waits for.
func (t *tracker) advance(ctx context.Context, d Deal, v verdict) error {
	proven := v.state == Active && d.State != Active
	var p provider.Provider
	if proven {
		var err error
		if p, err = t.providers.Get(ctx, d.Provider); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	o := Observation{Source: v.source, Reason: v.reason, Evidence: evidence(v.proof)}
	return t.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := t.move(ctx, tx, &d, v.state, o); err != nil || !proven {
			return err
		}
		if err := forgetAttempt(ctx, tx, d); err != nil || p.ID == 0 {
			return err
		}
		return t.providers.Observe(ctx, tx, provider.Observation{
			Provider: p.ID, Kind: "deal", OK: true, Took: d.UpdatedAt.Sub(d.CreatedAt), At: d.UpdatedAt,
		})
	})
}
