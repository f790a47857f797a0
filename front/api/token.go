package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
)

type newToken struct{ Body client.NewToken }

func (d *door) tokenRoutes() {
	add(d, route{
		id: "listTokens", method: http.MethodGet, path: "/v1/tokens", tag: "token", scope: account.Admin,
		summary: "List the project's tokens", detail: "Newest first, revoked ones included. Secrets are not among what is kept.",
	}, func(ctx context.Context, g account.Grant, _ *empty) (*page[client.Token], error) {
		rows, err := d.Account.Tokens(ctx, g.Project)
		if err != nil {
			return nil, err
		}
		return whole(rows, tokenOf), nil
	})
	add(d, route{
		id: "createToken", method: http.MethodPost, path: "/v1/tokens", tag: "token", scope: account.Admin, status: http.StatusCreated,
		summary: "Make a token", detail: "The secret is in this answer and nowhere else.",
	}, func(ctx context.Context, g account.Grant, in *newToken) (*body[client.TokenSecret], error) {
		scopes := make([]account.Scope, len(in.Body.Scopes))
		for i, s := range in.Body.Scopes {
			scopes[i] = account.Scope(s)
		}
		t, secret, err := d.Account.CreateToken(ctx, g.Project, in.Body.Name, scopes, in.Body.ExpiresAt)
		return &body[client.TokenSecret]{client.TokenSecret{Token: tokenOf(t), Secret: secret}}, err
	})
	add(d, route{
		id: "revokeToken", method: http.MethodDelete, path: "/v1/tokens/{id}", tag: "token", scope: account.Admin,
		summary: "End a token at once", detail: "Ending it twice is no error.",
	}, func(ctx context.Context, g account.Grant, in *byID) (*none, error) {
		return &none{}, d.Account.RevokeToken(ctx, g.Project, in.ID)
	})
}

func tokenOf(t account.Token) client.Token {
	scopes := make([]string, len(t.Scopes))
	for i, s := range t.Scopes {
		scopes[i] = string(s)
	}
	return client.Token{
		ID: t.ID, Name: t.Name, Prefix: t.Prefix, Scopes: scopes, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt,
		LastUsedAt: t.LastUsedAt, CreatedAt: t.CreatedAt,
	}
}
