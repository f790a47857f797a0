package client

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Job is one piece of durable work of the node.
type Job struct {
	ID          int64           `json:"id"`
	Kind        string          `json:"kind" doc:"such as piece.pack"`
	Queue       string          `json:"queue" enum:"light,net,hash"`
	State       string          `json:"state" enum:"waiting,running,retrying,done,dead"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"max_attempts"`
	Args        json.RawMessage `json:"args"`
	Error       string          `json:"error,omitempty" doc:"why the last attempt did not succeed"`
	Panicked    bool            `json:"panicked,omitempty"`
	NextAttempt *time.Time      `json:"next_attempt,omitempty"`
	CreatedAt   time.Time       `json:"created_at"`
	FinalizedAt *time.Time      `json:"finalized_at,omitempty"`
}

// JobFilter narrows a list of jobs; zero fields do not.
type JobFilter struct {
	State, Kind string
}

// Job returns one job. Jobs are for tokens with the admin scope.
func (c *Client) Job(ctx context.Context, job int64) (Job, error) {
	return get[Job](ctx, c, "/v1/jobs/"+id(job))
}

// Jobs lists jobs, newest first.
func (c *Client) Jobs(ctx context.Context, f JobFilter) iter.Seq2[Job, error] {
	return list[Job](ctx, c, "/v1/jobs", query("state", f.State, "kind", f.Kind))
}

// RetryJob lets a job that ended or waits run again now.
func (c *Client) RetryJob(ctx context.Context, job int64) (Job, error) {
	return post[Job](ctx, c, "/v1/jobs/"+id(job)+"/retry", nil)
}

// CancelJob ends a job that has not ended.
func (c *Client) CancelJob(ctx context.Context, job int64) (Job, error) {
	return post[Job](ctx, c, "/v1/jobs/"+id(job)+"/cancel", nil)
}
