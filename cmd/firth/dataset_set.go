package main

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/piece"
)

type datasetSetCmd struct {
	Ref       string       `arg:"" name:"name" help:"Name or id of the dataset."`
	PieceSize *client.Size `help:"Size of a full piece: a power of two from 4MiB to 64GiB." placeholder:"SIZE"`
	MinSize   *client.Size `help:"Least data of a piece; 0 is the default, 0.6 of what it holds." placeholder:"SIZE"`
	MaxSize   *client.Size `help:"Most data of a piece; 0 is the default, 0.9 of what it holds." placeholder:"SIZE"`
	Include   []string     `help:"Pack only what matches this glob, instead of those before; may be repeated. An empty one is all." sep:"none" placeholder:"GLOB"`
	Exclude   []string     `help:"Leave out what matches this glob, instead of those before; may be repeated. An empty one is nothing." sep:"none" placeholder:"GLOB"`
	Hidden    *bool        `help:"Pack names that begin with a dot, or not." negatable:""`
	Dedup     *bool        `help:"Put equal blocks into a piece once, or not." negatable:""`
	Out       *string      `help:"Have the node write <piece cid>.car files into this directory of its own, or to s3:bucket/prefix; an empty one writes none." placeholder:"DIR|BUCKET"`
	Revision  int64        `help:"Only if the rules are still at this revision (see status)." placeholder:"N"`
}

// Help says what kong prints below the arguments.
func (datasetSetCmd) Help() string {
	return `It holds for preparations that start afterwards; one that runs keeps the rules it began with. For example
  firth dataset set photos --piece-size 64GiB --exclude '*.tmp' --no-hidden`
}

func (c *datasetSetCmd) Run(call *call) error {
	change := client.DatasetChange{
		PieceSize: c.PieceSize, MinSize: c.MinSize, MaxSize: c.MaxSize, Include: globs(c.Include), Exclude: globs(c.Exclude),
		Hidden: c.Hidden, Dedup: c.Dedup, Out: c.Out, Revision: c.Revision,
	}
	if change == (client.DatasetChange{Revision: c.Revision}) {
		return fault.New(fault.Invalid, "nothing to set; `firth dataset set --help` lists the rules")
	}
	if c.Revision < 0 {
		return fault.New(fault.Invalid, "--revision is %d; revisions count from 1", c.Revision)
	}
	if c.Out != nil && *c.Out != "" && !piece.InBucket(*c.Out) {
		abs, err := filepath.Abs(*c.Out)
		if err != nil {
			return pathFault(*c.Out, err)
		}
		change.Out = &abs
	}
	return show(call, func(ctx context.Context, cl *client.Client) (client.Dataset, error) {
		return cl.UpdateDataset(ctx, c.Ref, change)
	}, call.rules)
}

// globs is a list of globs as it replaces the one before: nil leaves that.
func globs(given []string) *[]string {
	if len(given) == 0 {
		return nil
	}
	all := slices.DeleteFunc(slices.Clone(given), func(g string) bool { return g == "" })
	return &all
}
