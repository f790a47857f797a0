package chain

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/firth-project/firth/base/fault"
)

// MinerInfo is what the chain says about a storage provider.
type MinerInfo struct {
	Owner                      address.Address
	Worker                     address.Address
	NewWorker                  address.Address // "<empty>" on the wire when there is none
	ControlAddresses           []address.Address
	WorkerChangeEpoch          abi.ChainEpoch
	PeerId                     *string // libp2p id; providers forget to set it
	Multiaddrs                 [][]byte
	WindowPoStProofType        abi.RegisteredPoStProof
	SectorSize                 abi.SectorSize
	WindowPoStPartitionSectors uint64
	ConsensusFaultElapsed      abi.ChainEpoch
	PendingOwnerAddress        *address.Address
	Beneficiary                address.Address
	BeneficiaryTerm            *BeneficiaryTerm
	PendingBeneficiaryTerm     *PendingBeneficiaryChange
}

// BeneficiaryTerm bounds what a beneficiary may take.
type BeneficiaryTerm struct {
	Quota      abi.TokenAmount
	UsedQuota  abi.TokenAmount
	Expiration abi.ChainEpoch
}

// PendingBeneficiaryChange is a change of beneficiary that is not approved by all sides.
type PendingBeneficiaryChange struct {
	NewBeneficiary        address.Address
	NewQuota              abi.TokenAmount
	NewExpiration         abi.ChainEpoch
	ApprovedByBeneficiary bool
	ApprovedByNominee     bool
}

// AddrInfo says where the provider is reached over libp2p. Multiaddrs the
// provider wrote wrongly are left out; without a peer id, or with no address
// left, the error is NotFound.
func (m MinerInfo) AddrInfo() (peer.AddrInfo, error) {
	if m.PeerId == nil || *m.PeerId == "" {
		return peer.AddrInfo{}, fault.New(fault.NotFound, "provider: no peer id on chain")
	}
	id, err := peer.Decode(*m.PeerId)
	if err != nil {
		return peer.AddrInfo{}, fault.New(fault.NotFound, "provider: peer id %q on chain: %w", *m.PeerId, err)
	}
	info := peer.AddrInfo{ID: id}
	for _, raw := range m.Multiaddrs {
		a, err := multiaddr.NewMultiaddrBytes(raw)
		if err != nil {
			continue
		}
		if a, _ = peer.SplitAddr(a); a != nil {
			info.Addrs = append(info.Addrs, a)
		}
	}
	if len(info.Addrs) == 0 {
		return peer.AddrInfo{}, fault.New(fault.NotFound, "provider %s: no usable address on chain", id)
	}
	return info, nil
}

// PowerClaim is storage power, in bytes (quality-adjusted: weighted bytes).
type PowerClaim struct {
	RawBytePower    abi.StoragePower
	QualityAdjPower abi.StoragePower
}

// MinerPower is a provider's power beside the network's.
type MinerPower struct {
	MinerPower  PowerClaim
	TotalPower  PowerClaim
	HasMinPower bool
}

// Version is what a node says about itself.
type Version struct {
	Version    string
	APIVersion uint32
	BlockDelay uint64 // seconds in an epoch
	Agent      string
}
