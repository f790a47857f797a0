package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type tokenCmd struct {
	New tokenNewCmd `cmd:"" help:"Make a token; its secret is shown this once."`
	Ls  tokenLsCmd  `cmd:"" help:"List tokens."`
	Rm  tokenRmCmd  `cmd:"" help:"Revoke a token, at once."`
}

type tokenNewCmd struct {
	Name    string        `arg:"" help:"What the token is for."`
	Scope   []string      `help:"What it may do: content:read, content:write, deal:read, deal:write, commp, admin." required:"" placeholder:"SCOPE"`
	Expires time.Duration `help:"How long it is valid, like 720h; default is until it is revoked." placeholder:"DURATION"`
}

func (n *tokenNewCmd) Run(call *call) error {
	t := client.NewToken{Name: n.Name, Scopes: n.Scope}
	if n.Expires < 0 {
		return fault.New(fault.Invalid, "--expires %s: is in the past", n.Expires)
	}
	if n.Expires > 0 {
		at := time.Now().Add(n.Expires).UTC()
		t.ExpiresAt = &at
	}
	return show(call, func(ctx context.Context, cl *client.Client) (client.TokenSecret, error) {
		return cl.CreateToken(ctx, t)
	},
		func(s client.TokenSecret) {
			fmt.Fprintln(call.out, s.Secret)
			fmt.Fprintf(call.err, "(token %d; keep the secret, it is not shown again)\n", s.ID)
		})
}

type tokenLsCmd struct{ newest }

func (l *tokenLsCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tNAME\tBEGINS WITH\tSCOPES\tLAST USED\tSTATE",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Token, error] { return cl.Tokens(ctx) },
		func(t client.Token) []any {
			return []any{t.ID, t.Name, t.Prefix + "…", strings.Join(t.Scopes, ","), relativeOr(t.LastUsedAt, "never"), tokenState(t)}
		})
}

func tokenState(t client.Token) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked " + relative(*t.RevokedAt)
	case t.ExpiresAt == nil:
		return "valid"
	case t.ExpiresAt.Before(time.Now()):
		return "expired " + relative(*t.ExpiresAt)
	}
	return "valid, ends " + relative(*t.ExpiresAt)
}

type tokenRmCmd struct {
	ID int64 `arg:"" help:"Id of a token."`
}

func (r *tokenRmCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		if err := cl.RevokeToken(ctx, r.ID); err != nil {
			return err
		}
		return call.removed(fmt.Sprint(r.ID))
	})
}
