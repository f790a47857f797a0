package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/deal"
)

type policyList struct {
	Paging
	State string `query:"state" enum:"active,paused,removed"`
}

type newPolicy struct{ Body client.NewPolicy }

type policyChange struct {
	ID   int64 `path:"id" minimum:"1"`
	Body client.PolicyChange
}

func (d *door) policyRoutes() {
	add(d, route{
		id: "listPolicies", method: http.MethodGet, path: "/v1/policies", tag: "policy", scope: account.ReadDeal,
		summary: "List policies", detail: "Newest first. Removed ones are listed only when asked for by state.",
	}, d.listPolicies)
	add(d, route{
		id: "createPolicy", method: http.MethodPost, path: "/v1/policies", tag: "policy", scope: account.WriteDeal, status: http.StatusCreated,
		summary: "Declare a policy", detail: "The node acts on it at once. What is left out takes the node's default.",
	}, func(ctx context.Context, g account.Grant, in *newPolicy) (*body[client.Policy], error) {
		p, err := d.Deals.CreatePolicy(ctx, g.Project, deal.Policy{
			Name: in.Body.Name, Copies: in.Body.Copies, Pieces: in.Body.Pieces, Providers: in.Body.Providers, Wallet: in.Body.Wallet,
			MaxPrice: in.Body.MaxPrice, DurationEpochs: in.Body.DurationEpochs, StartDelayEpochs: in.Body.StartDelayEpochs,
			Verified: in.Body.Verified, DeleteCARAfter: in.Body.DeleteCARAfter,
			URLTemplate: in.Body.URLTemplate, HTTPHeaders: in.Body.HTTPHeaders,
		})
		return d.policy(ctx, p, err)
	})
	add(d, route{
		id: "getPolicy", method: http.MethodGet, path: "/v1/policies/{id}", tag: "policy", scope: account.ReadDeal,
		summary: "Show a policy with its status",
	}, func(ctx context.Context, g account.Grant, in *byID) (*body[client.Policy], error) {
		p, err := d.Deals.Policy(ctx, g.Project, in.ID)
		return d.policy(ctx, p, err)
	})
	add(d, route{
		id: "updatePolicy", method: http.MethodPatch, path: "/v1/policies/{id}", tag: "policy", scope: account.WriteDeal,
		summary: "Change a policy", detail: "What is left out stays. Deals already made stay as they are. " +
			"Where `url_template` or `http_headers` are given, providers that could not fetch a piece are asked again at once.",
	}, func(ctx context.Context, g account.Grant, in *policyChange) (*body[client.Policy], error) {
		p, err := d.Deals.UpdatePolicy(ctx, g.Project, in.ID, deal.Change(in.Body))
		return d.policy(ctx, p, err)
	})
	d.policyVerbs()
}

func (d *door) policyVerbs() {
	add(d, route{
		id: "removePolicy", method: http.MethodDelete, path: "/v1/policies/{id}", tag: "policy", scope: account.WriteDeal,
		summary: "Give a policy up", detail: "Its deals run to their end.",
	}, func(ctx context.Context, g account.Grant, in *byID) (*none, error) {
		return &none{}, d.Deals.RemovePolicy(ctx, g.Project, in.ID)
	})
	add(d, route{
		id: "pausePolicy", method: http.MethodPost, path: "/v1/policies/{id}/pause", tag: "policy", scope: account.WriteDeal,
		summary: "Stop new deals",
	}, func(ctx context.Context, g account.Grant, in *byID) (*body[client.Policy], error) {
		p, err := d.Deals.PausePolicy(ctx, g.Project, in.ID)
		return d.policy(ctx, p, err)
	})
	add(d, route{
		id: "resumePolicy", method: http.MethodPost, path: "/v1/policies/{id}/resume", tag: "policy", scope: account.WriteDeal,
		summary: "Let a paused policy act again",
	}, func(ctx context.Context, g account.Grant, in *byID) (*body[client.Policy], error) {
		p, err := d.Deals.ResumePolicy(ctx, g.Project, in.ID)
		return d.policy(ctx, p, err)
	})
	add(d, route{
		id: "dryRunPolicy", method: http.MethodGet, path: "/v1/policies/{id}/dry-run", tag: "policy", scope: account.ReadDeal,
		summary: "What would a policy do now, and why?", detail: "Nothing is done.",
	}, func(ctx context.Context, g account.Grant, in *byID) (*page[client.Step], error) {
		steps, err := d.Deals.DryRun(ctx, g.Project, in.ID)
		if err != nil {
			return nil, err
		}
		return whole(steps, stepOf), nil
	})
}

func (d *door) listPolicies(ctx context.Context, g account.Grant, in *policyList) (*page[client.Policy], error) {
	rows, err := d.Deals.Policies(ctx, g.Project, deal.PolicyFilter{State: deal.PolicyState(in.State), Before: in.Before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	all := make([]client.Policy, len(rows))
	for i, p := range rows {
		one, err := d.policy(ctx, p, nil)
		if err != nil {
			return nil, err
		}
		all[i] = one.Body
	}
	return pageOf(all, in.Limit, same, func(p client.Policy) int64 { return p.ID }), nil
}

// policy is a policy on the wire, with its status.
func (d *door) policy(ctx context.Context, p deal.Policy, err error) (*body[client.Policy], error) {
	if err != nil {
		return nil, err
	}
	status, err := d.Deals.PolicyStatus(ctx, p.Project, p.ID)
	if err != nil {
		return nil, err
	}
	return &body[client.Policy]{client.Policy{
		ID: p.ID, Name: p.Name, Copies: p.Copies, Pieces: list(p.Pieces), Providers: list(p.Providers), Wallet: p.Wallet,
		MaxPrice: p.MaxPrice, DurationEpochs: p.DurationEpochs, StartDelayEpochs: p.StartDelayEpochs, Verified: p.Verified, DeleteCARAfter: p.DeleteCARAfter,
		URLTemplate: p.URLTemplate, HTTPHeaders: p.HTTPHeaders, State: string(p.State), Reason: p.Reason, Status: client.PolicyStatus(status), CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}}, nil
}

func stepOf(s deal.Step) client.Step {
	return client.Step{Action: string(s.Action), Piece: s.Piece, PieceCID: s.PieceCID, Provider: s.Provider, Reason: s.Reason}
}
