package main

import (
	"context"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type rmCmd struct {
	Refs []string `arg:"" sep:"none" name:"ref" help:"Ids or CIDs of contents. Deals already made run on."`
}

func (r *rmCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		for _, ref := range r.Refs {
			if err := cl.RemoveContent(ctx, ref); err != nil {
				return fault.Wrap(err, "remove %s", ref)
			}
			if err := call.removed(ref); err != nil {
				return err
			}
		}
		return nil
	})
}
