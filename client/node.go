package client

import (
	"context"
	"iter"
	"time"
)

// Node is one running process of the deployment.
type Node struct {
	ID        string    `json:"id" doc:"random, new with each start"`
	Roles     []string  `json:"roles" nullable:"false"`
	Version   string    `json:"version"`
	Address   string    `json:"address,omitempty" doc:"where its doors listen"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
}

// Health is what a node says of itself to anyone.
type Health struct {
	Status  string `json:"status" doc:"ok, or the reason it is not"`
	Version string `json:"version"`
}

// Nodes lists the processes that were seen lately. For the admin scope.
func (c *Client) Nodes(ctx context.Context) iter.Seq2[Node, error] {
	return list[Node](ctx, c, "/v1/nodes", nil)
}

// Health asks the node whether it serves. It needs no token.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return get[Health](ctx, c, "/v1/health")
}
