package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/retrieval"
)

type retrievalList struct {
	Paging
	State    string `query:"state" enum:"running,ok,failed"`
	Provider string `query:"provider" doc:"f0…"`
	Root     string `query:"root" doc:"CID"`
}

func (d *door) retrievalRoutes() {
	add(d, route{
		id: "listRetrievals", method: http.MethodGet, path: "/v1/retrievals", tag: "retrieval", scope: account.ReadContent,
		summary: "List attempts to fetch from providers", detail: "Newest first. One download may take several attempts.",
	}, func(ctx context.Context, g account.Grant, in *retrievalList) (*page[client.Retrieval], error) {
		rows, err := d.Retrievals.List(ctx, g.Project, retrieval.Filter{
			State: retrieval.State(in.State), Provider: in.Provider, Root: in.Root, Before: in.Before, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		return pageOf(rows, in.Limit, retrievalOf, func(r retrieval.Retrieval) int64 { return r.ID }), nil
	})
}

func retrievalOf(r retrieval.Retrieval) client.Retrieval {
	return client.Retrieval{
		ID: r.ID, Root: r.Root, PieceCID: r.PieceCID, Provider: r.Provider, Method: string(r.Method), State: string(r.State),
		Reason: r.Reason, Bytes: r.Bytes, Blocks: r.Blocks, TTFBms: r.TTFB.Milliseconds(), TookMs: r.Took.Milliseconds(), At: r.At,
	}
}
