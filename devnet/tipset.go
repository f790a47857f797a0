package devnet

import (
	"sort"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

const (
	genesisUnix    = 1598306400 // mainnet's
	baseFee        = 100        // attoFIL per unit of gas
	retainTipsets  = 4096       // more than four finalities; older ones are forgotten
	vrfProofBytes  = 96
	signatureBytes = 96
)

func genesisTime() time.Time { return time.Unix(genesisUnix, 0).UTC() }

// history is the chain as it is remembered: genesis and the newest tipsets in
// ascending height. Heights without a tipset are null rounds, among them all
// between genesis and the height the devnet started at.
type history struct {
	genesis *chain.TipSet
	recent  []*chain.TipSet
}

func (h *history) start(genesis *chain.TipSet, first func(genesis *chain.TipSet) *chain.TipSet) {
	h.genesis = genesis
	h.recent = []*chain.TipSet{first(genesis)}
}

func (h *history) head() *chain.TipSet { return h.recent[len(h.recent)-1] }

// append adds a tipset and returns the lowest height still remembered.
func (h *history) append(ts *chain.TipSet) (oldest abi.ChainEpoch) {
	h.recent = append(h.recent, ts)
	if len(h.recent) >= 2*retainTipsets {
		h.recent = append(make([]*chain.TipSet, 0, 2*retainTipsets), h.recent[len(h.recent)-retainTipsets:]...)
	}
	return h.recent[0].Height
}

// at returns the tipset of a height or, in a null round, the one before it.
func (h *history) at(height abi.ChainEpoch) (*chain.TipSet, error) {
	if height > h.head().Height || height < 0 {
		return nil, fault.New(fault.Invalid, "looking for tipset with height %d, the head is at %d", height, h.head().Height)
	}
	i := sort.Search(len(h.recent), func(i int) bool { return h.recent[i].Height > height })
	switch {
	case i > 0:
		return h.recent[i-1], nil
	case height == 0 || h.recent[0].Parents().Equal(h.genesis.Key()):
		return h.genesis, nil
	}
	return nil, fault.New(fault.NotFound, "tipset at height %d not found: the devnet remembers from %d", height, h.recent[0].Height)
}

// get finds a tipset by key; the empty key is the head.
func (h *history) get(key chain.TipSetKey) (*chain.TipSet, error) {
	if len(key) == 0 {
		return h.head(), nil
	}
	for i := len(h.recent) - 1; i >= 0; i-- {
		if h.recent[i].Key().Equal(key) {
			return h.recent[i], nil
		}
	}
	if h.genesis.Key().Equal(key) {
		return h.genesis, nil
	}
	return nil, fault.New(fault.NotFound, "tipset %s not found", key)
}

// forge makes the tipset of a height: one block, complete in every field, with
// the CID its bytes have. Proofs and roots are made up from the seed.
func (l *Ledger) forge(height abi.ChainEpoch, parent *chain.TipSet) *chain.TipSet {
	parents, weight := []cid.Cid{l.root("before genesis", 0)}, big.Zero()
	if parent != nil {
		parents = parent.Cids
		weight = big.Add(parent.Blocks[0].ParentWeight, big.NewInt(1<<20))
	}
	miner := idAddress(firstMinerID)
	if n := len(l.miners); n > 0 {
		miner = idAddress(l.miners[int(height)%n])
	}
	b := &chain.BlockHeader{
		Miner:                 miner,
		Ticket:                &chain.Ticket{VRFProof: l.noise(vrfProofBytes, "ticket", height)},
		ElectionProof:         &chain.ElectionProof{WinCount: 1, VRFProof: l.noise(vrfProofBytes, "election", height)},
		Parents:               parents,
		ParentWeight:          weight,
		Height:                height,
		ParentStateRoot:       l.root("state", height),
		ParentMessageReceipts: l.root("receipts", height),
		Messages:              l.root("messages", height, l.fresh.names()),
		BLSAggregate:          &crypto.Signature{Type: crypto.SigTypeBLS, Data: l.noise(signatureBytes, "aggregate", height)},
		Timestamp:             uint64(genesisUnix + int64(height)*int64(chain.EpochDuration/time.Second)),
		BlockSig:              &crypto.Signature{Type: crypto.SigTypeBLS, Data: l.noise(signatureBytes, "signature", height)},
		ParentBaseFee:         big.NewInt(baseFee),
	}
	c, err := b.Cid()
	if err != nil {
		panic(err) // cannot happen: every field is set above
	}
	return &chain.TipSet{Cids: []cid.Cid{c}, Blocks: []*chain.BlockHeader{b}, Height: height}
}

// root makes up the CID of something the devnet has no bytes of.
func (l *Ledger) root(parts ...any) cid.Cid {
	c, err := abi.CidBuilder.Sum(l.derive(parts...))
	if err != nil {
		panic(err) // cannot happen: the hash function is registered by abi
	}
	return c
}

func (l *Ledger) noise(n int, parts ...any) []byte {
	b := make([]byte, 0, n+32)
	for i := 0; len(b) < n; i++ {
		b = append(b, l.derive(append(parts, i)...)...)
	}
	return b[:n]
}
