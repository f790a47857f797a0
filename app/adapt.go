package app

import (
	"context"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/provider"
	"github.com/firth-project/firth/flow/retrieval"
)

// What retrieval asks of its neighbours, in their words: retrieval does not
// know the provider index, and asks deals one question.

// holders tells who holds a piece.
type holders struct{ deals *deal.Service }

// Holders returns the providers with an active deal about a piece.
func (h holders) Holders(ctx context.Context, project, piece int64) ([]string, error) {
	var actors []string
	f := deal.Filter{Piece: piece, State: deal.Active, Limit: 1000}
	for {
		page, err := h.deals.Deals(ctx, project, f)
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			actors = append(actors, d.Provider)
			f.Before = d.ID
		}
		if len(page) < f.Limit {
			return actors, nil
		}
	}
}

// endpoints tells where a provider is, and keeps how it did.
type endpoints struct{ providers *provider.Service }

// Endpoint returns the base URL of a provider's retrievals.
func (e endpoints) Endpoint(ctx context.Context, actor string) (string, error) {
	p, err := e.providers.Get(ctx, actor)
	return p.HTTP, err
}

// Observe keeps the outcome of a retrieval among what is known of a provider.
func (e endpoints) Observe(ctx context.Context, tx *db.Tx, actor string, o retrieval.Outcome) error {
	p, err := e.providers.Get(ctx, actor)
	if err != nil {
		return err
	}
	return e.providers.Observe(ctx, tx, provider.Observation{
		Provider: p.ID, Kind: "retrieval", OK: o.OK, Code: o.Code, Reason: o.Reason, Bytes: o.Bytes, TTFB: o.TTFB, Took: o.Took, At: o.At,
	})
}
