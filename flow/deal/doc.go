// Package deal keeps as many copies of every piece with storage providers as
// the policies ask for.
//
// It owns Policy, what is wanted, Deal, one agreement about one piece with one
// provider, and the append-only Observations by which a deal came to its state.
// It promises that a deal's UUID and signed proposal are durable before the
// first byte leaves, so that no crash makes two deals of one; that a provider
// has at most one live deal about a piece, which a unique index holds however
// many processes deal; that the chain is believed over the provider, and only
// about a proposal that is ours; that a deal which makes no progress ends with
// a reason and is replaced; and that one refused piece holds up no other.
//
// It refuses to know a wire format: each market is one file behind Market.
package deal
