package devnet

import (
	"context"
	"math"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	marketv18 "github.com/filecoin-project/go-state-types/builtin/v18/market"
	marketv9 "github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// slashedVisible is how long a terminated deal stays in the state, so that a
// program that polls deals can see its SlashEpoch: one day.
const slashedVisible = abi.ChainEpoch(builtin.EpochsInDay)

// marketActor is the state of actor f05: deals by id, and the proposals that may not
// be published again.
type marketActor struct {
	next      abi.DealID
	deals     map[abi.DealID]*deal
	proposals map[cid.Cid]abi.DealID
}

type deal struct {
	chain.MarketDeal
	id               abi.DealID
	proposal         cid.Cid
	client, provider *actor
	publish          *execution
}

func newMarketActor() marketActor {
	return marketActor{next: 1, deals: map[abi.DealID]*deal{}, proposals: map[cid.Cid]abi.DealID{}}
}

// dueAt is the epoch at which the deal changes by itself.
func (d *deal) dueAt() abi.ChainEpoch {
	switch {
	case d.State.SlashEpoch != chain.Undefined:
		return d.State.SlashEpoch + slashedVisible
	case d.State.SectorStartEpoch == chain.Undefined:
		return d.Proposal.StartEpoch + 1
	}
	return d.Proposal.EndEpoch
}

func (m *marketActor) nextDue() abi.ChainEpoch {
	next := abi.ChainEpoch(math.MaxInt64)
	for _, d := range m.deals {
		next = min(next, d.dueAt())
	}
	return next
}

// ids returns the deals in ascending order: what happens to them has an order.
func (m *marketActor) ids() []abi.DealID {
	ids := make([]abi.DealID, 0, len(m.deals))
	for id := range m.deals {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Publish executes PublishStorageDeals for proposals of one provider whose
// signatures the caller has verified: it checks them as the market actor does,
// locks both sides' money and gives each a deal id, in order. It publishes all
// or none; an error names the first proposal at fault: Invalid for terms and
// for a start epoch that has passed, Conflict for one already published,
// Exhausted for missing escrow or datacap. The message is part of the next tipset.
func (l *Ledger) Publish(ctx context.Context, provider address.Address, deals []marketv9.ClientDealProposal) (msg cid.Cid, ids []abi.DealID, err error) {
	if err := ctx.Err(); err != nil {
		return cid.Undef, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	miner, err := l.minerActor(provider)
	if err != nil {
		return cid.Undef, nil, err
	}
	if len(deals) == 0 {
		return cid.Undef, nil, fault.New(fault.Invalid, "publish: no deals")
	}
	var added []*deal
	for i, p := range deals {
		d, err := l.admit(miner, p.Proposal)
		if err != nil {
			l.withdrawDeals(added)
			return cid.Undef, nil, fault.Wrap(err, "publish deal %d of %d", i+1, len(deals))
		}
		added = append(added, d)
	}
	x, err := l.publishMessage(miner, deals, added)
	if err != nil {
		l.withdrawDeals(added)
		return cid.Undef, nil, err
	}
	for _, d := range added {
		d.publish = x
		x.deals++
		ids = append(ids, d.id)
		l.emit(x, chain.DealPublished, d)
	}
	return x.cid, ids, nil
}

// admit checks one proposal, locks the money for it and gives it an id.
func (l *Ledger) admit(miner *actor, p chain.DealProposal) (*deal, error) {
	client := l.find(p.Client)
	if client == nil {
		return nil, actorNotFound(p.Client)
	}
	if l.find(p.Provider) != miner {
		return nil, fault.New(fault.Invalid, "proposal is for provider %s, not %s", p.Provider, miner.address())
	}
	p.Client, p.Provider = client.address(), miner.address()
	if err := checkTerms(p, l.tipsets.head().Height); err != nil {
		return nil, err
	}
	name, err := p.Cid()
	if err != nil {
		return nil, fault.New(fault.Invalid, "proposal: %w", err)
	}
	if id, ok := l.market.proposals[name]; ok {
		return nil, fault.New(fault.Conflict, "proposal %s is already published as deal %d", name, id)
	}
	size := big.NewIntUnsigned(uint64(p.PieceSize))
	if p.VerifiedDeal && (client.datacap == nil || client.datacap.LessThan(size)) {
		return nil, fault.New(fault.Exhausted, "client %s has less datacap than the %d bytes of a verified deal", client.address(), p.PieceSize)
	}
	if err := client.lock(p.ClientBalanceRequirement()); err != nil {
		return nil, fault.Wrap(err, "client %s", client.address())
	}
	if err := miner.lock(p.ProviderBalanceRequirement()); err != nil {
		client.unlock(p.ClientBalanceRequirement())
		return nil, fault.Wrap(err, "provider %s", miner.address())
	}
	if p.VerifiedDeal {
		left := big.Sub(*client.datacap, size)
		client.datacap = &left
	}
	d := &deal{id: l.market.next, proposal: name, client: client, provider: miner, MarketDeal: chain.MarketDeal{
		Proposal: p,
		State:    chain.DealState{SectorStartEpoch: chain.Undefined, LastUpdatedEpoch: chain.Undefined, SlashEpoch: chain.Undefined},
	}}
	l.market.next++
	l.market.deals[d.id] = d
	l.market.proposals[name] = d.id
	return d, nil
}

// withdrawDeals undoes admit.
func (l *Ledger) withdrawDeals(deals []*deal) {
	for _, d := range slices.Backward(deals) {
		d.client.unlock(d.Proposal.ClientBalanceRequirement())
		d.provider.unlock(d.Proposal.ProviderBalanceRequirement())
		if d.Proposal.VerifiedDeal {
			back := big.Add(*d.client.datacap, big.NewIntUnsigned(uint64(d.Proposal.PieceSize)))
			d.client.datacap = &back
		}
		l.market.next--
		delete(l.market.deals, d.id)
		delete(l.market.proposals, d.proposal)
	}
}

// checkTerms is the market actor's validation of a proposal without money.
func checkTerms(p chain.DealProposal, head abi.ChainEpoch) error {
	low, high := marketv18.DealDurationBounds(p.PieceSize)
	bounds := collateralBounds(p.PieceSize)
	zero := big.Zero()
	switch {
	case p.Label.Length() > marketv18.DealMaxLabelSize:
		return fault.New(fault.Invalid, "label of %d bytes, the limit is %d", p.Label.Length(), marketv18.DealMaxLabelSize)
	case p.PieceSize.Validate() != nil:
		return fault.New(fault.Invalid, "piece size %d: %w", p.PieceSize, p.PieceSize.Validate())
	case !p.PieceCID.Defined() || p.PieceCID.Prefix() != marketv9.PieceCIDPrefix:
		return fault.New(fault.Invalid, "piece CID %s is not a version 1 commitment", p.PieceCID)
	case p.StartEpoch < head:
		return fault.New(fault.Invalid, "deal start epoch %d has passed, the head is at %d", p.StartEpoch, head)
	case p.EndEpoch-p.StartEpoch < low || p.EndEpoch-p.StartEpoch > high:
		return fault.New(fault.Invalid, "deal duration of %d epochs, the bounds are %d and %d", p.EndEpoch-p.StartEpoch, low, high)
	case p.StoragePricePerEpoch.LessThan(zero) || p.StoragePricePerEpoch.GreaterThan(builtin.TotalFilecoin):
		return fault.New(fault.Invalid, "price of %s attoFIL an epoch is out of bounds", p.StoragePricePerEpoch)
	case p.ClientCollateral.LessThan(zero) || p.ClientCollateral.GreaterThan(builtin.TotalFilecoin):
		return fault.New(fault.Invalid, "client collateral of %s attoFIL is out of bounds", p.ClientCollateral)
	case p.ProviderCollateral.LessThan(bounds.Min) || p.ProviderCollateral.GreaterThan(bounds.Max):
		return fault.New(fault.Invalid, "provider collateral of %s attoFIL, the bounds are %s and %s", p.ProviderCollateral, bounds.Min, bounds.Max)
	}
	return nil
}

// CollateralBounds returns the limits of a provider's collateral.
func (l *Ledger) CollateralBounds(size abi.PaddedPieceSize, _ bool) chain.CollateralBounds {
	return collateralBounds(size)
}

// collateralBounds uses the network's formula with figures of mainnet's order:
// 20 EiB of power and 600 million FIL in circulation, about 9 milliFIL for 32 GiB.
func collateralBounds(size abi.PaddedPieceSize) chain.CollateralBounds {
	power := big.Mul(big.NewInt(20), big.Lsh(big.NewInt(1), 60))
	supply := big.Mul(big.NewInt(600_000_000), builtin.TokenPrecision)
	low, high := marketv18.DealProviderCollateralBounds(size, false, power, power, power, supply)
	return chain.CollateralBounds{Min: low, Max: high}
}

// Deal returns a deal as the state has it, by value.
func (l *Ledger) Deal(id abi.DealID) (chain.MarketDeal, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.market.deals[id]
	if !ok {
		return chain.MarketDeal{}, false
	}
	return d.MarketDeal, true
}
