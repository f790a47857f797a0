package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/deal"
)

type dealList struct {
	Paging
	State    string `query:"state" enum:"draft,sending,proposed,transferring,published,active,slashed,terminated,expired,rejected,proposal_expired,failed"`
	Piece    int64  `query:"piece" doc:"id"`
	Provider string `query:"provider" doc:"f0…"`
	Policy   int64  `query:"policy" doc:"id"`
}

type dealName struct {
	UUID string `path:"uuid"`
}

type dealRef struct {
	Ref string `path:"uuid" doc:"UUID, or CID of the signed proposal"`
}

func (d *door) dealRoutes() {
	add(d, route{
		id: "listDeals", method: http.MethodGet, path: "/v1/deals", tag: "deal", scope: account.ReadDeal,
		summary: "List deals", detail: "Newest first.",
	}, func(ctx context.Context, g account.Grant, in *dealList) (*page[client.Deal], error) {
		rows, err := d.Deals.Deals(ctx, g.Project, deal.Filter{
			State: deal.State(in.State), Piece: in.Piece, Provider: in.Provider, Policy: in.Policy, Before: in.Before, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		return pageOf(rows, in.Limit, dealOf, func(d deal.Deal) int64 { return d.ID }), nil
	})
	add(d, route{
		id: "getDeal", method: http.MethodGet, path: "/v1/deals/{uuid}", tag: "deal", scope: account.ReadDeal,
		summary: "Show a deal with its history",
	}, func(ctx context.Context, g account.Grant, in *dealName) (*body[client.DealDetail], error) {
		one, seen, err := d.Deals.Get(ctx, g.Project, in.UUID)
		out := client.DealDetail{Deal: dealOf(one), Observations: make([]client.DealObservation, len(seen))}
		for i, o := range seen {
			out.Observations[i] = client.DealObservation{
				At: o.At, Source: string(o.Source), From: string(o.From), To: string(o.To), Reason: o.Reason, Evidence: o.Evidence,
			}
		}
		return &body[client.DealDetail]{out}, err
	})
	add(d, route{
		id: "getDealLiveness", method: http.MethodGet, path: "/v1/deals/{uuid}/liveness", tag: "deal", scope: account.ReadDeal,
		summary: "Is a deal still wanted?", detail: "For providers: they know a deal by its UUID or proposal, not by its project.",
	}, func(ctx context.Context, _ account.Grant, in *dealRef) (*body[client.Liveness], error) {
		wanted, state, err := d.Deals.Liveness(ctx, in.Ref)
		return &body[client.Liveness]{client.Liveness{Wanted: wanted, State: string(state)}}, err
	})
}

func dealOf(d deal.Deal) client.Deal {
	return client.Deal{
		ID: d.ID, UUID: d.UUID, Policy: d.Policy, Piece: d.Piece, PieceCID: d.PieceCID, Provider: d.Provider, Market: d.Market,
		Client: d.Client, State: string(d.State), Reason: d.Reason, ProposalCID: d.ProposalCID, PublishCID: d.PublishCID,
		DealID: d.DealID, StartEpoch: d.StartEpoch, EndEpoch: d.EndEpoch, Price: d.Price,
		URL: d.URL, Outside: d.Outside, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}
}
