package main

import (
	"context"
	"iter"

	"github.com/firth-project/firth/client"
)

type bucketCmd struct {
	Ls    bucketLsCmd    `cmd:"" help:"List buckets."`
	Show  bucketShowCmd  `cmd:"" help:"Show one bucket."`
	Close bucketCloseCmd `cmd:"" help:"Close an open bucket now, so that it becomes pieces."`
}

type bucketLsCmd struct {
	newest
	State string `help:"Only those in this state: open, closing, packing, ready, dealing, complete, collected or failed." placeholder:"STATE"`
}

func (l *bucketLsCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tSTATE\tCONTENTS\tSIZE\tPLAN\tOPENED\tCLOSES\tREASON",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Bucket, error] {
			return cl.Buckets(ctx, client.BucketFilter{State: l.State})
		},
		func(b client.Bucket) []any {
			closes := "-"
			if b.State == "open" {
				closes = relative(b.ClosesAt)
			}
			return []any{b.ID, b.State, b.Contents, size(b.Size), number(b.Plan), relative(b.OpenedAt), closes, bucketReason(b)}
		})
}

// bucketReason says why, and when it is tried again.
func bucketReason(b client.Bucket) string {
	if b.NextAttempt == nil {
		return b.Reason
	}
	return b.Reason + " (tried again " + relative(*b.NextAttempt) + ")"
}

type bucketShowCmd struct {
	ID int64 `arg:"" help:"Id of a bucket."`
}

func (s *bucketShowCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Bucket, error) { return cl.Bucket(ctx, s.ID) }, call.bucket)
}

type bucketCloseCmd struct {
	ID int64 `arg:"" help:"Id of a bucket."`
}

func (s *bucketCloseCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Bucket, error) { return cl.CloseBucket(ctx, s.ID) }, call.bucket)
}

func (c *call) bucket(b client.Bucket) {
	closes := any(nil)
	if b.State == "open" {
		closes = b.ClosesAt
	}
	c.facts(fact{"bucket", b.ID}, fact{"state", state(b.State, bucketReason(b))}, fact{"contents", number(b.Contents)}, fact{"size", size(b.Size)},
		fact{"plan", b.Plan}, fact{"opened", b.OpenedAt}, fact{"closes", closes}, fact{"updated", b.UpdatedAt})
}
