// Package retrieval gets bytes back from the providers that hold them.
//
// It owns the attempts: one row for each try at one provider, with what came,
// how soon and why it ended. It promises that every block it hands on matches
// its CID, that blocks come in the order of the DAG, depth first from the root
// and each once, and that a fetch which ends without an error has delivered the
// whole DAG. A provider that is away, slow or wrong costs an attempt and an
// observation, not the fetch: the next provider goes on where it stopped.
//
// It refuses to store what it fetches, to trust a length or an order a provider
// claims, and to know how providers are found: deals and facts come through
// interfaces.
package retrieval
