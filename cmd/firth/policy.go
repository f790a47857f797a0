package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/firth-project/firth/client"
)

type policyCmd struct {
	Ls     policyLsCmd     `cmd:"" help:"List policies and how far they are fulfilled."`
	Show   policyShowCmd   `cmd:"" help:"Show one policy."`
	New    policyNewCmd    `cmd:"" help:"Declare how many copies to keep; the node acts on it at once."`
	Set    policySetCmd    `cmd:"" help:"Change a policy. Deals already made stay as they are."`
	Pause  policyPauseCmd  `cmd:"" help:"Make no new deals for a policy."`
	Resume policyResumeCmd `cmd:"" help:"Let a paused policy act again."`
	Rm     policyRmCmd     `cmd:"" help:"Give a policy up. Its deals run to their end."`
	DryRun policyDryRunCmd `cmd:"" help:"Show what a policy would do now, and why, without doing it."`
}

type policyLsCmd struct {
	newest
	State string `help:"Only those in this state: active, paused or removed." placeholder:"STATE"`
}

func (l *policyLsCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tNAME\tCOPIES\tPIECES\tACTIVE\tIN PROGRESS\tFAILED\tSTATE\tREASON",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Policy, error] {
			return cl.Policies(ctx, client.PolicyFilter{State: l.State})
		},
		func(p client.Policy) []any {
			s := p.Status
			return []any{p.ID, or(p.Name), p.Copies, s.Pieces, fmt.Sprintf("%d/%d", s.Active, s.Wanted), s.InProgress, s.Failed, p.State, p.Reason}
		})
}

// policyRef names one policy.
type policyRef struct {
	ID int64 `arg:"" help:"Id of a policy."`
}

type policyShowCmd struct{ policyRef }

func (s *policyShowCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Policy, error) { return cl.Policy(ctx, s.ID) }, call.policy)
}

func (c *call) policy(p client.Policy) {
	pieces, providers := "every piece of the project", "any in the index"
	if len(p.Pieces) > 0 {
		pieces = strings.Trim(fmt.Sprint(p.Pieces), "[]")
	}
	if len(p.Providers) > 0 {
		providers = strings.Join(p.Providers, ", ")
	}
	kept := "are kept"
	if p.DeleteCARAfter > 0 {
		kept = "are deleted after " + plural(p.DeleteCARAfter, "active deal")
	}
	from := "the node's piece.url_template, or the node"
	if p.URLTemplate != "" {
		from = p.URLTemplate
	}
	var headers []string
	for _, name := range slices.Sorted(maps.Keys(p.HTTPHeaders)) {
		headers = append(headers, name+": "+p.HTTPHeaders[name])
	}
	c.facts(fact{"policy", p.ID}, fact{"name", p.Name}, fact{"state", state(p.State, p.Reason)}, fact{"copies", p.Copies},
		fact{"pieces", pieces}, fact{"providers", providers}, fact{"wallet", p.Wallet},
		fact{"max price", p.MaxPrice + " attoFIL per GiB and epoch"}, fact{"duration", fmt.Sprintf("%d epochs", p.DurationEpochs)},
		fact{"start delay", fmt.Sprintf("%d epochs", p.StartDelayEpochs)}, fact{"verified", p.Verified}, fact{"CARs", kept}, fact{"fetched from", from}, fact{"HTTP headers", headers},
		fact{"status", fmt.Sprintf("%d of %d copies active, %d in progress, %d failed, over %s",
			p.Status.Active, p.Status.Wanted, p.Status.InProgress, p.Status.Failed, plural(p.Status.Pieces, "piece"))},
		fact{"made", p.CreatedAt}, fact{"updated", p.UpdatedAt})
}

type policyNewCmd struct {
	Name             string   `help:"What people call it." placeholder:"NAME"`
	Copies           int      `help:"Copies to keep of each piece, each with another provider; default is the node's." placeholder:"N"`
	Piece            []int64  `help:"Ids of pieces; default is every piece of the project, future ones too." placeholder:"ID"`
	Provider         []string `help:"Providers to choose from; default is any in the index." placeholder:"f0…"`
	Wallet           string   `help:"Address that signs and pays; default is the keystore's only one." placeholder:"ADDRESS"`
	MaxPrice         string   `help:"Most to pay, in attoFIL per GiB and epoch." placeholder:"ATTOFIL"`
	DurationEpochs   int64    `help:"How long a deal lasts; on mainnet a day has 2880 epochs." placeholder:"N"`
	StartDelayEpochs int64    `help:"How long a provider has until a deal must be active." placeholder:"N"`
	Verified         bool     `help:"Make verified deals, with datacap."`
	DeleteCARAfter   int      `help:"Delete the CARs the node wrote of a piece once it has N active deals, unless another policy or project wants them; imported ones stay. Default keeps them." name:"delete-car-after" placeholder:"N"`
	URLTemplate      string   `help:"Where providers fetch the pieces instead of from the node, such as https://cdn.example/{piece_cid}.car; {piece_cid_v1} is known too." name:"url-template" placeholder:"URL"`

	HTTPHeader pairs `help:"What providers send along to the server of --url-template, such as Authorization=…; kept encrypted and never shown again. NAME=@FILE reads the value from a file. May be repeated." name:"http-header" placeholder:"NAME=VALUE"`
}

func (n *policyNewCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Policy, error) {
		return cl.CreatePolicy(ctx, client.NewPolicy{
			Name: n.Name, Copies: n.Copies, Pieces: n.Piece, Providers: n.Provider, Wallet: n.Wallet, MaxPrice: n.MaxPrice,
			DurationEpochs: n.DurationEpochs, StartDelayEpochs: n.StartDelayEpochs, Verified: n.Verified, DeleteCARAfter: n.DeleteCARAfter,
			URLTemplate: n.URLTemplate, HTTPHeaders: n.HTTPHeader,
		})
	}, call.policy)
}

type policyPauseCmd struct{ policyRef }

func (p *policyPauseCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Policy, error) { return cl.PausePolicy(ctx, p.ID) }, call.policy)
}

type policyResumeCmd struct{ policyRef }

func (p *policyResumeCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Policy, error) { return cl.ResumePolicy(ctx, p.ID) }, call.policy)
}

type policyRmCmd struct{ policyRef }

func (p *policyRmCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		if err := cl.RemovePolicy(ctx, p.ID); err != nil {
			return err
		}
		return call.removed(fmt.Sprint(p.ID))
	})
}

type policyDryRunCmd struct{ policyRef }

func (p *policyDryRunCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) ([]client.Step, error) {
		steps, err := cl.DryRun(ctx, p.ID)
		if steps == nil {
			steps = []client.Step{}
		}
		return steps, err
	}, func(steps []client.Step) {
		if len(steps) == 0 {
			fmt.Fprintln(call.out, "Nothing to do: what the policy says is true.")
			return
		}
		_ = call.table("ACTION\tPIECE\tPROVIDER\tREASON", func(w io.Writer) { // a closed output is nobody's loss
			for _, s := range steps {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", s.Action, s.Piece, or(s.Provider), plain(s.Reason))
			}
		})
	})
}
