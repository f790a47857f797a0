// Package provider knows the storage providers deals can be made with.
//
// It owns Provider, what the chain and the provider itself say about it, and
// Observation, what was lived through with it. It promises that facts are read
// again on a schedule, that a provider which cannot be reached is offline with
// the reason, and that Candidates names only those that were reached, whose
// limits and price fit, the ones with the fewest recent failures first.
//
// It refuses to judge by hearsay: nothing but the chain, the provider's own
// answers and our own observations counts.
package provider
