// Package mk12 speaks the storage deal protocol mk1.2 over libp2p, as Boost and
// Curio do: propose a deal, ask for its status, ask for a provider's terms and
// for the ways its data can be retrieved.
//
// It owns the messages and their exact bytes, the client half and the server
// half of the four protocols. It promises that what it encodes is byte for byte
// what Boost encodes, that a message from outside costs memory for the bytes
// that came (at most MaxMessage) and not for those it claims, and that a peer
// which misbehaves is named in the error. It refuses to judge a deal: prices,
// signatures, pieces and transfers belong to the callers on both sides.
package mk12
