// Package gateway serves bytes by their names: blocks, files and DAGs under
// /ipfs/{cid}, the CARs of pieces under /piece/{cid}.
//
// It owns three routes, of which /ipns/{name} gives the signed record of a name
// that this node publishes, and the piece link, a token for one piece that a storage
// provider is handed with a deal. It promises that what leaves here is what its
// name says, an error that says why not before the first byte, or a connection
// that breaks after it: an answer is never short and well formed. It promises
// that a reader who stops reading frees his place.
//
// It refuses to fetch what is not here, to follow names, and to know who owns
// a block: a token that may read content reads by CID, and in public mode
// everyone does.
package gateway
