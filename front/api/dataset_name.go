package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
)

type datasetChange struct {
	DatasetRef
	Body client.DatasetChange
}

func (d *door) datasetNameRoutes() {
	add(d, route{
		id: "updateDataset", method: http.MethodPatch, path: "/v1/datasets/{ref}", tag: "dataset", scope: account.WriteContent,
		summary: "Change the rules of a dataset",
		detail: "For preparations that begin afterwards; one that runs keeps the rules it began with. What is left out stays. With `revision`, " +
			"rules that somebody else has changed meanwhile are a conflict.",
	}, d.updateDataset)
	type verb func(ctx context.Context, project, id int64) (dataset.Name, error)
	for _, v := range []struct {
		id, method, path, summary, detail string
		scope                             account.Scope
		do                                verb
	}{
		{"getDatasetName", http.MethodGet, "ipns", "Show the IPNS name of a dataset", "With its signed record and what each delegated router has of it.", account.ReadContent, d.Datasets.Name},
		{"publishDataset", http.MethodPost, "publish", "Give a dataset an IPNS name",
			"The name leads to the index of the latest complete preparation, whichever that is; its record is signed again daily, served by the " +
				"gateway to everyone, and given to the routers of `ipns.routers`. Doing it again gives routers another try.", account.WriteContent, d.Datasets.Publish},
		{"unpublishDataset", http.MethodPost, "unpublish", "Sign no more records of a name",
			"Routers keep the last one until it expires. The name stays the dataset's, for another time.", account.WriteContent, d.Datasets.Unpublish},
	} {
		add(d, route{
			id: v.id, method: v.method, path: "/v1/datasets/{ref}/" + v.path, tag: "dataset", scope: v.scope, summary: v.summary, detail: v.detail,
		}, func(ctx context.Context, g account.Grant, in *DatasetRef) (*body[client.DatasetName], error) {
			set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
			if err != nil {
				return nil, err
			}
			n, err := v.do(ctx, g.Project, set.ID)
			if err != nil {
				return nil, err
			}
			return &body[client.DatasetName]{datasetName(n)}, nil
		})
	}
}

func (d *door) updateDataset(ctx context.Context, g account.Grant, in *datasetChange) (*body[client.Dataset], error) {
	b := in.Body
	if b.Out != nil && *b.Out != "" && !g.Allows(account.Admin) {
		return nil, needsAdmin("out", "a path of the node")
	}
	set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
	if err != nil {
		return nil, err
	}
	set, err = d.Datasets.ChangeRules(ctx, g.Project, set.ID, b.Revision, func(r dataset.Rules) dataset.Rules {
		assign(&r.PieceSize, (*int64)(b.PieceSize))
		assign(&r.ChunkMin, (*int64)(b.MinSize))
		assign(&r.ChunkMax, (*int64)(b.MaxSize))
		assign(&r.Include, b.Include)
		assign(&r.Exclude, b.Exclude)
		assign(&r.Export, b.Out)
		if b.Hidden != nil {
			r.NoHidden = !*b.Hidden
		}
		if b.Dedup != nil {
			r.NoDedup = !*b.Dedup
		}
		return r
	})
	return d.dataset(ctx, set, err)
}

// assign sets what was given.
func assign[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// nameOf is the name of a dataset on the wire, without its record; nil if it was
// never published.
func (d *door) nameOf(ctx context.Context, set dataset.Dataset) (*client.DatasetName, error) {
	n, err := d.Datasets.Name(ctx, set.Project, set.ID)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := datasetName(n)
	out.Record = nil
	return &out, nil
}

// datasetName is a name on the wire.
func datasetName(n dataset.Name) client.DatasetName {
	out := client.DatasetName{
		Name: n.Name, State: "withdrawn", IPNS: "/ipns/" + n.Name, DNSLink: "dnslink=/ipns/" + n.Name, Preparation: n.Preparation, Index: n.Index,
		Sequence: n.Sequence, TTL: int64(dataset.NameCache.Seconds()), SignedAt: n.SignedAt, RenewAt: n.RenewAt, ExpiresAt: n.ExpiresAt,
		Routers: []client.RecordDelivery{}, Record: n.Record,
	}
	if n.Published {
		out.State = "published"
	}
	for _, r := range n.Deliveries {
		state := "waiting"
		switch {
		case r.Sequence > 0 && r.Sequence == n.Sequence:
			state = "delivered"
		case r.Reason != "" && r.NextAttempt == nil:
			state = "refused"
		}
		out.Routers = append(out.Routers, client.RecordDelivery{
			Router: r.Router, State: state, Sequence: r.Sequence, Reason: r.Reason, NextAttempt: r.NextAttempt, DeliveredAt: r.DeliveredAt,
		})
	}
	return out
}
