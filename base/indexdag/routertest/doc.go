// Package routertest is a delegated router for tests: PUT and GET of
// /routing/v1/ipns/{name} as the Delegated Routing V1 HTTP API has them.
//
// It owns records in memory. It promises to take what the specification lets it
// take and nothing else, and to refuse as often as it is told. It refuses all
// other routes.
package routertest
