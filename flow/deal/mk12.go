package deal

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/flow/provider"
)

// mk12Market is Boost's and Curio's deal protocol over libp2p.
type mk12Market struct {
	client *mk12.Client
	wallet Wallet
}

// NewMK12 makes the market of deal protocol mk1.2. Proposals and status
// questions are signed by the wallet.
func NewMK12(c *mk12.Client, w Wallet) Market { return &mk12Market{client: c, wallet: w} }

func (m *mk12Market) Name() string { return "mk12" }

// Sign makes the proposal's on-chain form, signs its CBOR, and wraps it with
// where the data is fetched.
func (m *mk12Market) Sign(ctx context.Context, t Terms) (Proposal, error) {
	proposal, err := onChainForm(t)
	if err != nil {
		return Proposal{}, err
	}
	signed, err := mk12.Encode(&proposal)
	if err != nil {
		return Proposal{}, err
	}
	signature, err := m.wallet.Sign(ctx, proposal.Client, signed)
	if err != nil {
		return Proposal{}, fault.Wrap(err, "sign proposal")
	}
	params := mk12.DealParams{
		DealUUID: uuid.MustParse(t.UUID), ClientDealProposal: mk12.ClientDealProposal{Proposal: proposal, ClientSignature: signature},
	}
	if params.DealDataRoot, err = cid.Decode(t.Root); err != nil {
		return Proposal{}, fault.New(fault.Invalid, "payload CID %q: %w", t.Root, err)
	}
	if params.Transfer, err = mk12.HTTPTransfer(t.URL, t.Headers, uint64(t.CARSize)); err != nil {
		return Proposal{}, err
	}
	request, err := mk12.Encode(&params)
	if err != nil {
		return Proposal{}, err
	}
	name, err := mk12.SignedProposalCID(params.ClientDealProposal)
	return Proposal{Request: request, CID: name.String()}, err
}

// onChainForm writes terms as the market actor knows them. The label is the
// payload CID, as everywhere in the network.
func onChainForm(t Terms) (mk12.DealProposal, error) {
	var p mk12.DealProposal
	pieceCID, err := cid.Decode(t.PieceCID)
	if err != nil {
		return p, fault.New(fault.Invalid, "piece CID %q: %w", t.PieceCID, err)
	}
	_, actor, err := provider.ParseActor(t.Provider)
	if err != nil {
		return p, err
	}
	client, err := wallet.ParseAddress(t.Client)
	if err != nil {
		return p, err
	}
	label, err := market.NewLabelFromString(t.Root)
	if err != nil {
		return p, fault.New(fault.Invalid, "label %q: %w", t.Root, err)
	}
	return mk12.DealProposal{
		PieceCID: pieceCID, PieceSize: abi.PaddedPieceSize(t.PaddedSize), VerifiedDeal: t.Verified,
		Client: client, Provider: actor, Label: label,
		StartEpoch: abi.ChainEpoch(t.StartEpoch), EndEpoch: abi.ChainEpoch(t.EndEpoch),
		StoragePricePerEpoch: t.PricePerEpoch, ProviderCollateral: t.ProviderCollateral, ClientCollateral: big.Zero(),
	}, nil
}

// Propose sends the bytes that Sign made.
func (m *mk12Market) Propose(ctx context.Context, p provider.Provider, request []byte) (Answer, error) {
	var params mk12.DealParams
	if err := mk12.Decode(request, &params); err != nil {
		return Answer{}, err
	}
	info, err := p.Peer()
	if err != nil {
		return Answer{}, err
	}
	to, err := info.AddrInfo()
	if err != nil {
		return Answer{}, err
	}
	answer, err := m.client.Propose(ctx, to, params)
	if errors.Is(err, mk12.ErrUnanswered) {
		err = fault.Mark(fault.Unavailable, fmt.Errorf("%w: %w", ErrUnanswered, err))
	}
	return Answer{Accepted: answer.Accepted, Message: answer.Message}, err
}

// Status asks for the deal, signed by its client.
func (m *mk12Market) Status(ctx context.Context, p provider.Provider, deal, client string) (Report, error) {
	id, err := uuid.Parse(deal)
	if err != nil {
		return Report{}, fault.New(fault.Invalid, "deal %q: %w", deal, err)
	}
	addr, err := wallet.ParseAddress(client)
	if err != nil {
		return Report{}, err
	}
	info, err := p.Peer()
	if err != nil {
		return Report{}, err
	}
	to, err := info.AddrInfo()
	if err != nil {
		return Report{}, err
	}
	answer, err := m.client.Status(ctx, to, id, func(b []byte) (crypto.Signature, error) { return m.wallet.Sign(ctx, addr, b) })
	if err != nil {
		return Report{}, err
	}
	return reportOf(answer), nil
}

// reportOf reads Boost's checkpoints. Words it does not know (Curio has its own)
// count as work on the data.
func reportOf(a mk12.DealStatusResponse) Report {
	if a.DealStatus == nil {
		return Report{Unknown: a.Unknown(), Refusal: a.Error}
	}
	st := a.DealStatus
	r := Report{
		Error: st.Error, Step: string(st.Status), Sealing: st.SealingStatus, Received: int64(a.NBytesReceived),
		Stage: Transferring, DealID: int64(st.ChainDealID),
	}
	if st.PublishCid != nil {
		r.PublishCID = st.PublishCid.String()
	}
	switch st.Status {
	case mk12.Accepted:
		if r.Received == 0 {
			r.Stage = Proposed
		}
	case mk12.Transferred, mk12.Published:
	case mk12.PublishConfirmed, mk12.AddedPiece, mk12.IndexedAndAnnounced, mk12.Complete:
		r.Stage = Published
		r.OnChain = r.PublishCID != ""
	default:
		r.OnChain = r.PublishCID != "" && r.DealID != 0
	}
	return r
}
