package devnet

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// Activate puts published deals into a proven sector. All or none: NotFound for
// an unknown deal, Conflict for one that is active or terminated, Invalid when
// the start epoch has passed.
func (l *Ledger) Activate(sector abi.SectorNumber, ids ...abi.DealID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.tipsets.head().Height
	deals := make([]*deal, 0, len(ids))
	for _, id := range ids {
		d, ok := l.market.deals[id]
		switch {
		case !ok:
			return dealNotFound(id)
		case d.State.SectorStartEpoch != chain.Undefined || d.State.SlashEpoch != chain.Undefined:
			return fault.New(fault.Conflict, "deal %d is already active or terminated", id)
		case d.Proposal.StartEpoch < head:
			return fault.New(fault.Invalid, "deal %d: start epoch %d has passed, the head is at %d", id, d.Proposal.StartEpoch, head)
		}
		deals = append(deals, d)
	}
	if len(deals) == 0 {
		return nil
	}
	x := l.minerMessage(deals[0].provider, methodProveCommit)
	for _, d := range deals {
		d.State.SectorNumber, d.State.SectorStartEpoch = sector, head
		l.emit(x, chain.DealActivated, d)
	}
	return nil
}

// Slash terminates an active deal: the provider is paid to this epoch and its
// collateral is burnt, the client gets the rest back. The deal stays visible
// with its SlashEpoch for a day. NotFound, or Conflict when it is not active.
func (l *Ledger) Slash(id abi.DealID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.market.deals[id]
	if !ok {
		return dealNotFound(id)
	}
	if !d.State.Active() {
		return fault.New(fault.Conflict, "deal %d is not active", id)
	}
	head := l.tipsets.head().Height
	d.State.SlashEpoch, d.State.LastUpdatedEpoch = head, head
	d.close(head, true)
	l.emit(l.minerMessage(d.provider, methodTerminateSectors), chain.DealTerminated, d)
	return nil
}

// dealNotFound has the words of Lotus' StateMarketStorageDeal.
func dealNotFound(id abi.DealID) error {
	return fault.New(fault.NotFound, "deal %d not found - deal may not have completed sealing before deal proposal start epoch, or deal may have been slashed", id)
}

// settle does what the market does by itself at an epoch: proposals that were
// not activated in time are deleted and cost the provider its collateral, ended
// deals are paid and deleted, terminated ones disappear after their day. As in
// the market actor since network version 22, payments are made at these
// moments, not epoch by epoch.
func (l *Ledger) settle(height abi.ChainEpoch) {
	for _, id := range l.market.ids() {
		d := l.market.deals[id]
		if d.dueAt() > height {
			continue
		}
		switch {
		case d.State.SlashEpoch != chain.Undefined:
		case d.State.SectorStartEpoch == chain.Undefined:
			d.close(d.Proposal.StartEpoch, true)
			l.log.Debug("deal not activated in time", "deal", id, "provider", d.provider.address(), "epoch", height)
		default:
			d.close(d.Proposal.EndEpoch, false)
			l.emit(l.cronMessage(), chain.DealCompleted, d)
		}
		l.remove(d)
	}
}

// close pays the provider for the epochs from the deal's start to end, frees
// what is left of both sides' money and burns the provider's collateral if asked.
func (d *deal) close(end abi.ChainEpoch, burn bool) {
	p := &d.Proposal
	epochs := max(0, min(end, p.EndEpoch)-p.StartEpoch)
	fee := big.Mul(p.StoragePricePerEpoch, big.NewInt(int64(epochs)))
	d.client.unlock(p.ClientBalanceRequirement())
	d.provider.unlock(p.ProviderBalanceRequirement())
	d.client.escrow = big.Sub(d.client.escrow, fee)
	d.provider.escrow = big.Add(d.provider.escrow, fee)
	if burn {
		d.provider.escrow = big.Sub(d.provider.escrow, p.ProviderCollateral)
	}
}

func (l *Ledger) remove(d *deal) {
	delete(l.market.deals, d.id)
	delete(l.market.proposals, d.proposal)
	d.publish.deals--
	l.forget(d.publish, l.tipsets.recent[0].Height)
}
