package devnet

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// minerPowerBytes is what each provider of the devnet is said to have: 10 TiB.
const minerPowerBytes = 10 << 40

// stateMethods answer what is in the state. There are never allocations or
// claims: a verified deal only uses up datacap.
func stateMethods(l *Ledger) map[string]method {
	return map[string]method{
		"StateMinerInfo":  call1(func(_ context.Context, a address.Address) (chain.MinerInfo, error) { return l.Miner(a) }),
		"StateMinerPower": call1(func(_ context.Context, a address.Address) (chain.MinerPower, error) { return l.power(a) }),
		"StateListMiners": call0(func(context.Context) ([]address.Address, error) { return l.listMiners(), nil }),
		"StateLookupID":   call1(func(_ context.Context, a address.Address) (address.Address, error) { return l.lookupID(a) }),
		"StateLookupRobustAddress": call1(func(_ context.Context, a address.Address) (address.Address, error) {
			return l.lookupRobust(a)
		}),
		"StateAccountKey": call1(func(_ context.Context, a address.Address) (address.Address, error) { return l.accountKey(a) }),
		"StateGetActor":   call1(func(_ context.Context, a address.Address) (chain.Actor, error) { return l.actorState(a) }),
		"WalletBalance":   call1(func(_ context.Context, a address.Address) (abi.TokenAmount, error) { return l.Balance(a), nil }),
		"StateMarketBalance": call1(func(_ context.Context, a address.Address) (chain.MarketBalance, error) {
			return l.Escrow(a), nil
		}),
		"StateMarketDeals": call0(func(context.Context) (map[string]chain.MarketDeal, error) { return l.allDeals(), nil }),
		"StateMarketStorageDeal": call1(func(_ context.Context, id abi.DealID) (chain.MarketDeal, error) {
			d, ok := l.Deal(id)
			if !ok {
				return d, dealNotFound(id)
			}
			return d, nil
		}),
		"StateDealProviderCollateralBounds": call2(func(_ context.Context, size abi.PaddedPieceSize, verified bool) (chain.CollateralBounds, error) {
			return l.CollateralBounds(size, verified), nil
		}),
		"StateVerifiedClientStatus": call1(func(_ context.Context, a address.Address) (*abi.StoragePower, error) {
			return l.datacapOf(a), nil
		}),
		"StateGetAllocations":              fixed(map[string]json.RawMessage{}),
		"StateGetClaims":                   fixed(map[string]json.RawMessage{}),
		"StateGetAllocation":               fixed[*struct{}](nil),
		"StateGetAllocationForPendingDeal": fixed[*struct{}](nil),
		"StateGetClaim":                    fixed[*struct{}](nil),
	}
}

// Balance returns an account's attoFIL outside the market; zero for an unknown one.
func (l *Ledger) Balance(addr address.Address) abi.TokenAmount {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.find(addr); a != nil {
		return a.balance
	}
	return big.Zero()
}

func (l *Ledger) power(addr address.Address) (chain.MinerPower, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.minerActor(addr); err != nil {
		return chain.MinerPower{}, err
	}
	one, all := big.NewInt(minerPowerBytes), big.NewInt(minerPowerBytes*int64(len(l.miners)))
	return chain.MinerPower{
		MinerPower:  chain.PowerClaim{RawBytePower: one, QualityAdjPower: one},
		TotalPower:  chain.PowerClaim{RawBytePower: all, QualityAdjPower: all},
		HasMinPower: true,
	}, nil
}

func (l *Ledger) listMiners() []address.Address {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]address.Address, 0, len(l.miners))
	for _, id := range l.miners {
		all = append(all, idAddress(id))
	}
	return all
}

func (l *Ledger) lookupID(addr address.Address) (address.Address, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.find(addr)
	if a == nil {
		return address.Undef, fault.Wrap(actorNotFound(addr), "resolution lookup failed (%s)", addr)
	}
	return a.address(), nil
}

func (l *Ledger) lookupRobust(addr address.Address) (address.Address, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.find(addr)
	if a == nil {
		return address.Undef, actorNotFound(addr)
	}
	if a.robust == address.Undef {
		return address.Undef, fault.New(fault.NotFound, "robust address of %s not found", addr)
	}
	return a.robust, nil
}

// accountKey returns a key address as it is, without asking whether it exists.
func (l *Ledger) accountKey(addr address.Address) (address.Address, error) {
	if isKey(addr) {
		return addr, nil
	}
	robust, err := l.lookupRobust(addr)
	if err == nil && !isKey(robust) {
		err = fault.New(fault.Invalid, "actor %s is not an account", addr)
	}
	if err != nil {
		return address.Undef, err
	}
	return robust, nil
}

func isKey(a address.Address) bool {
	return a.Protocol() == address.SECP256K1 || a.Protocol() == address.BLS
}

func (l *Ledger) actorState(addr address.Address) (chain.Actor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.find(addr)
	if a == nil {
		return chain.Actor{}, actorNotFound(addr)
	}
	kind := "system"
	var delegated *address.Address
	switch {
	case a.miner != nil:
		kind = "storageminer"
	case a.robust.Protocol() == address.Delegated:
		kind, delegated = "ethaccount", &a.robust
	case a.robust != address.Undef:
		kind = "account"
	}
	return chain.Actor{
		Code: actorCode(kind), Head: l.root("actor", a.id, a.nonce), Nonce: a.nonce,
		Balance: a.balance, DelegatedAddress: delegated,
	}, nil
}

// actorCode makes up the CID of an actor's code, in the form real ones have.
func actorCode(kind string) cid.Cid {
	c, err := abi.CidBuilder.WithCodec(cid.Raw).Sum([]byte("fil/devnet/" + kind))
	if err != nil {
		panic(err) // cannot happen: the hash function is registered by abi
	}
	return c
}

func (l *Ledger) allDeals() map[string]chain.MarketDeal {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]chain.MarketDeal, len(l.market.deals))
	for id, d := range l.market.deals {
		all[strconv.FormatUint(uint64(id), 10)] = d.MarketDeal
	}
	return all
}

// datacapOf is nil, null on the wire, for whoever is not a verified client.
func (l *Ledger) datacapOf(addr address.Address) *abi.StoragePower {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.find(addr); a != nil {
		return a.datacap
	}
	return nil
}
