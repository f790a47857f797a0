// Package gateway is the door for reading: contents by CID, pieces by
// commitment.
//
// It owns two kinds of path. /ipfs/… is the IPFS gateway over the blocks this
// node has (path, trustless raw and CAR, byte ranges); /piece/… streams the CAR
// of a piece, at any offset, to providers and to anyone who checks. It promises
// that what it sends was verified, and that without leave nothing is sent:
// a token with content:read opens both, a piece link opens one piece.
//
// It refuses to fetch from elsewhere and holds no rule about contents or deals.
package gateway
