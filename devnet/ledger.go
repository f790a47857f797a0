package devnet

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

const (
	firstMinerID   = 1000 // f01000, f01001, … in the order of AddMiner
	firstAccountID = 1500 // f01500, … in the order of AddAccount
	networkName    = "firth-devnet"
	networkVersion = 28 // the last before FIP-0118 ends verified deals
)

// ledgerConfig says how a ledger starts. The zero value is a chain that stands
// at today's epoch of Filecoin and moves by Advance alone.
type ledgerConfig struct {
	Seed  string         // everything made up is derived from it
	Epoch time.Duration  // wall time between tipsets; 0: only Advance moves the chain
	Head  abi.ChainEpoch // height to start at; 0: the epoch mainnet is in now
	Log   *slog.Logger
	Now   func() time.Time // only asked at the start
}

// Ledger is the chain of the devnet: accounts, the storage market, the miners
// and the tipsets over them. One mutex guards it all; what happens between two
// tipsets is part of the later one. Every method may be called from any
// goroutine.
//
// Its calendar is mainnet's: genesis at 2020-08-24T22:00:00Z, epochs of 30
// seconds, so at the start the head's height and timestamp are what a wall
// clock says. From then on the chain has its own time: it moves one epoch each
// ledgerConfig.Epoch, timestamps stay genesis + height * 30 s, and with short
// epochs the head runs ahead of the wall clock. A program that computes epochs
// from the wall clock falls behind by (30 s / Epoch - 1) seconds each second.
type Ledger struct {
	seed  string
	epoch time.Duration
	log   *slog.Logger

	advancing sync.Mutex // held while the chain moves; callbacks run under it

	mu        sync.Mutex
	actors    map[abi.ActorID]*actor
	byRobust  map[address.Address]abi.ActorID
	miners    []abi.ActorID
	accounts  uint64 // how many have been given an id
	market    marketActor
	mpool     []*execution // pushed, not executed
	fresh     batch        // executed since the last tipset
	executed  map[cid.Cid]*execution
	forgotten abi.ChainEpoch     // executions below it are gone
	events    []chain.ActorEvent // of the tipsets remembered, oldest first
	tipsets   history
	timers    timers
	onEpoch   map[uint64]func(abi.ChainEpoch)
	heads     map[uint64]chan []chain.HeadChange
	tickets   uint64 // numbers timers and subscriptions
}

// actor is an entry of the state tree; miner is set for storage providers.
type actor struct {
	id      abi.ActorID
	robust  address.Address // f1, f2, f3 or f4; undefined for the singletons
	balance abi.TokenAmount
	nonce   uint64
	escrow  abi.TokenAmount
	locked  abi.TokenAmount
	datacap *abi.StoragePower // nil: not a verified client
	miner   *chain.MinerInfo
}

func (a *actor) address() address.Address { return idAddress(a.id) }

func newLedger(cfg ledgerConfig) *Ledger {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Head == 0 {
		cfg.Head = max(1, chain.EpochAt(genesisTime(), chain.EpochDuration, cfg.Now()))
	}
	l := &Ledger{
		seed: cfg.Seed, epoch: cfg.Epoch, log: cfg.Log,
		actors:   map[abi.ActorID]*actor{},
		byRobust: map[address.Address]abi.ActorID{},
		executed: map[cid.Cid]*execution{},
		onEpoch:  map[uint64]func(abi.ChainEpoch){},
		heads:    map[uint64]chan []chain.HeadChange{},
		market:   newMarketActor(),
	}
	for _, a := range singletons() {
		id, _ := address.IDFromAddress(a)
		l.put(abi.ActorID(id), address.Undef)
	}
	l.tipsets.start(l.forge(0, nil), func(genesis *chain.TipSet) *chain.TipSet {
		return l.forge(cfg.Head, genesis)
	})
	return l
}

func singletons() []address.Address {
	return []address.Address{
		builtin.SystemActorAddr, builtin.InitActorAddr, builtin.RewardActorAddr, builtin.CronActorAddr,
		builtin.StoragePowerActorAddr, builtin.StorageMarketActorAddr, builtin.VerifiedRegistryActorAddr,
		builtin.DatacapActorAddr, builtin.EthereumAddressManagerActorAddr, builtin.BurntFundsActorAddr,
	}
}

// AddAccount adds attoFIL to the account of a key address, made if it is new,
// and returns its f0 address.
func (l *Ledger) AddAccount(addr address.Address, balance abi.TokenAmount) (id address.Address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(addr)
	a.balance = big.Add(a.balance, balance)
	return a.address()
}

// account returns the actor of an address and makes one for a key address that
// has none. It panics on an id address that does not exist: that is the
// caller's mistake.
func (l *Ledger) account(addr address.Address) *actor {
	if a := l.find(addr); a != nil {
		return a
	}
	if addr.Protocol() == address.ID || addr == address.Undef {
		panic(fmt.Sprintf("devnet: no account can be made for %s", addr))
	}
	id := abi.ActorID(firstAccountID + l.accounts)
	l.accounts++
	return l.put(id, addr)
}

func (l *Ledger) put(id abi.ActorID, robust address.Address) *actor {
	a := &actor{id: id, robust: robust, balance: big.Zero(), escrow: big.Zero(), locked: big.Zero()}
	l.actors[id] = a
	if robust != address.Undef {
		l.byRobust[robust] = id
	}
	return a
}

// find returns nil when no actor has the address.
func (l *Ledger) find(addr address.Address) *actor {
	if addr.Protocol() == address.ID {
		id, err := address.IDFromAddress(addr)
		if err != nil {
			return nil
		}
		return l.actors[abi.ActorID(id)]
	}
	id, ok := l.byRobust[addr]
	if !ok {
		return nil
	}
	return l.actors[id]
}

// AddMiner adds a storage provider, deposits attoFIL for it in the market and
// returns its address. Of m only what is set counts: owner and worker may be
// key addresses, whose accounts are made, and are made up when undefined.
func (l *Ledger) AddMiner(m chain.MinerInfo, escrow abi.TokenAmount) (id address.Address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.put(abi.ActorID(firstMinerID+len(l.miners)), l.robust("miner", len(l.miners)))
	a.escrow = big.Add(a.escrow, escrow)
	if m.Owner == address.Undef {
		m.Owner = l.robust("owner", len(l.miners))
	}
	if m.Worker == address.Undef {
		m.Worker = l.robust("worker", len(l.miners))
	}
	m.Owner, m.Worker = l.account(m.Owner).address(), l.account(m.Worker).address()
	if m.Beneficiary == address.Undef {
		m.Beneficiary = m.Owner
	}
	if m.SectorSize == 0 {
		m.SectorSize = 32 << 30
	}
	m.WindowPoStProofType, m.WindowPoStPartitionSectors = abi.RegisteredPoStProof_StackedDrgWindow32GiBV1_1, 2349
	m.WorkerChangeEpoch, m.ConsensusFaultElapsed = chain.Undefined, chain.Undefined
	m.BeneficiaryTerm = &chain.BeneficiaryTerm{Quota: big.Zero(), UsedQuota: big.Zero()}
	a.miner = &m
	l.miners = append(l.miners, a.id)
	return a.address()
}

// robust makes up an actor address.
func (l *Ledger) robust(what string, n int) address.Address {
	a, err := address.NewActorAddress(l.derive(what, n))
	if err != nil {
		panic(err) // cannot happen: any payload is accepted
	}
	return a
}

// derive returns 32 bytes that depend on the seed and the arguments only.
func (l *Ledger) derive(parts ...any) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q", l.seed)
	for _, p := range parts {
		fmt.Fprintf(h, "/%v", p)
	}
	return h.Sum(nil)
}

// SetDatacap makes an account a verified client with the given bytes left.
func (l *Ledger) SetDatacap(addr address.Address, bytes abi.StoragePower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account(addr).datacap = &bytes
}

// Miner returns what the chain says about a provider; NotFound if there is none.
func (l *Ledger) Miner(addr address.Address) (chain.MinerInfo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.minerActor(addr)
	if err != nil {
		return chain.MinerInfo{}, err
	}
	return *a.miner, nil
}

func (l *Ledger) minerActor(addr address.Address) (*actor, error) {
	a := l.find(addr)
	if a == nil {
		return nil, actorNotFound(addr)
	}
	if a.miner == nil {
		return nil, fault.New(fault.NotFound, "actor %s is not a storage provider: miner actor not found", addr)
	}
	return a, nil
}

// actorNotFound carries the words Lotus uses: clients look for them.
func actorNotFound(addr address.Address) error {
	return fault.New(fault.NotFound, "resolve address %s: actor not found", addr)
}

func idAddress(id abi.ActorID) address.Address {
	a, err := address.NewIDAddress(uint64(id))
	if err != nil {
		panic(err) // cannot happen: ids here are small
	}
	return a
}
