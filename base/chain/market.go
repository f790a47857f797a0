package chain

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/ipfs/go-cid"
)

// DealProposal is a deal proposal as the chain keeps it (market actor, version 9
// layout, unchanged since).
type DealProposal = market.DealProposal

// Undefined stands for an epoch that has not come: not activated, not slashed.
const Undefined abi.ChainEpoch = -1

// DealState is what the chain knows of a published deal besides its proposal.
type DealState struct {
	SectorNumber     abi.SectorNumber // means something only once SectorStartEpoch is set
	SectorStartEpoch abi.ChainEpoch   // Undefined until the deal is active
	LastUpdatedEpoch abi.ChainEpoch   // Undefined until payments were settled
	SlashEpoch       abi.ChainEpoch   // Undefined unless the deal was terminated
}

// Active reports whether the deal is proven and not terminated.
func (s DealState) Active() bool {
	return s.SectorStartEpoch != Undefined && s.SlashEpoch == Undefined
}

// MarketDeal is a deal in the market actor's state.
type MarketDeal struct {
	Proposal DealProposal
	State    DealState
}

// MarketBalance is an account's money in the market actor, in attoFIL.
type MarketBalance struct {
	Escrow abi.TokenAmount // everything deposited
	Locked abi.TokenAmount // the part bound by deals
}

// CollateralBounds are the limits of a provider's collateral for one deal, in attoFIL.
type CollateralBounds struct {
	Min abi.TokenAmount
	Max abi.TokenAmount
}

// Actor is an entry of the state tree.
type Actor struct {
	Code             cid.Cid
	Head             cid.Cid
	Nonce            uint64
	Balance          abi.TokenAmount // attoFIL
	DelegatedAddress *address.Address
}
