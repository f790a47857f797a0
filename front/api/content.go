package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
)

type contentList struct {
	Paging
	State  string `query:"state" enum:"receiving,fetching,stored,packed,stored_on_filecoin,failed,removed"`
	CID    string `query:"cid" doc:"root CID, any spelling"`
	Name   string `query:"name" doc:"exact"`
	Bucket int64  `query:"bucket"`
}

type contentRef struct {
	Ref string `path:"ref" doc:"id or root CID; of several with one CID the newest"`
}

func (d *door) contentRoutes() {
	add(d, route{
		id: "listContents", method: http.MethodGet, path: "/v1/contents", tag: "content", scope: account.ReadContent,
		summary: "List contents", detail: "Newest first. Removed ones are listed only when asked for by state.",
	}, func(ctx context.Context, g account.Grant, in *contentList) (*page[client.Content], error) {
		rows, err := d.Contents.List(ctx, g.Project, content.Filter{
			State: content.State(in.State), CID: in.CID, Name: in.Name, Bucket: in.Bucket, Before: in.Before, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		count := d.counter()
		all := make([]client.Content, len(rows))
		for i, c := range rows {
			if all[i], err = d.content(ctx, count, c); err != nil {
				return nil, err
			}
		}
		return pageOf(all, in.Limit, same, func(c client.Content) int64 { return c.ID }), nil
	})
	add(d, route{
		id: "getContent", method: http.MethodGet, path: "/v1/contents/{ref}", tag: "content", scope: account.ReadContent,
		summary: "Show a content",
	}, func(ctx context.Context, g account.Grant, in *contentRef) (*body[client.Content], error) {
		c, err := d.Contents.Get(ctx, g.Project, in.Ref)
		if err != nil {
			return nil, err
		}
		out, err := d.content(ctx, d.counter(), c)
		return &body[client.Content]{out}, err
	})
	add(d, route{
		id: "removeContent", method: http.MethodDelete, path: "/v1/contents/{ref}", tag: "content", scope: account.WriteContent,
		summary: "Give a content up", detail: "Deals already made run to their end. Removing one that is still being received is a conflict.",
	}, func(ctx context.Context, g account.Grant, in *contentRef) (*none, error) {
		c, err := d.Contents.Get(ctx, g.Project, in.Ref)
		if err != nil {
			return nil, err
		}
		return &none{}, d.Contents.Remove(ctx, g.Project, c.ID)
	})
}

// content is a content on the wire.
func (d *door) content(ctx context.Context, count counter, c content.Content) (client.Content, error) {
	copies, err := count(ctx, c.Project, c.Bucket)
	return client.Content{
		ID: c.ID, Name: c.Name, CID: c.CID, Size: c.Size, Files: c.Files, Profile: c.Profile, State: string(c.State),
		Reason: c.Reason, Bucket: c.Bucket, Copies: copies, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}, err
}

// counter tells the copies of a bucket's contents.
type counter func(ctx context.Context, project, bucket int64) (client.Copies, error)

// counter makes one for a request: contents of a page share their buckets, so
// each bucket is asked about once.
func (d *door) counter() counter {
	known := map[int64]client.Copies{0: {}}
	return func(ctx context.Context, project, bucket int64) (client.Copies, error) {
		if c, ok := known[bucket]; ok {
			return c, nil
		}
		b, err := d.Contents.Bucket(ctx, project, bucket)
		if err != nil {
			return client.Copies{}, err
		}
		var c client.Copies
		if b.Plan != 0 {
			if c.Wanted, c.Active, err = d.Deals.Copies(ctx, b.Plan); err != nil {
				return c, err
			}
		}
		known[bucket] = c
		return c, nil
	}
}

func same[T any](v T) T { return v }
