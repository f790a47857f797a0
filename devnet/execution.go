package devnet

import (
	"bytes"
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	marketv9 "github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

const (
	methodProveCommit      = abi.MethodNum(34) // miner actor: ProveCommitSectors3
	methodTerminateSectors = abi.MethodNum(9)  // miner actor: TerminateSectors
)

// execution is a message that was executed, or waits to be.
type execution struct {
	cid     cid.Cid
	message chain.Message
	receipt chain.Receipt
	tipset  *chain.TipSet      // nil until it is part of one
	deals   int                // living deals it published: keeps it remembered
	events  []chain.ActorEvent // until it is part of a tipset
}

// batch is what will be in the next tipset.
type batch []*execution

// names joins the CIDs, for the made-up root of the tipset's messages.
func (b batch) names() string {
	var s strings.Builder
	for _, x := range b {
		s.WriteString(x.cid.KeyString())
	}
	return s.String()
}

// record executes nothing: it notes a message as executed with success.
func (l *Ledger) record(m chain.Message, ret []byte) (*execution, error) {
	c, err := m.Cid()
	if err != nil {
		return nil, fault.New(fault.Invalid, "message from %s: %w", m.From, err)
	}
	x := &execution{cid: c, message: m, receipt: chain.Receipt{Return: ret, GasUsed: gasUsed(&m)}}
	l.fresh = append(l.fresh, x)
	l.executed[c] = x
	return x, nil
}

// publishMessage is the PublishStorageDeals message the provider's worker would
// have sent, complete in parameters and return value.
func (l *Ledger) publishMessage(miner *actor, proposals []marketv9.ClientDealProposal, added []*deal) (*execution, error) {
	params := marketv9.PublishStorageDealsParams{Deals: proposals}
	ret := marketv9.PublishStorageDealsReturn{ValidDeals: bitfield.New()}
	for i, d := range added {
		ret.IDs = append(ret.IDs, d.id)
		ret.ValidDeals.Set(uint64(i))
	}
	var in, out bytes.Buffer
	if err := params.MarshalCBOR(&in); err != nil {
		return nil, fault.New(fault.Invalid, "publish: parameters: %w", err)
	}
	if err := ret.MarshalCBOR(&out); err != nil {
		return nil, fault.New(fault.Internal, "publish: return value: %w", err)
	}
	m := l.workerMessage(miner, builtin.StorageMarketActorAddr, builtin.MethodsMarket.PublishStorageDeals)
	m.Params = in.Bytes()
	return l.record(m, out.Bytes())
}

// minerMessage notes a message of a provider to its own miner actor.
func (l *Ledger) minerMessage(miner *actor, method abi.MethodNum) *execution {
	return l.mustRecord(l.workerMessage(miner, miner.address(), method))
}

// cronMessage notes what the chain does by itself.
func (l *Ledger) cronMessage() *execution {
	cron := l.find(builtin.CronActorAddr)
	cron.nonce++
	return l.mustRecord(chain.Message{
		To: builtin.StorageMarketActorAddr, From: builtin.CronActorAddr,
		Nonce: cron.nonce - 1, Method: builtin.MethodsMarket.CronTick,
	})
}

func (l *Ledger) mustRecord(m chain.Message) *execution {
	x, err := l.record(m, nil)
	if err != nil {
		panic(err) // cannot happen: the message has only id addresses and numbers
	}
	return x
}

// workerMessage uses up a nonce of the worker. Pushed messages of the worker
// that wait in the pool hold the nonces before it, so it must not wait for them:
// the devnet's providers do not push.
func (l *Ledger) workerMessage(miner *actor, to address.Address, method abi.MethodNum) chain.Message {
	worker := l.find(miner.miner.Worker)
	worker.nonce++
	return chain.Message{
		To: to, From: worker.address(), Nonce: worker.nonce - 1, Method: method,
		Value: big.Zero(), GasLimit: 100_000_000, GasFeeCap: big.NewInt(2 * baseFee), GasPremium: big.NewInt(baseFee),
	}
}

// emit attaches a market event to the message that caused it.
func (l *Ledger) emit(x *execution, kind string, d *deal) {
	l.log.Debug("market event", "event", kind, "deal", d.id, "provider", d.provider.address(), "epoch", l.tipsets.head().Height)
	x.events = append(x.events, chain.ActorEvent{
		Entries: chain.DealEvent{Type: kind, ID: d.id, Client: d.client.id, Provider: d.provider.id}.Entries(),
		Emitter: builtin.StorageMarketActorAddr,
		MsgCid:  x.cid,
	})
}

// seal makes everything executed since the last tipset part of ts, and forgets
// what is older than the oldest tipset remembered.
func (l *Ledger) seal(ts *chain.TipSet, oldest abi.ChainEpoch) {
	for _, x := range l.fresh {
		x.tipset = ts
		for _, e := range x.events {
			e.Height, e.TipSetKey = ts.Height, ts.Key()
			l.events = append(l.events, e)
		}
		x.events = nil
	}
	l.fresh = nil
	if oldest == l.forgotten {
		return
	}
	l.forgotten = oldest
	l.events = slices.DeleteFunc(l.events, func(e chain.ActorEvent) bool { return e.Height < oldest })
	for _, x := range l.executed {
		l.forget(x, oldest)
	}
}

// forget drops a message below a height unless a living deal came from it.
func (l *Ledger) forget(x *execution, oldest abi.ChainEpoch) {
	if x.deals == 0 && x.tipset != nil && x.tipset.Height < oldest {
		delete(l.executed, x.cid)
	}
}
