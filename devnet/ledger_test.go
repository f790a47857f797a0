package devnet

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	marketv9 "github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
)

const (
	testHead     = abi.ChainEpoch(6_564_074)
	testDuration = abi.ChainEpoch(181 * builtin.EpochsInDay)
	testPieceCID = "baga6ea4seaqdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"
)

// bench is a ledger with one client (f1, with a key) and one provider.
type bench struct {
	*Ledger
	t        *testing.T
	key      wallet.Key
	client   address.Address // f0
	provider address.Address
}

func newBench(t *testing.T) *bench {
	t.Helper()
	l := newLedger(ledgerConfig{Seed: "test", Head: testHead})
	key := importKey(t, "secp256k1-1.lotus-export.txt")
	b := &bench{Ledger: l, t: t, key: key}
	b.client = l.AddAccount(key.Address(), fil(1000))
	peer, where := "12D3KooWCurSBQaYKUFz8t25TCPZZg5aM7sw2Vmd5omJFm8vpUT4", multiaddr.StringCast("/ip4/127.0.0.1/tcp/26001")
	b.provider = l.AddMiner(chain.MinerInfo{PeerId: &peer, Multiaddrs: [][]byte{where.Bytes()}}, fil(10))
	b.no(l.Deposit(b.client, fil(100)))
	return b
}

func importKey(t *testing.T, file string) wallet.Key {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := wallet.Import(data)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func fil(n int64) abi.TokenAmount { return big.Mul(big.NewInt(n), builtin.TokenPrecision) }

func (b *bench) no(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) is(err error, kind fault.Kind) {
	b.t.Helper()
	if !fault.Is(err, kind) {
		b.t.Fatalf("error %v, want %v", err, kind)
	}
}

// proposal is one that the market takes: 2 MiB, 181 days from 100 epochs on,
// 1 nanoFIL an epoch. change alters it.
func (b *bench) proposal(change func(p *chain.DealProposal)) marketv9.ClientDealProposal {
	b.t.Helper()
	label, err := marketv9.NewLabelFromString("a deal")
	b.no(err)
	c, err := cid.Decode(testPieceCID)
	b.no(err)
	p := chain.DealProposal{
		PieceCID: c, PieceSize: 2 << 20, Client: b.key.Address(), Provider: b.provider, Label: label,
		StartEpoch: b.Head() + 100, EndEpoch: b.Head() + 100 + testDuration,
		StoragePricePerEpoch: big.NewInt(1e9), ClientCollateral: big.NewInt(5),
		ProviderCollateral: big.Mul(collateralBounds(2<<20).Min, big.NewInt(2)),
	}
	if change != nil {
		change(&p)
	}
	return marketv9.ClientDealProposal{Proposal: p}
}

func (b *bench) publish(change func(p *chain.DealProposal)) abi.DealID {
	b.t.Helper()
	_, ids, err := b.Publish(b.t.Context(), b.provider, []marketv9.ClientDealProposal{b.proposal(change)})
	b.no(err)
	return ids[0]
}

// escrow holds that an account's escrow and locked money are as said.
func (b *bench) escrow(who address.Address, escrow, locked abi.TokenAmount) {
	b.t.Helper()
	got := b.Escrow(who)
	if !got.Escrow.Equals(escrow) || !got.Locked.Equals(locked) {
		b.t.Errorf("escrow of %s is %s, %s locked; want %s, %s locked", who, got.Escrow, got.Locked, escrow, locked)
	}
}

func TestDealLocksAndPaysMoney(t *testing.T) {
	b := newBench(t)
	p := b.proposal(nil).Proposal
	fee, collateral := p.TotalStorageFee(), p.ProviderCollateral
	id := b.publish(nil)
	b.escrow(b.client, fil(100), p.ClientBalanceRequirement())
	b.escrow(b.provider, fil(10), collateral)
	if d, ok := b.Deal(id); !ok || d.State.SectorStartEpoch != chain.Undefined || d.Proposal.Client != b.client {
		t.Fatalf("published deal: %+v %v", d, ok)
	}
	b.Advance(3)
	b.no(b.Activate(7, id))
	d, _ := b.Deal(id)
	if !d.State.Active() || d.State.SectorNumber != 7 || d.State.SectorStartEpoch != testHead+3 {
		t.Fatalf("active deal: %+v", d.State)
	}
	b.is(b.Activate(7, id), fault.Conflict)

	b.Advance(int64(p.EndEpoch - b.Head() - 1))
	if _, ok := b.Deal(id); !ok {
		t.Fatal("the deal disappeared before its end")
	}
	b.Advance(1)
	if _, ok := b.Deal(id); ok {
		t.Fatal("the deal outlived its end")
	}
	b.escrow(b.client, big.Sub(fil(100), fee), big.Zero())
	b.escrow(b.provider, big.Add(fil(10), fee), big.Zero())
}

func TestSlashBurnsAndStaysVisibleForADay(t *testing.T) {
	b := newBench(t)
	p := b.proposal(nil).Proposal
	id := b.publish(nil)
	b.is(b.Slash(id), fault.Conflict)
	b.is(b.Slash(99), fault.NotFound)
	b.no(b.Activate(1, id))
	b.Advance(100 + 50)
	b.no(b.Slash(id))
	d, ok := b.Deal(id)
	if !ok || d.State.SlashEpoch != b.Head() || d.State.Active() {
		t.Fatalf("slashed deal: %+v %v", d.State, ok)
	}
	b.is(b.Slash(id), fault.Conflict)
	b.is(b.Activate(1, id), fault.Conflict)
	paid := big.Mul(p.StoragePricePerEpoch, big.NewInt(50))
	b.escrow(b.client, big.Sub(fil(100), paid), big.Zero())
	b.escrow(b.provider, big.Sub(big.Add(fil(10), paid), p.ProviderCollateral), big.Zero())
	b.Advance(int64(slashedVisible) - 1)
	if _, ok := b.Deal(id); !ok {
		t.Fatal("the slashed deal disappeared within its day")
	}
	b.Advance(1)
	if _, ok := b.Deal(id); ok {
		t.Fatal("the slashed deal outlived its day")
	}
	b.escrow(b.client, big.Sub(fil(100), paid), big.Zero())
}

func TestDealThatIsNotActivatedIsDeleted(t *testing.T) {
	b := newBench(t)
	p := b.proposal(nil).Proposal
	id := b.publish(nil)
	b.Advance(100)
	if _, ok := b.Deal(id); !ok {
		t.Fatal("deleted although its start epoch is now")
	}
	b.Advance(1)
	if _, ok := b.Deal(id); ok {
		t.Fatal("still there after its start epoch")
	}
	b.is(b.Activate(1, id), fault.NotFound)
	b.escrow(b.client, fil(100), big.Zero())
	b.escrow(b.provider, big.Sub(fil(10), p.ProviderCollateral), big.Zero())
}

func TestPublishRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(p *chain.DealProposal)
		want   fault.Kind
	}{
		"start epoch passed":  {func(p *chain.DealProposal) { p.StartEpoch, p.EndEpoch = testHead-1, testHead-1+testDuration }, fault.Invalid},
		"too short":           {func(p *chain.DealProposal) { p.EndEpoch = p.StartEpoch + 10 }, fault.Invalid},
		"too long":            {func(p *chain.DealProposal) { p.EndEpoch = p.StartEpoch + 1279*builtin.EpochsInDay }, fault.Invalid},
		"size":                {func(p *chain.DealProposal) { p.PieceSize = 1000 }, fault.Invalid},
		"piece CID version 2": {func(p *chain.DealProposal) { p.PieceCID = cid.NewCidV1(cid.Raw, p.PieceCID.Hash()) }, fault.Invalid},
		"no piece CID":        {func(p *chain.DealProposal) { p.PieceCID = cid.Undef }, fault.Invalid},
		"negative price":      {func(p *chain.DealProposal) { p.StoragePricePerEpoch = big.NewInt(-1) }, fault.Invalid},
		"little collateral":   {func(p *chain.DealProposal) { p.ProviderCollateral = big.NewInt(1) }, fault.Invalid},
		"another provider":    {func(p *chain.DealProposal) { p.Provider = p.Client }, fault.Invalid},
		"unknown client":      {func(p *chain.DealProposal) { p.Client, _ = address.NewIDAddress(4242) }, fault.NotFound},
		"client's escrow":     {func(p *chain.DealProposal) { p.StoragePricePerEpoch = fil(1) }, fault.Exhausted},
		"provider's escrow":   {func(p *chain.DealProposal) { p.ProviderCollateral = fil(11) }, fault.Exhausted},
		"no datacap":          {func(p *chain.DealProposal) { p.VerifiedDeal = true }, fault.Exhausted},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			good := b.proposal(nil)
			_, ids, err := b.Publish(t.Context(), b.provider, []marketv9.ClientDealProposal{good, b.proposal(tt.change)})
			b.is(err, tt.want)
			if !strings.Contains(err.Error(), "deal 2 of 2") || ids != nil {
				t.Errorf("error %v, ids %v", err, ids)
			}
			b.escrow(b.client, fil(100), big.Zero())
			b.escrow(b.provider, fil(10), big.Zero())
			if id := b.publish(nil); id != 1 {
				t.Errorf("the refused batch used up ids: next is %d", id)
			}
		})
	}
}

func TestPublishTwiceIsAConflict(t *testing.T) {
	b := newBench(t)
	first := b.publish(nil)
	twice := []marketv9.ClientDealProposal{b.proposal(func(p *chain.DealProposal) { p.Client = b.client })}
	_, _, err := b.Publish(t.Context(), b.provider, twice)
	b.is(err, fault.Conflict) // by f0 or by key, it is the same client
	_, _, err = b.Publish(t.Context(), b.provider, nil)
	b.is(err, fault.Invalid)
	_, _, err = b.Publish(t.Context(), b.client, twice)
	b.is(err, fault.NotFound)
	if again := b.publish(func(p *chain.DealProposal) { p.EndEpoch++ }); again != first+1 {
		t.Errorf("ids %d, %d", first, again)
	}
}

func TestVerifiedDealsUseDatacap(t *testing.T) {
	b := newBench(t)
	b.SetDatacap(b.client, big.NewInt(3<<20))
	verified := func(p *chain.DealProposal) { p.VerifiedDeal = true }
	b.publish(verified)
	if left := b.datacapOf(b.client); left == nil || left.Int64() != 1<<20 {
		t.Errorf("datacap left: %v", left)
	}
	_, _, err := b.Publish(t.Context(), b.provider, []marketv9.ClientDealProposal{b.proposal(func(p *chain.DealProposal) { p.VerifiedDeal = true; p.EndEpoch++ })})
	b.is(err, fault.Exhausted)
}

// Two ledgers of a seed tell the same story; another seed another.
func TestLedgerIsDeterministic(t *testing.T) {
	run := func(seed string) string {
		l := newLedger(ledgerConfig{Seed: seed, Head: testHead})
		l.AddMiner(chain.MinerInfo{}, fil(1))
		l.Advance(20)
		return l.HeadTipSet().Key().String()
	}
	if first, again := run("a"), run("a"); first != again || first == run("b") {
		t.Error("the chain does not follow from the seed")
	}
}

func TestCalendarIsMainnets(t *testing.T) {
	l := newLedger(ledgerConfig{Seed: "test"})
	head := l.HeadTipSet()
	if late := time.Since(head.Time()); late < 0 || late > 2*chain.EpochDuration {
		t.Fatalf("the head's timestamp is %s behind the wall clock", late)
	}
	l.Advance(5)
	ts := l.HeadTipSet()
	if want := chain.TimeOf(genesisTime(), chain.EpochDuration, head.Height+5); !ts.Time().Equal(want) || ts.Height != head.Height+5 {
		t.Errorf("tipset %d at %s, want %s", ts.Height, ts.Time(), want)
	}
}

func TestTimersAndEpochs(t *testing.T) {
	l := newLedger(ledgerConfig{Head: 10})
	var got []string
	note := func(s string) func() { return func() { got = append(got, s) } }
	cancel := l.OnEpoch(func(head abi.ChainEpoch) {
		if head != l.Head() {
			t.Errorf("told %d at %d", head, l.Head())
		}
		got = append(got, "epoch")
	})
	l.After(2, note("two"))
	l.After(1, note("one"))
	l.After(0, func() { note("next")(); l.After(1, note("after next")) })
	l.Advance(2)
	if want := []string{"one", "next", "epoch", "two", "after next", "epoch"}; !slices.Equal(got, want) {
		t.Errorf("ran %v, want %v", got, want)
	}
	cancel()
	l.Advance(1)
	if len(got) != 6 {
		t.Errorf("called after cancel: %v", got)
	}
}

// A jump runs what falls due in it at its epoch, leaves null rounds, and costs
// little; the chain stays linked and within its bounds.
func TestLongAdvance(t *testing.T) {
	l := newLedger(ledgerConfig{Head: 1000})
	var at abi.ChainEpoch
	l.After(600_000, func() { at = l.Head() })
	l.Advance(1_000_000)
	if at != 601_000 || l.Head() != 1_001_000 {
		t.Fatalf("timer at %d, head %d", at, l.Head())
	}
	null, err := l.tipSetAt(700_000)
	if err != nil || null.Height != 601_000 {
		t.Errorf("tipset at a null round: %+v, %v", null, err)
	}
	for ts := l.HeadTipSet(); ts.Height > 0; {
		parent, err := l.tipsets.get(ts.Parents())
		if err != nil || parent.Height >= ts.Height {
			t.Fatalf("parent of %d: %v", ts.Height, err)
		}
		ts = parent
	}
}

func TestHistoryIsBounded(t *testing.T) {
	b := newBench(t)
	lasting := b.publish(nil)
	b.no(b.Activate(1, lasting))
	for range 12 {
		b.Advance(denseAdvance)
	}
	if n := len(b.tipsets.recent); n > 2*retainTipsets || n < retainTipsets {
		t.Errorf("%d tipsets are kept", n)
	}
	if n := len(b.events); n != 0 {
		t.Errorf("%d old events are kept", n)
	}
	if n := len(b.executed); n != 1 {
		t.Errorf("%d messages are kept, want the one of the living deal", n)
	}
	if _, err := b.tipSetAt(testHead + 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("a forgotten tipset: %v", err)
	}
	if g, err := b.tipSetAt(0); err != nil || g.Height != 0 {
		t.Errorf("genesis: %v", err)
	}
	if _, err := b.tipSetAt(b.Head() + 1); !fault.Is(err, fault.Invalid) {
		t.Errorf("the future: %v", err)
	}
	b.Advance(int64(testDuration))
	if n := len(b.executed); n > 1 {
		t.Errorf("%d messages are kept after the deal's end", n)
	}
}

func TestSubscriberThatDoesNotReadIsLetGo(t *testing.T) {
	l := newLedger(ledgerConfig{Head: 10})
	changes, cancel := l.follow()
	defer cancel()
	l.Advance(headBuffer + 10)
	n := 0
	for range changes {
		n++
	}
	if n != headBuffer {
		t.Errorf("%d changes before the end, want %d", n, headBuffer)
	}
}

func TestAddMinerFillsIn(t *testing.T) {
	b := newBench(t)
	second := b.AddMiner(chain.MinerInfo{Worker: b.key.Address()}, big.Zero())
	m, err := b.Miner(second)
	b.no(err)
	if second.String() != "f01001" || m.Worker != b.client || m.Owner == address.Undef || m.SectorSize == 0 {
		t.Errorf("%s: %+v", second, m)
	}
	_, err = b.Miner(b.client)
	b.is(err, fault.NotFound)
	if _, err := b.Miner(address.TestAddress); err == nil || !errors.As(err, new(*fault.Error)) {
		t.Errorf("unknown address: %v", err)
	}
}
