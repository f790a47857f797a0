package deal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/flow/provider"
)

// The errors that stop a policy, and not just one deal of it.
var (
	errPaused = errors.New("the policy no longer acts")
	errMoney  = errors.New("the money does not last")
)

// runPropose takes a deal from draft to the provider's answer. Once the signed
// proposal is kept, whatever happens, it is these bytes or nothing.
func (s *Service) runPropose(ctx context.Context, a proposeArgs) error {
	d, err := dealByID(ctx, s.db.Read(), a.Deal)
	if err != nil {
		return err
	}
	switch d.State {
	case Draft:
		p, err := s.providers.Get(ctx, d.Provider)
		if fault.Is(err, fault.NotFound) {
			return s.end(ctx, d, ending{state: Failed, source: FromUs, reason: "the provider was taken out of the index"})
		}
		if err != nil {
			return err
		}
		e, err := s.sign(ctx, &d, p)
		if err != nil {
			return err
		}
		if e != nil {
			return s.end(ctx, d, *e)
		}
		return s.send(ctx, d, p)
	case Sending:
		return s.resume(ctx, d)
	}
	return nil
}

// sign makes and keeps the proposal of a draft. An ending says that the deal
// is over before it began.
func (s *Service) sign(ctx context.Context, d *Deal, p provider.Provider) (*ending, error) {
	policy, err := policyByID(ctx, s.db.Read(), d.Project, d.Policy)
	if err != nil {
		return nil, err
	}
	price, max := amount(p.AskPrice(policy.Verified)), amount(policy.MaxPrice)
	if price.GreaterThan(max) {
		return &ending{state: Failed, source: FromUs, waiting: true,
			reason: fmt.Sprintf("asks %s attoFIL per GiB and epoch by now, the policy pays at most %s", price, max)}, nil
	}
	terms, e, err := s.terms(ctx, d, policy, price)
	if err != nil || e != nil {
		return e, err
	}
	proposal, err := s.market.Sign(ctx, terms)
	if fault.Is(err, fault.NotFound) {
		return s.stop(ctx, policy, fmt.Sprintf("wallet %s cannot sign: %v", d.Client, err))
	}
	if err != nil {
		return nil, err
	}
	cost := big.Mul(terms.PricePerEpoch, big.NewInt(policy.DurationEpochs))
	free, err := s.escrow(ctx, d.Client, cost)
	if err != nil {
		return nil, err
	}
	signed := *d
	signed.StartEpoch, signed.EndEpoch = terms.StartEpoch, terms.EndEpoch
	signed.ProposalCID = proposal.CID
	if err := s.sealRequest(&signed, proposal.Request); err != nil {
		return nil, err
	}
	signed.Price, signed.cost = price.String(), cost.String()
	err = s.keep(ctx, &signed, cost, free)
	switch {
	case errors.Is(err, errMoney):
		return s.stop(ctx, policy, err.Error())
	case errors.Is(err, errPaused):
		return &ending{state: Failed, source: FromUs, reason: err.Error()}, nil
	case err == nil:
		*d = signed
	}
	return nil, err
}

// keep makes a signed proposal durable, if its policy still acts and the money
// lasts for it beside all that is under way.
func (s *Service) keep(ctx context.Context, d *Deal, cost, free big.Int) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		policy, err := holdPolicy(ctx, tx, d.Policy)
		if err != nil {
			return err
		}
		if policy.State != PolicyActive {
			return fmt.Errorf("%w: it is %s", errPaused, policy.State)
		}
		if cost.Sign() > 0 {
			bound, err := boundBy(ctx, tx, d.Client, d.ID)
			if err != nil {
				return err
			}
			for _, c := range bound {
				free = big.Sub(free, amount(c))
			}
			if free.LessThan(cost) {
				return fmt.Errorf("%w: wallet %s has %s attoFIL free in the market, the next deal binds %s; "+
					"add to its market balance, then resume the policy", errMoney, d.Client, big.Max(free, big.Zero()), cost)
			}
		}
		d.progressAt = s.now()
		return s.move(ctx, tx, d, Sending, Observation{Source: FromUs})
	})
}

// terms writes down what is proposed, as things stand on chain now, and in the
// deal where the piece is fetched. An ending says that this cannot be told.
func (s *Service) terms(ctx context.Context, d *Deal, policy Policy, price big.Int) (Terms, *ending, error) {
	t, err := targetByID(ctx, s.db.Read(), d.Piece)
	if err != nil {
		return Terms{}, nil, err
	}
	from, err := s.place(policy, t)
	if fault.Is(err, fault.Forbidden) || fault.Is(err, fault.Invalid) {
		e, err := s.stop(ctx, policy, fmt.Sprintf("its http_headers: %v; or give them again, then resume the policy", err))
		return Terms{}, e, err
	}
	if err != nil {
		return Terms{}, nil, err
	}
	head, err := s.chain.Head(ctx)
	if err != nil {
		return Terms{}, nil, err
	}
	bounds, err := s.chain.CollateralBounds(ctx, abi.PaddedPieceSize(t.PaddedSize), policy.Verified)
	if err != nil {
		return Terms{}, nil, err
	}
	start := int64(head.Height) + policy.StartDelayEpochs
	d.URL, d.Outside = from.url, from.outside
	return Terms{
		UUID: d.UUID, PieceCID: t.PieceCIDv1, PaddedSize: t.PaddedSize, CARSize: t.CARSize, Root: t.Root,
		Provider: d.Provider, Client: d.Client, StartEpoch: start, EndEpoch: start + policy.DurationEpochs,
		PricePerEpoch: perEpoch(price, t.PaddedSize), ProviderCollateral: collateral(bounds.Min, bounds.Max), Verified: policy.Verified,
		URL: from.url, Headers: from.headers,
	}, nil, nil
}

// perEpoch is the price of a whole piece, rounded up as providers expect.
func perEpoch(perGiB big.Int, padded int64) big.Int {
	const gib = 1 << 30
	return big.Div(big.Add(big.Mul(perGiB, big.NewInt(padded)), big.NewInt(gib-1)), big.NewInt(gib))
}

// collateral is a fifth above the least, so that the deal still passes when
// the least has risen until it is published.
func collateral(least, most big.Int) big.Int {
	c := big.Div(big.Mul(least, big.NewInt(6)), big.NewInt(5))
	if most.Sign() > 0 && c.GreaterThan(most) {
		return most
	}
	return c
}

// escrow returns the money of a wallet that no deal on chain binds. It is not
// asked for where nothing is needed.
func (s *Service) escrow(ctx context.Context, client string, cost big.Int) (big.Int, error) {
	if cost.Sign() == 0 {
		return big.Zero(), nil
	}
	addr, err := wallet.ParseAddress(client)
	if err != nil {
		return big.Zero(), err
	}
	balance, err := s.chain.MarketBalance(ctx, addr)
	if err != nil {
		return big.Zero(), err
	}
	return big.Sub(balance.Escrow, balance.Locked), nil
}

// stop pauses a policy for a reason, and ends the deal that met it.
func (s *Service) stop(ctx context.Context, policy Policy, reason string) (*ending, error) {
	if policy.State == PolicyActive {
		_, err := s.switchPolicy(ctx, policy.Project, policy.ID, PolicyPaused, reason)
		if err != nil && !fault.Is(err, fault.Conflict) {
			return nil, err
		}
	}
	return &ending{state: Failed, source: FromUs, reason: "the policy was paused: " + reason}, nil
}

// send offers a deal whose proposal is kept.
func (s *Service) send(ctx context.Context, d Deal, p provider.Provider) error {
	request, err := s.openRequest(d)
	if err != nil {
		return s.end(ctx, d, ending{state: Failed, source: FromUs, reason: "the signed proposal " + err.Error()})
	}
	answer, err := s.market.Propose(ctx, p, request)
	switch {
	case err != nil && ctx.Err() != nil:
		return err // this process ends; the next one asks what became of it
	case errors.Is(err, ErrUnanswered):
		s.log.WarnContext(ctx, "proposal not answered", "deal", d.UUID, "provider", d.Provider, "err", err)
		return job.Later(s.settings.Interval)
	case err != nil:
		return s.end(ctx, d, ending{state: Failed, source: FromUs, reason: "could not be reached: " + err.Error(), blame: true, waiting: true})
	case answer.Accepted:
		return s.accepted(ctx, d, "")
	case sentBefore(answer.Message, d.UUID):
		return s.accepted(ctx, d, "the provider has it already")
	}
	return s.end(ctx, d, ending{state: Rejected, source: FromProvider, reason: answer.Message, blame: true, waiting: true})
}

// sentBefore reports whether a refusal says, in Boost's words, that this very
// deal is there already. Being identical to another deal of ours is a refusal.
func sentBefore(message, deal string) bool {
	return strings.Contains(message, "deal proposal is identical to deal "+deal) ||
		strings.Contains(message, "deal has the same uuid as deal "+deal)
}

// resume finds out what became of a proposal that may have been sent, before
// the same bytes are sent again.
func (s *Service) resume(ctx context.Context, d Deal) error {
	p, err := s.providers.Get(ctx, d.Provider)
	if fault.Is(err, fault.NotFound) {
		return s.end(ctx, d, ending{state: Failed, source: FromUs, reason: "the provider was taken out of the index"})
	}
	if err != nil {
		return err
	}
	if head, err := s.chain.Head(ctx); err == nil && int64(head.Height) > d.StartEpoch {
		return s.end(ctx, d, ending{state: ProposalExpired, source: FromClock, blame: true, waiting: true,
			reason: fmt.Sprintf("not answered before its start epoch %d", d.StartEpoch)})
	}
	report, err := s.market.Status(ctx, p, d.UUID, d.Client)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil && s.now().Sub(d.progressAt) >= s.settings.Silence:
		return s.end(ctx, d, ending{state: Failed, source: FromClock, blame: true, waiting: true,
			reason: fmt.Sprintf("sent, and not answered for %s: %v", s.settings.Silence, err)})
	case err != nil:
		return job.Later(s.settings.Interval)
	case report.Unknown || report.Refusal != "":
		return s.send(ctx, d, p)
	case report.Error != "":
		return s.end(ctx, d, ending{state: Failed, source: FromProvider, reason: report.Error, proof: report, blame: true, waiting: true})
	}
	return s.accepted(ctx, d, "the answer was lost; the provider has it")
}

// accepted has the tracker follow a deal.
func (s *Service) accepted(ctx context.Context, d Deal, reason string) error {
	now := s.now()
	d.progressAt, d.NextCheck = now, &now
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		return s.move(ctx, tx, &d, Proposed, Observation{Source: FromProvider, Reason: reason})
	})
}

// amount reads attoFIL; what is no number counts as nothing.
func amount(s string) big.Int {
	n, err := big.FromString(s)
	if err != nil {
		return big.Zero()
	}
	return n
}
