package chain

import (
	"encoding/json"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// TipSetKey names a tipset by the CIDs of its blocks, in the node's order. Empty
// means "the head" in every call that takes one. It decodes from an array or
// null and encodes as an array.
type TipSetKey []cid.Cid

// MarshalJSON writes an empty key as [] because some nodes refuse null.
func (k TipSetKey) MarshalJSON() ([]byte, error) {
	if len(k) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal([]cid.Cid(k))
}

// Equal reports whether both keys name the same tipset.
func (k TipSetKey) Equal(o TipSetKey) bool {
	if len(k) != len(o) {
		return false
	}
	for i := range k {
		if !k[i].Equals(o[i]) {
			return false
		}
	}
	return true
}

// String returns the CIDs, separated by commas.
func (k TipSetKey) String() string {
	s := ""
	for i, c := range k {
		if i > 0 {
			s += ","
		}
		s += c.String()
	}
	return s
}

// Ticket is a block's chain randomness.
type Ticket struct{ VRFProof []byte }

// ElectionProof says how many times a block's miner won its epoch.
type ElectionProof struct {
	WinCount int64
	VRFProof []byte
}

// BeaconEntry is one round of the drand beacon.
type BeaconEntry struct {
	Round uint64
	Data  []byte
}

// BlockHeader is a block's header: its JSON is Lotus' and its CBOR the network's
// (a tuple of these sixteen fields), so Cid is the block's true name.
type BlockHeader struct {
	Miner                 address.Address
	Ticket                *Ticket
	ElectionProof         *ElectionProof
	BeaconEntries         []BeaconEntry
	WinPoStProof          []proof.PoStProof
	Parents               []cid.Cid
	ParentWeight          abi.TokenAmount
	Height                abi.ChainEpoch
	ParentStateRoot       cid.Cid
	ParentMessageReceipts cid.Cid
	Messages              cid.Cid
	BLSAggregate          *crypto.Signature
	Timestamp             uint64 // Unix seconds: genesis + height * epoch length
	BlockSig              *crypto.Signature
	ForkSignaling         uint64
	ParentBaseFee         abi.TokenAmount // attoFIL per unit of gas
}

// TipSet is the set of blocks of one height with the same parents.
type TipSet struct {
	Cids   []cid.Cid
	Blocks []*BlockHeader
	Height abi.ChainEpoch
}

// Key names the tipset.
func (t *TipSet) Key() TipSetKey { return TipSetKey(t.Cids) }

// Parents names the tipset before this one; empty for genesis in most networks.
func (t *TipSet) Parents() TipSetKey {
	if len(t.Blocks) == 0 {
		return nil
	}
	return TipSetKey(t.Blocks[0].Parents)
}

// Time is the nominal time of the tipset's epoch, in UTC.
func (t *TipSet) Time() time.Time {
	if len(t.Blocks) == 0 {
		return time.Time{}
	}
	return time.Unix(int64(t.Blocks[0].Timestamp), 0).UTC()
}

// check holds what everything above relies on; nodes and proxies do answer
// with half a tipset now and then.
func (t *TipSet) check() error {
	if t == nil || len(t.Blocks) == 0 || len(t.Cids) != len(t.Blocks) {
		return fault.New(fault.Unavailable, "tipset: the node answered one without blocks")
	}
	for _, b := range t.Blocks {
		if b == nil || b.Height != t.Height {
			return fault.New(fault.Unavailable, "tipset %d: the node answered blocks of another height", t.Height)
		}
	}
	return nil
}

// The kinds of head change.
const (
	HeadCurrent = "current" // the head as it is; what came before is not told
	HeadApply   = "apply"   // Val is the new head, its parents were the head before
	HeadRevert  = "revert"  // Val is no longer part of the chain
)

// HeadChange is one step of the chain's head as ChainNotify tells it.
type HeadChange struct {
	Type string
	Val  *TipSet
}
