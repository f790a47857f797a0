package devnet

import (
	"context"
	"encoding/json"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

func messageMethods(l *Ledger) map[string]method {
	return map[string]method{
		"ChainGetMessage": call1(func(_ context.Context, c *cid.Cid) (any, error) { return l.message(c) }),
		"MpoolGetNonce":   call1(func(_ context.Context, a address.Address) (uint64, error) { return l.mpoolNonce(a) }),
		"MpoolPush":       call1(func(_ context.Context, s *chain.SignedMessage) (cid.Cid, error) { return l.pushed(s) }),
		"GasEstimateMessageGas": call1(func(_ context.Context, m *chain.Message) (*chain.Message, error) {
			return l.estimate(m)
		}),
		"StateSearchMsg": {call: func(_ context.Context, p params) (any, error) {
			c, _, err := messageParam(p)
			if err != nil {
				return nil, err
			}
			return l.lookup(c), nil
		}},
		"StateWaitMsg": {call: func(ctx context.Context, p params) (any, error) {
			c, at, err := messageParam(p)
			if err != nil {
				return nil, err
			}
			var confidence abi.ChainEpoch
			if err := p.get(at+1, &confidence); err != nil {
				return nil, err
			}
			return l.await(ctx, c, confidence)
		}},
	}
}

// messageParam finds the message's CID and its place: version 1 of
// StateSearchMsg has a tipset key before it, version 0 and StateWaitMsg do not.
func messageParam(p params) (c cid.Cid, at int, err error) {
	for at := range min(len(p), 2) {
		if len(p[at]) > 0 && p[at][0] == '{' {
			if err := json.Unmarshal(p[at], &c); err != nil {
				break
			}
			return c, at, nil
		}
	}
	return cid.Undef, 0, &rpcError{chain.CodeInvalidParams, "a message CID is needed"}
}

// message adds the CID, as Lotus does to a message it answers.
func (l *Ledger) message(c *cid.Cid) (any, error) {
	if c == nil {
		return nil, fault.New(fault.Invalid, "message: a CID is needed")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.executed[*c]
	for _, p := range l.mpool {
		if p.cid.Equals(*c) {
			x = p
		}
	}
	if x == nil {
		return nil, fault.New(fault.NotFound, "message %s not found", c)
	}
	unsigned, err := x.message.Cid()
	if err != nil {
		return nil, err
	}
	return struct {
		chain.Message
		CID cid.Cid
	}{x.message, unsigned}, nil
}

func (l *Ledger) mpoolNonce(addr address.Address) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.find(addr)
	if a == nil {
		return 0, fault.Wrap(actorNotFound(addr), "resolution lookup failed (%s)", addr)
	}
	return l.nextNonce(a), nil
}

func (l *Ledger) pushed(s *chain.SignedMessage) (cid.Cid, error) {
	if s == nil {
		return cid.Undef, fault.New(fault.Invalid, "push: a signed message is needed")
	}
	return l.Push(s)
}

// estimate fills in what is zero: a limit a quarter above what the message will
// use, a premium and a cap that cover any base fee the devnet has.
func (l *Ledger) estimate(m *chain.Message) (*chain.Message, error) {
	if m == nil {
		return nil, fault.New(fault.Invalid, "gas: a message is needed")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.find(m.From) == nil {
		return nil, actorNotFound(m.From)
	}
	if m.GasLimit <= 0 {
		m.GasLimit = gasUsed(m) * 5 / 4
	}
	if orZero(m.GasPremium).Sign() <= 0 {
		m.GasPremium = big.NewInt(baseFee)
	}
	if orZero(m.GasFeeCap).Sign() <= 0 {
		m.GasFeeCap = big.Add(big.NewInt(2*baseFee), m.GasPremium)
	}
	m.Value = orZero(m.Value)
	return m, nil
}

// lookup returns nil, null on the wire, until the message is in a tipset, and
// for messages that are forgotten.
func (l *Ledger) lookup(c cid.Cid) *chain.MsgLookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, ok := l.executed[c]
	if !ok || x.tipset == nil {
		return nil
	}
	return &chain.MsgLookup{Message: x.cid, Receipt: x.receipt, TipSet: x.tipset.Key(), Height: x.tipset.Height}
}

// await returns once the message has confidence tipsets on top of its own.
func (l *Ledger) await(ctx context.Context, c cid.Cid, confidence abi.ChainEpoch) (*chain.MsgLookup, error) {
	for {
		changes, cancel := l.follow()
		for open := true; open; {
			if m := l.lookup(c); m != nil && l.Head() >= m.Height+confidence {
				cancel()
				return m, nil
			}
			select {
			case <-ctx.Done():
				cancel()
				return nil, fault.Wrap(ctx.Err(), "wait for message %s", c)
			case _, open = <-changes:
			}
		}
		cancel()
	}
}
