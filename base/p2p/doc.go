// Package p2p makes libp2p hosts: an identity that outlives the process, a
// listener, streams with deadlines.
//
// It owns the identity file and the choice of transports (TCP with TLS or
// Noise, Yamux) and limits. It promises that several hosts live in one process
// without sharing anything, that nothing listens beyond loopback unless it is
// told to, and that a stream it opened ends when its context does. It refuses
// whatever a node with known peers does not need: relays, hole punching, port
// mapping, local discovery, reachability probes, global metrics. Routing,
// Bitswap and discovery are built on a Host elsewhere.
package p2p
