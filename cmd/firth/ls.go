package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type lsCmd struct {
	Ref string `arg:"" optional:"" help:"With --from: INDEX[/PATH], a directory of a dataset, listed by its index."`
	newest
	fromFlags
	State  string `help:"Only those in this state: receiving, stored, packed, stored_on_filecoin, failed or removed." placeholder:"STATE"`
	CID    string `name:"cid" help:"Only those with this CID." placeholder:"CID"`
	Name   string `help:"Only those of this name." placeholder:"NAME"`
	Bucket int64  `help:"Only those in this bucket." placeholder:"ID"`
}

func (l *lsCmd) Run(call *call) error {
	switch {
	case l.Ref != "" && len(l.From) > 0:
		return l.list(call)
	case l.Ref != "":
		return fault.New(fault.Invalid, "%s: a dataset is listed by its index; say with --from where to get that", l.Ref)
	case len(l.From) > 0:
		return fault.New(fault.Invalid, "--from: name the index to list")
	}
	return list(call, l.newest, "ID\tNAME\tSIZE\tFILES\tSTATE\tCOPIES\tADDED\tCID",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Content, error] {
			return cl.Contents(ctx, client.ContentFilter{State: l.State, CID: l.CID, Name: l.Name, Bucket: l.Bucket})
		},
		func(c client.Content) []any {
			return []any{c.ID, c.Name, size(c.Size), c.Files, state(c.State, c.Reason), copies(c.Copies), relative(c.CreatedAt), or(c.CID)}
		})
}

// copies is how many replicas there are of those that are wanted.
func copies(c client.Copies) string {
	if c.Wanted == 0 && c.Active == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", c.Active, c.Wanted)
}
