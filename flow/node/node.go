package node

import "time"

// Lifetime is how long after its last sign of life a node counts as running.
const Lifetime = 30 * time.Second

// Node is a running process.
type Node struct {
	ID        string // random, new with each start
	Roles     []string
	Version   string
	Address   string // URL of its API or gateway door, "" if it has none
	StartedAt time.Time
	SeenAt    time.Time
}
