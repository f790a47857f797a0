package deal

import (
	"context"
	"errors"
	"iter"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/provider"
)

// Market is a protocol by which deals are proposed and followed.
type Market interface {
	Name() string
	// Sign makes the proposal that Propose sends, as often as need be the same
	// bytes.
	Sign(ctx context.Context, t Terms) (Proposal, error)
	// Propose sends a proposal. An error that wraps ErrUnanswered means that it
	// may have arrived; any other proves that it has not.
	Propose(ctx context.Context, p provider.Provider, request []byte) (Answer, error)
	// Status asks how a deal stands. An error means that the provider was not
	// reached.
	Status(ctx context.Context, p provider.Provider, deal, client string) (Report, error)
}

// ErrUnanswered is in the chain of an error of Market.Propose that came after
// the proposal may have arrived.
var ErrUnanswered = errors.New("the answer to the proposal was lost")

// Terms is what a deal is about, before it has a form.
type Terms struct {
	UUID               string
	PieceCID           string // v1
	PaddedSize         int64  // bytes
	CARSize            int64  // bytes
	Root               string // payload CID
	Provider           string // f0…
	Client             string // address of the wallet
	StartEpoch         int64
	EndEpoch           int64
	PricePerEpoch      big.Int // attoFIL for the whole piece
	ProviderCollateral big.Int // attoFIL
	Verified           bool
	URL                string            // where the provider fetches the CAR
	Headers            map[string]string // to be sent along
}

// Proposal is a signed proposal in a market's form.
type Proposal struct {
	Request []byte
	CID     string // by which the provider names it
}

// Answer is a provider's yes or no.
type Answer struct {
	Accepted bool
	Message  string // why not
}

// Report is what a provider says about a deal.
type Report struct {
	Unknown    bool   `json:"unknown,omitempty"`  // it has no such deal
	Refusal    string `json:"refusal,omitempty"`  // it does not say, and why not
	Error      string `json:"error,omitempty"`    // the deal is over, and why
	Step       string `json:"step,omitempty"`     // the market's word for how far it is
	Sealing    string `json:"sealing,omitempty"`  // the provider's word for the state of the sector
	Received   int64  `json:"received,omitempty"` // bytes of the CAR
	Stage      State  `json:"stage,omitempty"`    // what that means: Proposed, Transferring or Published
	PublishCID string `json:"publish_cid,omitempty"`
	DealID     int64  `json:"deal_id,omitempty"` // on chain; meaningful when OnChain
	OnChain    bool   `json:"on_chain,omitempty"`
}

// Chain is what deals have to know of the chain; chain.Client does it.
type Chain interface {
	Head(ctx context.Context) (*chain.TipSet, error)
	Follow(ctx context.Context) iter.Seq2[chain.HeadChange, error]
	MarketDeal(ctx context.Context, id abi.DealID) (chain.MarketDeal, error)
	MarketBalance(ctx context.Context, a address.Address) (chain.MarketBalance, error)
	CollateralBounds(ctx context.Context, size abi.PaddedPieceSize, verified bool) (chain.CollateralBounds, error)
	LookupID(ctx context.Context, a address.Address) (address.Address, error)
}

// Wallet signs for the addresses it has the keys of; wallet.Keystore does.
type Wallet interface {
	List() []address.Address
	Sign(ctx context.Context, a address.Address, msg []byte) (crypto.Signature, error)
}

// Pieces are what deals are about; piece.Service does it.
type Pieces interface {
	Plan(ctx context.Context, id int64) (piece.Plan, error)
	Get(ctx context.Context, project int64, ref string) (piece.Piece, error)
	After(ctx context.Context, after int64, limit int) ([]piece.Piece, error)
	// Release has the CARs of a piece deleted that this node has written.
	Release(ctx context.Context, tx *db.Tx, piece int64, reason string) error
}

// Providers are whom deals are made with; provider.Service does it.
type Providers interface {
	Get(ctx context.Context, actor string) (provider.Provider, error)
	Candidates(ctx context.Context, w provider.Want) ([]provider.Provider, error)
	Observe(ctx context.Context, tx *db.Tx, o provider.Observation) error
}

// Links says where providers fetch a piece, and what they must send along; the
// piece server does.
type Links interface {
	PieceURL(pieceCID string) (url string, headers map[string]string)
}
