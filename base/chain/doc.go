// Package chain talks to a Filecoin node and knows the shapes it speaks in.
//
// It owns the types of the Lotus JSON-RPC API (version 1) that a storage client
// needs, exactly as they stand on the wire and in CBOR, so that one definition
// serves our client, our wallet and the devnet's server; a narrow client for
// them; and the following of the chain's head. It works against Lotus, Forest,
// Venus, public gateways that refuse websockets, and the devnet.
//
// It promises that every answer is bounded in size and time, that every error
// has a kind, and that Follow never leaves out a height in silence. It refuses
// to sign (wallet does), to hold keys, and to read whole-network state.
package chain
