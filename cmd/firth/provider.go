package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type providerCmd struct {
	Ls      providerLsCmd      `cmd:"" help:"List providers."`
	Show    providerShowCmd    `cmd:"" help:"Show one provider and what was last seen of it."`
	Add     providerAddCmd     `cmd:"" help:"Take providers into the index."`
	Refresh providerRefreshCmd `cmd:"" help:"Ask chain and provider again."`
	Rm      providerRmCmd      `cmd:"" help:"Take a provider out of the index."`
}

type providerLsCmd struct {
	newest
	State string `help:"Only those in this state: new, online or offline." placeholder:"STATE"`
}

func (l *providerLsCmd) Run(call *call) error {
	return list(call, l.newest, "PROVIDER\tSTATE\tPRICE\tPIECES\tCHECKED\tREASON",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Provider, error] {
			return cl.Providers(ctx, client.ProviderFilter{State: l.State})
		},
		func(p client.Provider) []any {
			return []any{p.Actor, p.State, or(p.Price), pieceSizes(p), relativeOr(p.CheckedAt, "never"), p.Reason}
		})
}

func pieceSizes(p client.Provider) string {
	if p.MaxPieceSize == 0 {
		return "-"
	}
	return size(p.MinPieceSize) + " to " + size(p.MaxPieceSize)
}

// providerRef names one provider.
type providerRef struct {
	Actor string `arg:"" help:"Provider's id, like f01000."`
}

// seenLately is how many observations `firth provider show` tells.
const seenLately = 20

// providerDetail is the JSON contract of `firth provider show`.
type providerDetail struct {
	client.Provider
	Observations []client.ProviderObservation `json:"observations"` // newest first
}

type providerShowCmd struct{ providerRef }

func (s *providerShowCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (providerDetail, error) {
		p, err := cl.Provider(ctx, s.Actor)
		d := providerDetail{p, []client.ProviderObservation{}}
		if err != nil {
			return d, err
		}
		return d, upTo(seenLately, cl.ProviderObservations(ctx, s.Actor), func(o client.ProviderObservation) error {
			d.Observations = append(d.Observations, o)
			return nil
		}, nil)
	}, func(d providerDetail) {
		call.provider(d.Provider)
		for _, o := range d.Observations {
			how := "well"
			if !o.OK {
				how = "badly"
			}
			fmt.Fprintf(call.out, "  %-9s %s went %s  %s\n", relative(o.At), plain(o.Kind), how, plain(o.Reason))
		}
	})
}

func (c *call) provider(p client.Provider) {
	c.facts(fact{"provider", p.Actor}, fact{"state", state(p.State, p.Reason)}, fact{"peer", p.PeerID}, fact{"addresses", p.Multiaddrs},
		fact{"retrieval", p.HTTP}, fact{"owner", p.Owner}, fact{"pieces", pieceSizes(p)}, fact{"sector", size(p.SectorSize)},
		fact{"price", p.Price + " attoFIL per GiB and epoch"}, fact{"verified", p.VerifiedPrice + " attoFIL per GiB and epoch"},
		fact{"checked", p.CheckedAt}, fact{"added", p.CreatedAt})
}

type providerAddCmd struct {
	Actors []string `arg:"" sep:"none" name:"actor" help:"Providers' ids, like f01000."`
}

func (a *providerAddCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		for _, actor := range a.Actors {
			p, err := cl.AddProvider(ctx, actor)
			if err != nil {
				return fault.Wrap(err, "add provider %s", actor)
			}
			if call.global.JSON {
				err = call.printJSON(p)
			} else {
				_, err = fmt.Fprintf(call.out, "%s  %s\n", p.Actor, plain(state(p.State, p.Reason)))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type providerRefreshCmd struct{ providerRef }

func (r *providerRefreshCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Provider, error) {
		return cl.RefreshProvider(ctx, r.Actor)
	}, call.provider)
}

type providerRmCmd struct{ providerRef }

func (r *providerRmCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		if err := cl.RemoveProvider(ctx, r.Actor); err != nil {
			return err
		}
		return call.removed(r.Actor)
	})
}
