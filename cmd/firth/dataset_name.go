package main

import (
	"context"
	"fmt"
	"time"

	"github.com/firth-project/firth/client"
)

type datasetPublishCmd struct {
	Ref string `arg:"" name:"name" help:"Name or id of the dataset."`
}

// Help says what kong prints below the arguments.
func (datasetPublishCmd) Help() string {
	return `The name stays the same while the dataset changes: it leads to the index of the latest preparation that is
complete. The node signs its record again when there is a new index, and daily; it serves it at its gateway, and gives
it to the delegated routers of ipns.routers (see firth config). Doing it again gives routers another try. Then
  firth get k51…/videos/one.mp4 -o . --from https://pieces.example
needs neither this node's database nor trust in any server.`
}

func (c *datasetPublishCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.DatasetName, error) {
		return cl.PublishDataset(ctx, c.Ref)
	}, func(n client.DatasetName) {
		call.published(n)
		if n.Index == "" {
			fmt.Fprintln(call.out, "It leads nowhere yet: the first record is signed when a preparation is complete.")
		}
		if len(n.Routers) == 0 {
			fmt.Fprintln(call.out, "Only this node's gateway gives its record: ipns.routers names no delegated router.")
		}
	})
}

type datasetUnpublishCmd struct {
	Ref string `arg:"" name:"name" help:"Name or id of the dataset."`
}

func (c *datasetUnpublishCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.DatasetName, error) {
		return cl.UnpublishDataset(ctx, c.Ref)
	}, func(n client.DatasetName) {
		fmt.Fprintf(call.out, "withdrew %s; `firth dataset publish` gives it back\n", n.Name)
		if n.ExpiresAt != nil && n.ExpiresAt.After(time.Now()) && len(n.Routers) > 0 {
			fmt.Fprintf(call.out, "Routers may give out the last record until %s.\n", n.ExpiresAt.Local().Format("2006-01-02 15:04:05"))
		}
	})
}

// published prints what is known of a dataset's name.
func (c *call) published(n client.DatasetName) {
	name := n.Name
	if n.State == "withdrawn" {
		name += " (withdrawn)"
	}
	c.facts(fact{"IPNS", name}, fact{"leads to", n.Index}, fact{"DNSLink", n.DNSLink}, fact{"sequence", n.Sequence}, fact{"signed", n.SignedAt},
		fact{"again by", n.RenewAt}, fact{"valid until", n.ExpiresAt})
	for _, r := range n.Routers {
		text := r.State
		if r.Reason != "" {
			text += ": " + plain(r.Reason)
		}
		if r.NextAttempt != nil {
			text += ", tried again " + relative(*r.NextAttempt)
		}
		if r.State == "delivered" && r.DeliveredAt != nil {
			text += " " + relative(*r.DeliveredAt)
		}
		fmt.Fprintf(c.out, "router %s  %s\n", plain(r.Router), text)
	}
}
