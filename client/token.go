package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Token is a credential of a project; its secret is not part of it.
type Token struct {
	ID         int64      `json:"id"`
	Name       string     `json:"name"`
	Prefix     string     `json:"prefix" doc:"first characters of the secret, to recognise it by"`
	Scopes     []string   `json:"scopes" nullable:"false"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
}

// NewToken is what a token is made of.
type NewToken struct {
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes" nullable:"false" doc:"content:read, content:write, deal:read, deal:write, commp, admin"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// TokenSecret is a token with its secret, which is shown this once.
type TokenSecret struct {
	Token
	Secret string `json:"secret"`
}

// CreateToken makes a token of the caller's project.
func (c *Client) CreateToken(ctx context.Context, t NewToken) (TokenSecret, error) {
	return post[TokenSecret](ctx, c, "/v1/tokens", t)
}

// Tokens lists the project's tokens, newest first.
func (c *Client) Tokens(ctx context.Context) iter.Seq2[Token, error] {
	return list[Token](ctx, c, "/v1/tokens", nil)
}

// RevokeToken ends a token at once.
func (c *Client) RevokeToken(ctx context.Context, token int64) error {
	return c.do(ctx, http.MethodDelete, "/v1/tokens/"+id(token), nil, nil, nil)
}
