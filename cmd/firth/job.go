package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/firth-project/firth/client"
)

type jobCmd struct {
	Ls     jobLsCmd     `cmd:"" help:"List jobs."`
	Show   jobShowCmd   `cmd:"" help:"Show one job."`
	Retry  jobRetryCmd  `cmd:"" help:"Let a job run again now."`
	Cancel jobCancelCmd `cmd:"" help:"End a job."`
}

type jobLsCmd struct {
	newest
	State string `help:"Only those in this state: waiting, running, retrying, done or dead." placeholder:"STATE"`
	Kind  string `help:"Only those of this kind, like piece.pack." placeholder:"KIND"`
}

func (l *jobLsCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tKIND\tSTATE\tATTEMPT\tNEXT\tMADE\tARGUMENTS\tLAST ERROR",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Job, error] {
			return cl.Jobs(ctx, client.JobFilter{State: l.State, Kind: l.Kind})
		},
		func(j client.Job) []any {
			return []any{j.ID, j.Kind, j.State, fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts), relativeOr(j.NextAttempt, "-"),
				relative(j.CreatedAt), string(j.Args), firstLine(j.Error)}
		})
}

// firstLine leaves out the stack of a panic.
func firstLine(s string) string {
	for i, r := range s {
		if r == '\n' {
			return s[:i]
		}
	}
	return s
}

// jobRef names one job.
type jobRef struct {
	ID int64 `arg:"" help:"Id of a job."`
}

type jobShowCmd struct{ jobRef }

func (s *jobShowCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Job, error) { return cl.Job(ctx, s.ID) }, call.job)
}

type jobRetryCmd struct{ jobRef }

func (r *jobRetryCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Job, error) { return cl.RetryJob(ctx, r.ID) }, call.job)
}

type jobCancelCmd struct{ jobRef }

func (r *jobCancelCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Job, error) { return cl.CancelJob(ctx, r.ID) }, call.job)
}

func (c *call) job(j client.Job) {
	panicked := ""
	if j.Panicked {
		panicked = "yes: this is a mistake of ours, please report it"
	}
	c.facts(fact{"job", j.ID}, fact{"kind", j.Kind}, fact{"queue", j.Queue}, fact{"state", j.State},
		fact{"attempt", fmt.Sprintf("%d of %d", j.Attempt, j.MaxAttempts)}, fact{"arguments", string(j.Args)},
		fact{"last error", firstLine(j.Error)}, fact{"panicked", panicked}, fact{"next", j.NextAttempt},
		fact{"made", j.CreatedAt}, fact{"ended", j.FinalizedAt})
}
