package client

import (
	"context"
	"iter"
	"time"
)

// Retrieval is one attempt to get bytes from a provider.
type Retrieval struct {
	ID       int64     `json:"id"`
	Root     string    `json:"root"`
	PieceCID string    `json:"piece_cid"`
	Provider string    `json:"provider"`
	Method   string    `json:"method" doc:"how it was fetched: car, piece"`
	State    string    `json:"state" enum:"running,ok,failed"`
	Reason   string    `json:"reason,omitempty"`
	Bytes    int64     `json:"bytes"`
	Blocks   int64     `json:"blocks"`
	TTFBms   int64     `json:"ttfb_ms" doc:"milliseconds to the first byte"`
	TookMs   int64     `json:"took_ms" doc:"milliseconds in all"`
	At       time.Time `json:"at"`
}

// RetrievalFilter narrows a list of retrievals; zero fields do not.
type RetrievalFilter struct {
	State, Provider, Root string
}

// Retrievals lists retrievals, newest first.
func (c *Client) Retrievals(ctx context.Context, f RetrievalFilter) iter.Seq2[Retrieval, error] {
	return list[Retrieval](ctx, c, "/v1/retrievals",
		query("state", f.State, "provider", f.Provider, "root", f.Root))
}
