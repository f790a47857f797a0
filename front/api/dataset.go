package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
)

// DatasetRef names a dataset in a path.
type DatasetRef struct {
	Ref string `path:"ref" doc:"id or name"`
}

type newDataset struct{ Body client.NewDataset }

type newSource struct {
	DatasetRef
	Body client.NewSource
}

type datasetRemoval struct {
	DatasetRef
	CARs bool `query:"cars" doc:"also delete the CARs that were written; needs the scope admin"`
}

type preparationList struct {
	DatasetRef
	Paging
}

// sizeSchema is how the document describes client.Size.
type sizeSchema struct{}

// Schema implements huma.SchemaProvider.
func (sizeSchema) Schema(huma.Registry) *huma.Schema {
	zero := 0.0
	return &huma.Schema{Description: "bytes, or text such as 32GiB", OneOf: []*huma.Schema{
		{Type: huma.TypeInteger, Format: "int64", Minimum: &zero}, {Type: huma.TypeString, MaxLength: &sizeLength},
	}}
}

// sizeLength bounds a size that is text.
var sizeLength = 40

func (d *door) datasetRoutes() {
	d.api.OpenAPI().Components.Schemas.RegisterTypeAlias(reflect.TypeFor[client.Size](), reflect.TypeFor[sizeSchema]())
	add(d, route{
		id: "listDatasets", method: http.MethodGet, path: "/v1/datasets", tag: "dataset", scope: account.ReadContent,
		summary: "List datasets", detail: "Newest first, each with the status of its latest preparation.",
	}, d.listDatasets)
	add(d, route{
		id: "createDataset", method: http.MethodPost, path: "/v1/datasets", tag: "dataset", scope: account.WriteContent, status: http.StatusCreated,
		summary: "Name sources to onboard in place",
		detail: "Nothing is copied: pieces are read from the sources when they are served, and files that have changed by then are not. " +
			"What uses the node's own files, credentials or network (a local path, `out`, a server that is not public) needs the scope `admin`.",
	}, d.createDataset)
	add(d, route{
		id: "getDataset", method: http.MethodGet, path: "/v1/datasets/{ref}", tag: "dataset", scope: account.ReadContent,
		summary: "Show a dataset", detail: "With the status of its latest preparation.",
	}, func(ctx context.Context, g account.Grant, in *DatasetRef) (*body[client.Dataset], error) {
		set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
		return d.dataset(ctx, set, err)
	})
	add(d, route{
		id: "removeDataset", method: http.MethodDelete, path: "/v1/datasets/{ref}", tag: "dataset", scope: account.WriteContent,
		summary: "Give a dataset up", detail: "Its preparations end. Pieces stay: deals may be about them.",
	}, func(ctx context.Context, g account.Grant, in *datasetRemoval) (*none, error) {
		if in.CARs && !g.Allows(account.Admin) {
			return nil, needsAdmin("cars", "files of the node")
		}
		set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
		if err != nil {
			return nil, err
		}
		return &none{}, d.Datasets.RemoveDataset(ctx, g.Project, set.ID, in.CARs)
	})
	add(d, route{
		id: "addSource", method: http.MethodPost, path: "/v1/datasets/{ref}/sources", tag: "dataset", scope: account.WriteContent,
		summary: "Add a source, or give one new options", detail: "Holds from the next preparation on; new options of a source hold at once.",
	}, d.addSource)
	d.datasetNameRoutes()
	d.preparationRoutes()
	d.chunkRoutes()
}

func (d *door) preparationRoutes() {
	add(d, route{
		id: "listPreparations", method: http.MethodGet, path: "/v1/datasets/{ref}/preparations", tag: "dataset", scope: account.ReadContent,
		summary: "List the preparations of a dataset", detail: "Newest first.",
	}, func(ctx context.Context, g account.Grant, in *preparationList) (*page[client.Preparation], error) {
		set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
		if err != nil {
			return nil, err
		}
		rows, err := d.Datasets.Preparations(ctx, g.Project, dataset.Filter{Dataset: set.ID, Before: in.Before, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		all := make([]client.Preparation, len(rows))
		for i, p := range rows {
			if all[i], err = d.preparation(ctx, p); err != nil {
				return nil, err
			}
		}
		return pageOf(all, in.Limit, same, func(p client.Preparation) int64 { return p.ID }), nil
	})
	type verb func(ctx context.Context, project, id int64) (dataset.Preparation, error)
	for _, v := range []struct {
		id, path, summary, detail string
		do                        verb
		only                      dataset.State // the state it is for, "" is any
	}{
		{"startDataset", "start", "Begin a preparation", "Takes over what is unchanged since the one before. While one is not over, another is a conflict.", d.Datasets.Start, ""},
		{"pauseDataset", "pause", "Have the preparation rest", "What runs stops at its next step, and is kept.", d.Datasets.Pause, ""},
		{"resumeDataset", "resume", "Have the preparation go on", "A paused or failed one goes on where it was.", d.Datasets.Resume, ""},
		{"retryDataset", "retry", "Try again what failed", "At once, as if for the first time. Of a preparation that has not failed it is a conflict.", d.Datasets.Resume, dataset.Failed},
	} {
		add(d, route{
			id: v.id, method: http.MethodPost, path: "/v1/datasets/{ref}/" + v.path, tag: "dataset", scope: account.WriteContent,
			summary: v.summary, detail: v.detail,
		}, func(ctx context.Context, g account.Grant, in *DatasetRef) (*body[client.Dataset], error) {
			set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
			if err != nil {
				return nil, err
			}
			on := set.ID
			if v.id != "startDataset" {
				p, err := d.latest(ctx, set)
				if err != nil {
					return nil, err
				}
				if v.only != "" && p.State != v.only {
					return nil, fault.New(fault.Conflict, "dataset %q: its preparation is %s, nothing failed", set.Name, p.State)
				}
				on = p.ID
			}
			_, err = v.do(ctx, g.Project, on)
			return d.dataset(ctx, set, err)
		})
	}
}

func (d *door) listDatasets(ctx context.Context, g account.Grant, in *Paging) (*page[client.Dataset], error) {
	rows, err := d.Datasets.List(ctx, g.Project, dataset.Filter{Before: in.Before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	all := make([]client.Dataset, len(rows))
	for i, set := range rows {
		one, err := d.dataset(ctx, set, nil)
		if err != nil {
			return nil, err
		}
		all[i] = one.Body
	}
	return pageOf(all, in.Limit, same, func(s client.Dataset) int64 { return s.ID }), nil
}

func (d *door) createDataset(ctx context.Context, g account.Grant, in *newDataset) (*body[client.Dataset], error) {
	b := in.Body
	if b.Out != "" && !g.Allows(account.Admin) {
		return nil, needsAdmin("out", "a path of the node")
	}
	sources := make([]dataset.NewSource, len(b.Sources))
	for i, s := range b.Sources {
		var err error
		if sources[i], err = admitSource(ctx, g, s); err != nil {
			return nil, err
		}
	}
	set, err := d.Datasets.Create(ctx, g.Project, b.Name, dataset.Rules{
		PieceSize: int64(b.PieceSize), ChunkMin: int64(b.MinSize), ChunkMax: int64(b.MaxSize), Include: b.Include, Exclude: b.Exclude,
		NoHidden: b.Hidden != nil && !*b.Hidden, NoDedup: b.Dedup != nil && !*b.Dedup, Export: b.Out,
	}, sources...)
	if err == nil && b.Start {
		_, err = d.Datasets.Start(ctx, g.Project, set.ID)
	}
	return d.dataset(ctx, set, err)
}

func (d *door) addSource(ctx context.Context, g account.Grant, in *newSource) (*body[client.Dataset], error) {
	set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
	if err != nil {
		return nil, err
	}
	s, err := admitSource(ctx, g, in.Body)
	if err != nil {
		return nil, err
	}
	_, err = d.Datasets.AddSource(ctx, g.Project, set.ID, s)
	return d.dataset(ctx, set, err)
}

// admitSource refuses a source that the token may not have the node read.
func admitSource(ctx context.Context, g account.Grant, s client.NewSource) (dataset.NewSource, error) {
	spec := source.Spec{URL: s.URL, Options: s.Options}
	if path, ok := spec.Local(); ok && (path == "" || path[0] != '/') {
		return dataset.NewSource{}, fault.New(fault.Invalid, "source %q: give the absolute path on the node, or %s", s.URL, "s3:bucket/prefix, https://… and the like")
	}
	if !g.Allows(account.Admin) {
		what, err := spec.Private(ctx)
		if err != nil {
			return dataset.NewSource{}, err
		}
		if what != "" {
			return dataset.NewSource{}, needsAdmin("source "+spec.String(), what)
		}
	}
	return dataset.NewSource{URL: s.URL, Options: s.Options, At: s.At}, nil
}

func needsAdmin(what, uses string) error {
	return fault.New(fault.Forbidden, "%s: uses %s, which needs a token with the scope %q", what, uses, account.Admin)
}

// latest is the preparation that the verbs of a dataset are about.
func (d *door) latest(ctx context.Context, set dataset.Dataset) (dataset.Preparation, error) {
	rows, err := d.Datasets.Preparations(ctx, set.Project, dataset.Filter{Dataset: set.ID, Limit: 1})
	if err == nil && len(rows) == 0 {
		err = fault.New(fault.Conflict, "dataset %q: was not started yet", set.Name)
	}
	if err != nil {
		return dataset.Preparation{}, err
	}
	return rows[0], nil
}

// dataset is a dataset on the wire, as it is now.
func (d *door) dataset(ctx context.Context, set dataset.Dataset, err error) (*body[client.Dataset], error) {
	if err != nil {
		return nil, err
	}
	sources, err := d.Datasets.Sources(ctx, set.Project, set.ID)
	if err != nil {
		return nil, err
	}
	r := set.Rules
	out := client.Dataset{
		ID: set.ID, Name: set.Name, Sources: []client.Source{}, PieceSize: client.Size(r.PieceSize), MinSize: client.Size(r.ChunkMin),
		MaxSize: client.Size(r.ChunkMax), Include: list(r.Include), Exclude: list(r.Exclude), Hidden: !r.NoHidden, Dedup: !r.NoDedup, Out: r.Export,
		Revision: set.Revision, CreatedAt: set.CreatedAt, UpdatedAt: set.UpdatedAt,
	}
	if out.Published, err = d.nameOf(ctx, set); err != nil {
		return nil, err
	}
	for _, s := range sources {
		out.Sources = append(out.Sources, client.Source{ID: s.ID, URL: source.Spec{URL: s.URL}.String(), At: s.At})
	}
	rows, err := d.Datasets.Preparations(ctx, set.Project, dataset.Filter{Dataset: set.ID, Limit: 1})
	if err != nil || len(rows) == 0 {
		return &body[client.Dataset]{out}, err
	}
	p, err := d.preparation(ctx, rows[0])
	out.Preparation = &p
	return &body[client.Dataset]{out}, err
}

// preparation is a preparation on the wire, with its status.
func (d *door) preparation(ctx context.Context, p dataset.Preparation) (client.Preparation, error) {
	st, err := d.Datasets.Status(ctx, p.Project, p.ID)
	if err != nil {
		return client.Preparation{}, err
	}
	p = st.Preparation
	out := client.Preparation{
		ID: p.ID, Dataset: p.Dataset, Ordinal: p.Ordinal, State: string(p.State), Stage: string(p.Stage), Reason: p.Reason,
		NextAttempt: p.NextAttempt, Files: p.Files, Bytes: p.Bytes, Carried: p.Carried, Skipped: p.Skipped,
		Total: client.Count(st.Total), Done: client.Count(st.Done), Chunks: map[string]client.Count{},
		Rate: st.BytesPerSec, Remaining: int64(st.Remaining.Seconds()), Root: p.Root, Index: p.IndexRoot, IndexPiece: p.IndexPiece,
		StartedAt: p.StartedAt, FinishedAt: p.FinishedAt, UpdatedAt: p.UpdatedAt,
	}
	for _, state := range dataset.ChunkStates() {
		out.Chunks[string(state)] = client.Count(st.Chunks[state])
	}
	if p.IndexRoot != "" {
		out.IPFS, out.DNSLink = "/ipfs/"+p.IndexRoot, "dnslink=/ipfs/"+p.IndexRoot
	}
	return out, nil
}

// text is a number in a cursor.
func text(n int64) string { return strconv.FormatInt(n, 10) }
