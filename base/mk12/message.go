package mk12

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
)

//go:generate go run ./gen

// DealProposal is the on-chain form of a deal, layout of market actor v9 (the
// one every later version kept). On the wire it is a CBOR tuple, and those
// bytes are what the client signs.
type DealProposal = market.DealProposal

// ClientDealProposal is a proposal with its client's signature, a CBOR tuple.
type ClientDealProposal = market.ClientDealProposal

// DealParams proposes one deal. Both 1.2.0 and 1.2.1 carry it; the keys of the
// two last booleans may be absent when the sender is old, which reads as false.
type DealParams struct {
	DealUUID           uuid.UUID // chosen by the client, the name of the deal in every later message
	IsOffline          bool      // the data arrives by other means; Transfer is the zero value
	ClientDealProposal ClientDealProposal
	DealDataRoot       cid.Cid // root of the DAG in the CAR, not the piece CID
	Transfer           Transfer
	RemoveUnsealedCopy bool // keep no copy that can be served fast
	SkipIPNIAnnounce   bool
}

// Transfer tells the provider where to fetch the data.
type Transfer struct {
	Type     string `cborgen:"maxlen=64"` // TransferHTTP, TransferLibp2p, or "" for offline
	ClientID string `cborgen:"maxlen=256"`
	Params   []byte `cborgen:"maxlen=65536"` // JSON of HTTPParams for both transfer types
	Size     uint64 // bytes of the CAR, not padded
}

// DealResponse accepts or rejects a proposal. Message is empty when accepted.
type DealResponse struct {
	Accepted bool
	Message  string
}

// DealStatusRequest asks how a deal stands. Signature is over the sixteen bytes
// of the UUID, by the key that signed the proposal.
type DealStatusRequest struct {
	DealUUID  uuid.UUID
	Signature crypto.Signature
}

// DealStatusResponse answers a DealStatusRequest. A non-empty Error means the
// question was refused (unknown deal, bad signature) and DealStatus is nil; a
// deal that went wrong has its error in DealStatus.Error instead.
type DealStatusResponse struct {
	DealUUID       uuid.UUID
	Error          string
	DealStatus     *DealStatus
	IsOffline      bool
	TransferSize   uint64 // bytes
	NBytesReceived uint64
}

// DealStatus is how far the provider says a deal has come.
type DealStatus struct {
	Error             string // why the deal ended; Status is then Complete
	Status            Checkpoint
	SealingStatus     string // name of Lotus' sector state ("PreCommit1", "Proving"), or "deal not found"
	Proposal          DealProposal
	SignedProposalCid cid.Cid  // of SignedProposalCID
	PublishCid        *cid.Cid // message that published the deal, nil before
	ChainDealID       abi.DealID
}

// Checkpoint names a point that a deal passes on the provider's side.
type Checkpoint string

// The checkpoints in the order of their passing. A sealed deal stays at
// IndexedAndAnnounced with SealingStatus "Proving"; Complete means the provider
// is done with the deal, in a failure too. Curio has words of its own
// ("Processing", "Sealed"), so a reader must expect others.
const (
	Accepted            Checkpoint = "Accepted"
	Transferred         Checkpoint = "Transferred"
	Published           Checkpoint = "Published"
	PublishConfirmed    Checkpoint = "PublishConfirmed"
	AddedPiece          Checkpoint = "AddedPiece"
	IndexedAndAnnounced Checkpoint = "IndexedAndAnnounced"
	Complete            Checkpoint = "Complete"
)

// AskRequest asks for the terms of one provider.
type AskRequest struct {
	Miner address.Address
}

// AskResponse carries a provider's terms; Ask is nil when it has set none.
type AskResponse struct {
	Ask *SignedStorageAsk
}

// SignedStorageAsk is an ask with the signature of the provider's worker over
// the CBOR of Ask.
type SignedStorageAsk struct {
	Ask       *StorageAsk
	Signature *crypto.Signature
}

// StorageAsk is what a provider wants for storing. Prices are attoFIL per GiB
// and epoch; sizes are padded piece sizes; the ask holds from Timestamp to
// Expiry, both epochs; of two asks the higher SeqNo is the newer.
type StorageAsk struct {
	Price         abi.TokenAmount
	VerifiedPrice abi.TokenAmount
	MinPieceSize  abi.PaddedPieceSize
	MaxPieceSize  abi.PaddedPieceSize
	Miner         address.Address
	Timestamp     abi.ChainEpoch
	Expiry        abi.ChainEpoch
	SeqNo         uint64
}

// TransportsResponse lists the ways a provider serves retrievals.
type TransportsResponse struct {
	Protocols []Transport `cborgen:"maxlen=64"`
}

// Transport is one way to retrieve: Name is "libp2p", "http" or "bitswap",
// Addresses are binary multiaddrs.
type Transport struct {
	Name      string           `cborgen:"maxlen=256"`
	Addresses []abi.Multiaddrs `cborgen:"maxlen=64"`
}
