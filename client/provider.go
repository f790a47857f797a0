package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Provider is a storage provider in the node's index.
type Provider struct {
	ID            int64      `json:"id"`
	Actor         string     `json:"actor" doc:"f0…"`
	PeerID        string     `json:"peer_id"`
	Multiaddrs    []string   `json:"multiaddrs" nullable:"false"`
	HTTP          string     `json:"http,omitempty" doc:"base URL it serves retrievals at"`
	Owner         string     `json:"owner,omitempty"`
	SectorSize    int64      `json:"sector_size"`
	MinPieceSize  int64      `json:"min_piece_size"`
	MaxPieceSize  int64      `json:"max_piece_size"`
	Price         string     `json:"price" doc:"attoFIL per GiB and epoch"`
	VerifiedPrice string     `json:"verified_price" doc:"attoFIL per GiB and epoch"`
	State         string     `json:"state" enum:"new,online,offline"`
	Reason        string     `json:"reason,omitempty"`
	CheckedAt     *time.Time `json:"checked_at,omitempty"`
	CreatedAt     time.Time  `json:"created_at"`
}

// ProviderObservation is one dated fact about a provider.
type ProviderObservation struct {
	Kind   string    `json:"kind"`
	OK     bool      `json:"ok"`
	Code   string    `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Bytes  int64     `json:"bytes,omitempty"`
	TTFBms int64     `json:"ttfb_ms,omitempty" doc:"milliseconds to the first byte"`
	TookMs int64     `json:"took_ms,omitempty" doc:"milliseconds in all"`
	At     time.Time `json:"at"`
}

// NewProvider names a provider to take into the index.
type NewProvider struct {
	Actor string `json:"actor" doc:"f0…"`
}

// ProviderFilter narrows a list of providers; zero fields do not.
type ProviderFilter struct {
	State string
}

// AddProvider takes a provider into the index and looks it up.
func (c *Client) AddProvider(ctx context.Context, actor string) (Provider, error) {
	return post[Provider](ctx, c, "/v1/providers", NewProvider{Actor: actor})
}

// Provider returns one provider.
func (c *Client) Provider(ctx context.Context, actor string) (Provider, error) {
	return get[Provider](ctx, c, "/v1/providers/"+seg(actor))
}

// Providers lists providers, newest first.
func (c *Client) Providers(ctx context.Context, f ProviderFilter) iter.Seq2[Provider, error] {
	return list[Provider](ctx, c, "/v1/providers", query("state", f.State))
}

// RefreshProvider asks chain and provider for its facts again.
func (c *Client) RefreshProvider(ctx context.Context, actor string) (Provider, error) {
	return post[Provider](ctx, c, "/v1/providers/"+seg(actor)+"/refresh", nil)
}

// RemoveProvider takes a provider out of the index.
func (c *Client) RemoveProvider(ctx context.Context, actor string) error {
	return c.do(ctx, http.MethodDelete, "/v1/providers/"+seg(actor), nil, nil, nil)
}

// ProviderObservations lists what was seen of a provider, newest first.
func (c *Client) ProviderObservations(ctx context.Context, actor string) iter.Seq2[ProviderObservation, error] {
	return list[ProviderObservation](ctx, c, "/v1/providers/"+seg(actor)+"/observations", nil)
}
