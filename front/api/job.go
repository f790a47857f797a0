package api

import (
	"context"
	"net/http"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/node"
)

type jobList struct {
	Paging
	State string `query:"state" enum:"waiting,running,retrying,done,dead"`
	Kind  string `query:"kind" doc:"exact, such as piece.pack"`
}

func (d *door) jobRoutes() {
	add(d, route{
		id: "listJobs", method: http.MethodGet, path: "/v1/jobs", tag: "operation", scope: account.Admin,
		summary: "List jobs", detail: "Newest first.",
	}, func(ctx context.Context, _ account.Grant, in *jobList) (*page[client.Job], error) {
		rows, err := d.Jobs.List(ctx, job.Filter{State: job.State(in.State), Kind: in.Kind, Before: in.Before, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		return pageOf(rows, in.Limit, jobOf, func(j job.Job) int64 { return j.ID }), nil
	})
	add(d, route{
		id: "getJob", method: http.MethodGet, path: "/v1/jobs/{id}", tag: "operation", scope: account.Admin, summary: "Show a job",
	}, func(ctx context.Context, _ account.Grant, in *byID) (*body[client.Job], error) {
		return d.job(ctx, in.ID)
	})
	add(d, route{
		id: "retryJob", method: http.MethodPost, path: "/v1/jobs/{id}/retry", tag: "operation", scope: account.Admin,
		summary: "Let a job run again now", detail: "A dead one starts over; a waiting one just does not wait.",
	}, func(ctx context.Context, _ account.Grant, in *byID) (*body[client.Job], error) {
		if err := d.Jobs.Retry(ctx, in.ID); err != nil {
			return nil, err
		}
		return d.job(ctx, in.ID)
	})
	add(d, route{
		id: "cancelJob", method: http.MethodPost, path: "/v1/jobs/{id}/cancel", tag: "operation", scope: account.Admin,
		summary: "End a job", detail: "A running one is told to stop and is dead when it has.",
	}, func(ctx context.Context, _ account.Grant, in *byID) (*body[client.Job], error) {
		if err := d.Jobs.Cancel(ctx, in.ID); err != nil {
			return nil, err
		}
		return d.job(ctx, in.ID)
	})
}

func (d *door) job(ctx context.Context, id int64) (*body[client.Job], error) {
	j, err := d.Jobs.Get(ctx, id)
	return &body[client.Job]{jobOf(j)}, err
}

func jobOf(j job.Job) client.Job {
	out := client.Job{
		ID: j.ID, Kind: j.Kind, Queue: string(j.Queue), State: string(j.State), Attempt: j.Attempt, MaxAttempts: j.MaxAttempts,
		Args: j.Args, Error: j.Error, Panicked: j.Panicked, CreatedAt: j.CreatedAt, FinalizedAt: instant(j.FinalizedAt),
	}
	if j.State == job.Waiting || j.State == job.Retrying {
		out.NextAttempt = instant(j.NextAttempt)
	}
	return out
}

// instant is a time that may be absent.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (d *door) nodeRoutes() {
	add(d, route{
		id: "listNodes", method: http.MethodGet, path: "/v1/nodes", tag: "operation", scope: account.Admin,
		summary: "List the running processes", detail: "Oldest first.",
	}, func(ctx context.Context, _ account.Grant, _ *empty) (*page[client.Node], error) {
		nodes, err := d.Nodes.List(ctx)
		if err != nil {
			return nil, err
		}
		return whole(nodes, nodeOf), nil
	})
	add(d, route{
		id: "health", method: http.MethodGet, path: "/v1/health", tag: "operation",
		summary: "Does the node serve?", detail: "Needs no token. 503 when its database does not answer.",
	}, func(ctx context.Context, _ account.Grant, _ *empty) (*body[client.Health], error) {
		if _, err := d.Events.Head(ctx); err != nil {
			return nil, fault.New(fault.Unavailable, "the database does not answer")
		}
		return &body[client.Health]{client.Health{Status: "ok", Version: d.Version}}, nil
	})
}

func nodeOf(n node.Node) client.Node {
	return client.Node{
		ID: n.ID, Roles: list(n.Roles), Version: n.Version, Address: n.Address, StartedAt: n.StartedAt, SeenAt: n.SeenAt,
	}
}
