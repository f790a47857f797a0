package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/provider"
)

type providerList struct {
	Paging
	State string `query:"state" enum:"new,online,offline"`
}

type newProvider struct{ Body client.NewProvider }

type byActor struct {
	Actor string `path:"actor" doc:"id address, such as f01000"`
}

type observationList struct {
	Actor string `path:"actor" doc:"id address, such as f01000"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

func (d *door) providerRoutes() {
	add(d, route{
		id: "listProviders", method: http.MethodGet, path: "/v1/providers", tag: "provider", scope: account.ReadDeal,
		summary: "List the provider index", detail: "Newest first. The index is shared by all projects.",
	}, func(ctx context.Context, _ account.Grant, in *providerList) (*page[client.Provider], error) {
		rows, err := d.Providers.List(ctx, provider.Filter{State: provider.State(in.State), Before: in.Before, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		return pageOf(rows, in.Limit, providerOf, func(p provider.Provider) int64 { return p.ID }), nil
	})
	add(d, route{
		id: "addProvider", method: http.MethodPost, path: "/v1/providers", tag: "provider", scope: account.Admin, status: http.StatusCreated,
		summary: "Take a provider into the index", detail: "It is looked up at once: on chain, then at its own addresses.",
	}, func(ctx context.Context, _ account.Grant, in *newProvider) (*body[client.Provider], error) {
		p, err := d.Providers.Add(ctx, in.Body.Actor)
		return &body[client.Provider]{providerOf(p)}, err
	})
	d.oneProviderRoutes()
}

func (d *door) oneProviderRoutes() {
	add(d, route{
		id: "getProvider", method: http.MethodGet, path: "/v1/providers/{actor}", tag: "provider", scope: account.ReadDeal,
		summary: "Show a provider",
	}, func(ctx context.Context, _ account.Grant, in *byActor) (*body[client.Provider], error) {
		p, err := d.Providers.Get(ctx, in.Actor)
		return &body[client.Provider]{providerOf(p)}, err
	})
	add(d, route{
		id: "removeProvider", method: http.MethodDelete, path: "/v1/providers/{actor}", tag: "provider", scope: account.Admin,
		summary: "Take a provider out of the index", detail: "Deals with it stay what they are.",
	}, func(ctx context.Context, _ account.Grant, in *byActor) (*none, error) {
		return &none{}, d.Providers.Remove(ctx, in.Actor)
	})
	add(d, route{
		id: "refreshProvider", method: http.MethodPost, path: "/v1/providers/{actor}/refresh", tag: "provider", scope: account.Admin,
		summary: "Look a provider up again",
	}, func(ctx context.Context, _ account.Grant, in *byActor) (*body[client.Provider], error) {
		p, err := d.Providers.Refresh(ctx, in.Actor)
		return &body[client.Provider]{providerOf(p)}, err
	})
	add(d, route{
		id: "listProviderObservations", method: http.MethodGet, path: "/v1/providers/{actor}/observations", tag: "provider", scope: account.ReadDeal,
		summary: "List what was seen of a provider", detail: "The newest, newest first.",
	}, func(ctx context.Context, _ account.Grant, in *observationList) (*page[client.ProviderObservation], error) {
		rows, err := d.Providers.Observations(ctx, in.Actor, in.Limit)
		if err != nil {
			return nil, err
		}
		return whole(rows, observationOf), nil
	})
}

func providerOf(p provider.Provider) client.Provider {
	return client.Provider{
		ID: p.ID, Actor: p.Actor, PeerID: p.PeerID, Multiaddrs: list(p.Multiaddrs), HTTP: p.HTTP, Owner: p.Owner,
		SectorSize: p.SectorSize, MinPieceSize: p.MinPiece, MaxPieceSize: p.MaxPiece, Price: p.Price, VerifiedPrice: p.VerifiedPrice,
		State: string(p.State), Reason: p.Reason, CheckedAt: p.CheckedAt, CreatedAt: p.CreatedAt,
	}
}

func observationOf(o provider.Observation) client.ProviderObservation {
	return client.ProviderObservation{
		Kind: o.Kind, OK: o.OK, Code: o.Code, Reason: o.Reason, Bytes: o.Bytes,
		TTFBms: o.TTFB.Milliseconds(), TookMs: o.Took.Milliseconds(), At: o.At,
	}
}

// list is a list that is never null on the wire.
func list[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}
