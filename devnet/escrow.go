package devnet

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// Escrow returns an account's money in the market; zero for an unknown account.
func (l *Ledger) Escrow(addr address.Address) chain.MarketBalance {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.find(addr); a != nil {
		return chain.MarketBalance{Escrow: a.escrow, Locked: a.locked}
	}
	return chain.MarketBalance{Escrow: big.Zero(), Locked: big.Zero()}
}

// Available returns the attoFIL an account can still bind in deals.
func (l *Ledger) Available(addr address.Address) abi.TokenAmount {
	b := l.Escrow(addr)
	return big.Sub(b.Escrow, b.Locked)
}

// Deposit moves attoFIL from an account's balance into its escrow. It is what
// the market's AddBalance does, without a message. Exhausted when the balance
// is smaller.
func (l *Ledger) Deposit(addr address.Address, amount abi.TokenAmount) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.find(addr)
	if a == nil {
		return actorNotFound(addr)
	}
	if a.balance.LessThan(amount) {
		return fault.New(fault.Exhausted, "account %s holds %s attoFIL, not %s", addr, a.balance, amount)
	}
	a.balance, a.escrow = big.Sub(a.balance, amount), big.Add(a.escrow, amount)
	return nil
}

func (a *actor) available() abi.TokenAmount { return big.Sub(a.escrow, a.locked) }

func (a *actor) lock(amount abi.TokenAmount) error {
	if have := a.available(); have.LessThan(amount) {
		return fault.New(fault.Exhausted, "not enough funds in escrow: %s attoFIL available, %s needed", have, amount)
	}
	a.locked = big.Add(a.locked, amount)
	return nil
}

func (a *actor) unlock(amount abi.TokenAmount) { a.locked = big.Sub(a.locked, amount) }
