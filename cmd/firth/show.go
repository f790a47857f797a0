package main

import (
	"context"
	"fmt"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type showCmd struct {
	Ref string `arg:"" help:"Id or CID of a content."`
}

// contentDetail is the JSON contract of `firth show`: a content with the pieces
// its bucket became, and the deals about them.
type contentDetail struct {
	client.Content
	Pieces []client.Piece `json:"pieces"`
	Deals  []client.Deal  `json:"deals"`
}

func (s *showCmd) Run(call *call) error {
	return show(call, s.detail, func(d contentDetail) { s.tell(call, d) })
}

// detail gathers what the token may see.
func (s *showCmd) detail(ctx context.Context, cl *client.Client) (contentDetail, error) {
	c, err := cl.Content(ctx, s.Ref)
	d := contentDetail{Content: c, Pieces: []client.Piece{}, Deals: []client.Deal{}}
	if err != nil || c.Bucket == 0 {
		return d, err
	}
	for p, err := range cl.Pieces(ctx, client.PieceFilter{Bucket: c.Bucket}) {
		if client.KindOf(err) == client.KindForbidden {
			break
		}
		if err != nil {
			return d, fault.Wrap(err, "pieces of bucket %d", c.Bucket)
		}
		d.Pieces = append(d.Pieces, p)
	}
	for _, p := range d.Pieces {
		for deal, err := range cl.Deals(ctx, client.DealFilter{Piece: p.ID}) {
			if client.KindOf(err) == client.KindForbidden {
				return d, nil
			}
			if err != nil {
				return d, fault.Wrap(err, "deals of piece %d", p.ID)
			}
			d.Deals = append(d.Deals, deal)
		}
	}
	return d, nil
}

func (s *showCmd) tell(call *call, d contentDetail) {
	call.facts(fact{"content", d.ID}, fact{"name", d.Name}, fact{"cid", d.CID}, fact{"size", size(d.Size)},
		fact{"files", d.Files}, fact{"profile", d.Profile}, fact{"state", state(d.State, d.Reason)},
		fact{"copies", copies(d.Copies)}, fact{"bucket", d.Bucket}, fact{"added", d.CreatedAt}, fact{"updated", d.UpdatedAt})
	for _, p := range d.Pieces {
		fmt.Fprintf(call.out, "\npiece %d  %s  (%s)\n", p.ID, p.PieceCID, size(p.PaddedSize))
		for _, deal := range d.Deals {
			if deal.Piece == p.ID {
				fmt.Fprintf(call.out, "  %-10s  %s  %s\n", deal.Provider, deal.UUID, plain(state(deal.State, deal.Reason)))
			}
		}
	}
}
