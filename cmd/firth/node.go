package main

import (
	"context"
	"iter"
	"strings"

	"github.com/firth-project/firth/client"
)

type nodeCmd struct {
	Ls nodeLsCmd `cmd:"" help:"List the processes that were seen lately."`
}

type nodeLsCmd struct{ newest }

func (l *nodeLsCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tVERSION\tADDRESS\tSTARTED\tSEEN\tROLES",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Node, error] { return cl.Nodes(ctx) },
		func(n client.Node) []any {
			return []any{n.ID, n.Version, or(n.Address), relative(n.StartedAt), relative(n.SeenAt), strings.Join(n.Roles, ",")}
		})
}
