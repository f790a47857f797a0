package devnet

import (
	"bytes"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	marketv9 "github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
)

const (
	maxPending = 4096     // messages in the pool
	ethChainID = 31415926 // the usual one of local Filecoin networks
)

// Push takes a signed message into the pool; the next tipset executes it. It
// checks what Lotus' pool checks: the signature, that the sender exists, that
// its nonce is the next one, and that its balance covers value and gas.
func (l *Ledger) Push(s *chain.SignedMessage) (cid.Cid, error) {
	if err := wallet.VerifyMessage(*s, ethChainID); err != nil {
		return cid.Undef, fault.New(fault.Invalid, "message signature verification failed: %w", err)
	}
	name, err := s.Cid()
	if err != nil {
		return cid.Undef, fault.New(fault.Invalid, "message: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return name, l.enqueue(&execution{cid: name, message: s.Message})
}

func (l *Ledger) enqueue(x *execution) error {
	m := &x.message
	if m.To == address.Undef || orZero(m.Value).Sign() < 0 || orZero(m.GasFeeCap).Sign() < 0 ||
		orZero(m.GasPremium).Sign() < 0 || m.GasLimit <= 0 {
		return fault.New(fault.Invalid, "message from %s: a receiver, amounts of zero or more and a gas limit are needed", m.From)
	}
	from := l.find(m.From)
	if from == nil {
		return actorNotFound(m.From)
	}
	if want := l.nextNonce(from); m.Nonce < want {
		return fault.New(fault.Conflict, "minimum expected nonce is %d: nonce %d is too low", want, m.Nonce)
	} else if m.Nonce > want {
		return fault.New(fault.Conflict, "minimum expected nonce is %d: nonce %d leaves a gap", want, m.Nonce)
	}
	if len(l.mpool) >= maxPending {
		return fault.New(fault.Exhausted, "message pool holds %d messages, its limit", maxPending)
	}
	need := big.Add(m.RequiredFunds(), orZero(m.Value))
	for _, p := range l.mpool {
		if l.find(p.message.From) == from {
			need = big.Add(need, big.Add(p.message.RequiredFunds(), orZero(p.message.Value)))
		}
	}
	if from.balance.LessThan(need) {
		return fault.New(fault.Exhausted, "not enough funds: balance %s attoFIL, %s needed", from.balance, need)
	}
	l.mpool = append(l.mpool, x)
	return nil
}

// nextNonce counts the messages that wait.
func (l *Ledger) nextNonce(a *actor) uint64 {
	n := a.nonce
	for _, p := range l.mpool {
		if l.find(p.message.From) == a {
			n++
		}
	}
	return n
}

// executePending empties the pool in order of arrival.
func (l *Ledger) executePending() {
	for _, x := range l.mpool {
		l.execute(x)
		l.fresh = append(l.fresh, x)
		l.executed[x.cid] = x
	}
	l.mpool = nil
}

// execute charges gas as the chain does (used gas at base fee plus premium,
// within the cap; burnt) and applies the message. A message that fails costs
// its gas and nothing else.
func (l *Ledger) execute(x *execution) {
	m, from := &x.message, l.find(x.message.From)
	from.nonce = m.Nonce + 1
	used := min(gasUsed(m), m.GasLimit)
	price := big.Min(orZero(m.GasFeeCap), big.Add(big.NewInt(baseFee), orZero(m.GasPremium)))
	from.balance = big.Sub(from.balance, big.Mul(price, big.NewInt(used)))
	x.receipt.GasUsed = used
	if gasUsed(m) > m.GasLimit {
		x.receipt.ExitCode = exitcode.SysErrOutOfGas
		return
	}
	if from.balance.LessThan(orZero(m.Value)) {
		x.receipt.ExitCode = exitcode.SysErrInsufficientFunds
		return
	}
	x.receipt.Return, x.receipt.ExitCode = l.apply(m, from)
}

// apply knows sends and the market's AddBalance and WithdrawBalance.
func (l *Ledger) apply(m *chain.Message, from *actor) (ret []byte, code exitcode.ExitCode) {
	to := l.find(m.To)
	if m.Method == builtin.MethodSend {
		if p := m.To.Protocol(); to == nil && !isKey(m.To) && p != address.Delegated {
			return nil, exitcode.SysErrInvalidReceiver
		}
		to = l.account(m.To)
		from.balance, to.balance = big.Sub(from.balance, orZero(m.Value)), big.Add(to.balance, orZero(m.Value))
		return nil, exitcode.Ok
	}
	if to == nil || to.address() != builtin.StorageMarketActorAddr {
		return nil, exitcode.ErrUnhandledMessage
	}
	switch m.Method {
	case builtin.MethodsMarket.AddBalance, builtin.MethodsMarket.AddBalanceExported:
		return nil, l.addBalance(m, from)
	case builtin.MethodsMarket.WithdrawBalance, builtin.MethodsMarket.WithdrawBalanceExported:
		return l.withdrawBalance(m, from)
	}
	return nil, exitcode.ErrUnhandledMessage
}

func (l *Ledger) addBalance(m *chain.Message, from *actor) exitcode.ExitCode {
	var who address.Address
	if who.UnmarshalCBOR(bytes.NewReader(m.Params)) != nil {
		return exitcode.ErrSerialization
	}
	a := l.find(who)
	if a == nil || orZero(m.Value).Sign() <= 0 {
		return exitcode.ErrIllegalArgument
	}
	from.balance, a.escrow = big.Sub(from.balance, m.Value), big.Add(a.escrow, m.Value)
	return exitcode.Ok
}

// withdrawBalance gives what was asked for or what is free, if that is less,
// and returns the amount. A client's money goes to the client, a provider's to
// its owner; nobody else may ask for it.
func (l *Ledger) withdrawBalance(m *chain.Message, from *actor) ([]byte, exitcode.ExitCode) {
	var p marketv9.WithdrawBalanceParams
	if p.UnmarshalCBOR(bytes.NewReader(m.Params)) != nil {
		return nil, exitcode.ErrSerialization
	}
	a := l.find(p.ProviderOrClientAddress)
	if a == nil || p.Amount.Sign() < 0 {
		return nil, exitcode.ErrIllegalArgument
	}
	receiver := a
	if a.miner != nil {
		receiver = l.find(a.miner.Owner)
		if worker := l.find(a.miner.Worker); from != receiver && from != worker {
			return nil, exitcode.ErrForbidden
		}
	} else if from != a {
		return nil, exitcode.ErrForbidden
	}
	amount := big.Min(p.Amount, a.available())
	a.escrow, receiver.balance = big.Sub(a.escrow, amount), big.Add(receiver.balance, amount)
	var out bytes.Buffer
	if err := amount.MarshalCBOR(&out); err != nil {
		return nil, exitcode.ErrSerialization
	}
	return out.Bytes(), exitcode.Ok
}

// gasUsed is a stand-in for real metering: enough to make limits and fees matter.
func gasUsed(m *chain.Message) int64 {
	gas := int64(500_000)
	if m.Method != builtin.MethodSend {
		gas = 10_000_000
	}
	return gas + 1000*int64(len(m.Params))
}

func orZero(v abi.TokenAmount) abi.TokenAmount {
	if v.Int == nil {
		return big.Zero()
	}
	return v
}
