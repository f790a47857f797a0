package devnet

import (
	"bytes"
	"encoding/json"
	"net/url"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v9/market"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/wallet"
)

const (
	minDuration = 180 * builtin.EpochsInDay
	maxDuration = 1278 * builtin.EpochsInDay // and the furthest end, FIP-0052
	// collateralFactor is how many times the least collateral a provider puts
	// up at most.
	collateralFactor = 2
)

// standing is everything a proposal is judged by that is not in the proposal:
// what the chain says at the moment and what the provider asks for.
type standing struct {
	provider  address.Address
	head      abi.ChainEpoch
	bounds    chain.CollateralBounds
	available abi.TokenAmount   // the client's escrow less what is locked
	datacap   *abi.StoragePower // nil: not a verified client
	terms     Terms
}

// check judges a proposal whose signature is known to be good. The checks stand
// in Boost's order and the errors have Boost's wording, because clients show
// them to people and some look for words in them.
func (s standing) check(p market.DealProposal) error {
	for _, check := range []func(market.DealProposal) error{
		s.checkPiece, s.checkEpochs, s.checkCollateral, s.checkAsk, s.checkFunds,
	} {
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

func (s standing) checkPiece(p market.DealProposal) error {
	if p.Provider != s.provider {
		return refuse("incorrect provider for deal; proposal.Provider: %s; provider.Address: %s",
			wallet.FormatAddress(p.Provider), wallet.FormatAddress(s.provider))
	}
	if p.Label.Length() > market.DealMaxLabelSize {
		return refuse("deal label can be at most %d bytes, is %d", market.DealMaxLabelSize, p.Label.Length())
	}
	if err := p.PieceSize.Validate(); err != nil {
		return refuse("proposal piece size is invalid: %w", err)
	}
	if p.PieceCID.Prefix() != market.PieceCIDPrefix {
		return refuse("proposal PieceCID had wrong prefix")
	}
	return nil
}

func (s standing) checkEpochs(p market.DealProposal) error {
	if p.EndEpoch <= p.StartEpoch {
		return refuse("proposal end %d before proposal start %d", p.EndEpoch, p.StartEpoch)
	}
	if s.head > p.StartEpoch {
		return refuse("deal start epoch %d has already elapsed (current epoch: %d)", p.StartEpoch, s.head)
	}
	if d := p.Duration(); d < minDuration || d > maxDuration {
		return refuse("deal duration out of bounds (min, max, provided): %d, %d, %d", minDuration, maxDuration, d)
	}
	if p.EndEpoch > s.head+maxDuration {
		return refuse("invalid deal end epoch %d: cannot be more than %d past current epoch %d", p.EndEpoch, maxDuration, s.head)
	}
	return nil
}

func (s standing) checkCollateral(p market.DealProposal) error {
	most := big.Mul(s.bounds.Min, big.NewInt(collateralFactor))
	if p.ProviderCollateral.LessThan(s.bounds.Min) {
		return refuse("proposed provider collateral %s below minimum %s", p.ProviderCollateral, s.bounds.Min)
	}
	if p.ProviderCollateral.GreaterThan(most) {
		return refuse("proposed provider collateral %s above maximum %s", p.ProviderCollateral, most)
	}
	return nil
}

func (s standing) checkAsk(p market.DealProposal) error {
	price := s.terms.Price
	if p.VerifiedDeal {
		price = s.terms.VerifiedPrice
	}
	least := big.Div(big.Mul(price, big.NewIntUnsigned(uint64(p.PieceSize))), big.NewInt(1<<30))
	if p.StoragePricePerEpoch.LessThan(least) {
		return refuse("storage price per epoch less than asking price: %s < %s", p.StoragePricePerEpoch, least)
	}
	if p.PieceSize < s.terms.MinPieceSize {
		return refuse("piece size less than minimum required size: %d < %d", p.PieceSize, s.terms.MinPieceSize)
	}
	if p.PieceSize > s.terms.MaxPieceSize {
		return refuse("piece size more than maximum allowed size: %d > %d", p.PieceSize, s.terms.MaxPieceSize)
	}
	return nil
}

func (s standing) checkFunds(p market.DealProposal) error {
	if need := p.ClientBalanceRequirement(); s.available.LessThan(need) {
		return refuse("client available funds in escrow %s not enough to meet storage cost for deal %s", s.available, need)
	}
	if !p.VerifiedDeal {
		return nil
	}
	if s.datacap == nil {
		return refuse("client is not a verified client")
	}
	if size := big.NewIntUnsigned(uint64(p.PieceSize)); s.datacap.LessThan(size) {
		return refuse("verified deal DataCap %s too small for proposed piece size %s", s.datacap, size)
	}
	return nil
}

// checkSignature verifies the client's signature over the CBOR of the proposal.
// signer is the client's key address. Why it is bad is not told to the client.
func checkSignature(p mk12.ClientDealProposal, signer address.Address) error {
	if !p.Proposal.PieceCID.Defined() {
		return refuse("proposal PieceCID undefined")
	}
	var signed bytes.Buffer
	if err := p.Proposal.MarshalCBOR(&signed); err != nil {
		return refuse("server error: validating signature")
	}
	if err := wallet.Verify(p.ClientSignature, signer, signed.Bytes()); err != nil {
		return refuse("server error: validating signature")
	}
	return nil
}

// checkTransfer says whether the data of an online deal can be asked for: HTTP
// is the one transport here.
func checkTransfer(t mk12.Transfer) (mk12.HTTPParams, error) {
	var params mk12.HTTPParams
	if t.Type != mk12.TransferHTTP {
		return params, refuse("cannot parse params for unrecognized transfer type '%s'", t.Type)
	}
	if err := json.Unmarshal(t.Params, &params); err != nil {
		return params, refuse("parsing transfer params of %d bytes: %w", len(t.Params), err)
	}
	u, err := url.Parse(params.URL)
	if err != nil {
		return params, refuse("parsing transfer url: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return params, refuse("parsing transfer url: %q is not an http url", params.URL)
	}
	return params, nil
}

// refuse makes an error whose text goes to the client as it is.
func refuse(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
