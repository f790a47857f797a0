package main

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/firth-project/firth/client"
)

type dealCmd struct {
	Ls   dealLsCmd   `cmd:"" help:"List deals."`
	Show dealShowCmd `cmd:"" help:"Show one deal and its history."`
}

type dealLsCmd struct {
	newest
	State    string `help:"Only those in this state: draft, sending, proposed, transferring, published, active, slashed, terminated, expired, rejected, proposal_expired or failed." placeholder:"STATE"`
	Piece    int64  `help:"Only those about this piece." placeholder:"ID"`
	Policy   int64  `help:"Only those of this policy." placeholder:"ID"`
	Provider string `help:"Only those with this provider." placeholder:"f0…"`
}

func (l *dealLsCmd) Run(call *call) error {
	return list(call, l.newest, "UUID\tPROVIDER\tPIECE\tSTATE\tDEAL ID\tENDS AT\tCHANGED\tREASON",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Deal, error] {
			return cl.Deals(ctx, client.DealFilter{State: l.State, Piece: l.Piece, Policy: l.Policy, Provider: l.Provider})
		},
		func(d client.Deal) []any {
			return []any{d.UUID, d.Provider, d.Piece, d.State, number(d.DealID), number(d.EndEpoch), relative(d.UpdatedAt), d.Reason}
		})
}

// number is a dash where there is none.
func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

type dealShowCmd struct {
	UUID string `arg:"" name:"uuid" help:"UUID of a deal."`
}

func (s *dealShowCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.DealDetail, error) { return cl.Deal(ctx, s.UUID) },
		func(d client.DealDetail) { call.deal(d) })
}

// fetchedFrom says where the provider was told to fetch the piece.
func fetchedFrom(d client.Deal) string {
	switch {
	case d.URL == "":
		return ""
	case d.Outside:
		return d.URL + "  (outside; this node is not asked)"
	}
	return d.URL + "  (this node)"
}

func (c *call) deal(d client.DealDetail) {
	c.facts(fact{"deal", d.UUID}, fact{"state", state(d.State, d.Reason)}, fact{"provider", d.Provider}, fact{"market", d.Market},
		fact{"piece", fmt.Sprintf("%d  %s", d.Piece, d.PieceCID)}, fact{"policy", d.Policy}, fact{"client", d.Client},
		fact{"price", d.Price + " attoFIL per GiB and epoch"}, fact{"epochs", fmt.Sprintf("%d to %d", d.StartEpoch, d.EndEpoch)},
		fact{"fetched from", fetchedFrom(d.Deal)}, fact{"deal id", d.DealID}, fact{"proposal", d.ProposalCID}, fact{"published", d.PublishCID},
		fact{"made", d.CreatedAt}, fact{"updated", d.UpdatedAt})
	if len(d.Observations) == 0 {
		return
	}
	fmt.Fprintln(c.out)
	_ = c.table("WHEN\tWHO\tSTATE\tREASON", func(w io.Writer) { // facts do not report a closed output either
		for _, o := range d.Observations {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.At.Local().Format("2006-01-02 15:04:05"), o.Source, plain(o.To), plain(o.Reason))
		}
	})
}
