package devnet

import (
	"bytes"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	marketv9 "github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/filecoin-project/go-state-types/exitcode"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
)

// signed is a message of the bench's client with enough gas.
func (b *bench) signed(key wallet.Key, m chain.Message) *chain.SignedMessage {
	b.t.Helper()
	m.From = key.Address()
	m.GasLimit, m.GasFeeCap, m.GasPremium = 50_000_000, big.NewInt(1000), big.NewInt(50)
	if m.Value.Int == nil {
		m.Value = big.Zero()
	}
	s, err := wallet.SignMessage(key, m)
	b.no(err)
	return &s
}

// push sends and runs the next tipset, and returns the receipt.
func (b *bench) push(s *chain.SignedMessage) chain.Receipt {
	b.t.Helper()
	c, err := b.Push(s)
	b.no(err)
	if b.lookup(c) != nil {
		b.t.Error("executed before it is in a tipset")
	}
	b.Advance(1)
	m := b.lookup(c)
	if m == nil || m.Height != b.Head() || !m.TipSet.Equal(b.HeadTipSet().Key()) {
		b.t.Fatalf("lookup of %s: %+v", c, m)
	}
	return m.Receipt
}

func addressParams(t *testing.T, a address.Address) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := a.MarshalCBOR(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func withdrawParams(t *testing.T, a address.Address, amount abi.TokenAmount) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := (&marketv9.WithdrawBalanceParams{ProviderOrClientAddress: a, Amount: amount}).MarshalCBOR(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestPushedMessagesMoveMoney(t *testing.T) {
	b := newBench(t)
	bls := importKey(t, "bls-1.lotus-export.txt")
	balance := b.Balance(b.client)
	spend := func(r chain.Receipt, value abi.TokenAmount) {
		t.Helper()
		balance = big.Sub(balance, big.Add(value, big.Mul(big.NewInt(150), big.NewInt(r.GasUsed))))
		if got := b.Balance(b.client); !got.Equals(balance) {
			t.Errorf("balance %s, want %s", got, balance)
		}
	}
	r := b.push(b.signed(b.key, chain.Message{To: bls.Address(), Value: fil(3), Nonce: 0}))
	spend(r, fil(3))
	if got := b.Balance(bls.Address()); r.ExitCode != 0 || !got.Equals(fil(3)) {
		t.Errorf("send: exit %d, receiver has %s", r.ExitCode, got)
	}
	market := builtin.StorageMarketActorAddr
	r = b.push(b.signed(b.key, chain.Message{To: market, Method: 2, Value: fil(1), Nonce: 1, Params: addressParams(t, b.key.Address())}))
	spend(r, fil(1))
	b.escrow(b.client, fil(101), big.Zero())

	b.publish(nil)
	locked := b.Escrow(b.client).Locked
	r = b.push(b.signed(b.key, chain.Message{To: market, Method: 3, Nonce: 2, Params: withdrawParams(t, b.client, fil(500))}))
	got := big.Sub(fil(101), locked)
	spend(r, got.Neg())
	b.escrow(b.client, locked, locked)
	var ret abi.TokenAmount
	if err := ret.UnmarshalCBOR(bytes.NewReader(r.Return)); err != nil || !ret.Equals(got) {
		t.Errorf("withdrawn %s, %v; want %s", ret, err, got)
	}

	r = b.push(b.signed(bls, chain.Message{To: market, Method: 3, Params: withdrawParams(t, b.client, fil(1))}))
	if r.ExitCode != exitcode.ErrForbidden {
		t.Errorf("a stranger's withdrawal: exit %d", r.ExitCode)
	}
	b.escrow(b.client, locked, locked)
}

func TestMessagesThatFailCostGasOnly(t *testing.T) {
	b := newBench(t)
	nowhere, err := address.NewIDAddress(987654)
	b.no(err)
	cheap := chain.Message{To: builtin.StorageMarketActorAddr, Method: 99, Nonce: 2}
	tests := []struct {
		m    chain.Message
		want exitcode.ExitCode
	}{
		{chain.Message{To: nowhere, Value: fil(1)}, exitcode.SysErrInvalidReceiver},
		{chain.Message{To: b.provider, Method: 5, Nonce: 1}, exitcode.ErrUnhandledMessage},
		{cheap, exitcode.ErrUnhandledMessage},
		{chain.Message{To: builtin.StorageMarketActorAddr, Method: 2, Value: fil(1), Nonce: 3, Params: []byte{0xff}}, exitcode.ErrSerialization},
		{chain.Message{To: builtin.StorageMarketActorAddr, Method: 2, Value: fil(1), Nonce: 4, Params: addressParams(t, nowhere)}, exitcode.ErrIllegalArgument},
	}
	for _, tt := range tests {
		before := b.Balance(b.client)
		r := b.push(b.signed(b.key, tt.m))
		cost := big.Sub(before, b.Balance(b.client))
		if r.ExitCode != tt.want || !cost.Equals(big.NewInt(150*r.GasUsed)) {
			t.Errorf("%+v: exit %d, cost %s for %d gas; want exit %d", tt.m, r.ExitCode, cost, r.GasUsed, tt.want)
		}
	}
}

func TestPushRefuses(t *testing.T) {
	b := newBench(t)
	send := chain.Message{To: b.provider, Value: fil(1)}
	forged := b.signed(b.key, send)
	forged.Message.Value = fil(2)
	_, err := b.Push(forged)
	b.is(err, fault.Invalid)
	_, err = b.Push(b.signed(importKey(t, "bls-1.lotus-export.txt"), send))
	b.is(err, fault.NotFound)
	_, err = b.Push(b.signed(b.key, chain.Message{To: b.provider, Value: fil(1), Nonce: 1}))
	b.is(err, fault.Conflict)
	_, err = b.Push(b.signed(b.key, chain.Message{To: b.provider, Value: fil(901)}))
	b.is(err, fault.Exhausted)
	_, err = b.Push(b.signed(b.key, chain.Message{To: b.provider, Value: fil(-1)}))
	b.is(err, fault.Invalid)

	_, err = b.Push(b.signed(b.key, chain.Message{To: b.provider, Value: fil(500)}))
	b.no(err)
	_, err = b.Push(b.signed(b.key, send)) // the nonce is taken by one that waits
	b.is(err, fault.Conflict)
	_, err = b.Push(b.signed(b.key, chain.Message{To: b.provider, Value: fil(500), Nonce: 1}))
	b.is(err, fault.Exhausted) // what waits is counted
	if n, err := b.mpoolNonce(b.client); err != nil || n != 1 {
		t.Errorf("next nonce %d, %v", n, err)
	}
}
