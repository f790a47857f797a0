// Package client speaks to a Firth node over its HTTP API under /v1.
//
// It owns the wire types: the JSON a node answers with is these structs, on both
// sides of the wire. It promises to import the standard library only, to stream
// what is large in both directions, to return a *Error for every answer that is
// not a success, and to follow lists and events by iterators that resume where
// they were. It refuses to retry what changes something: an upload that broke
// is the caller's to send again.
//
// Prices are decimal strings of attoFIL per GiB and epoch, sizes are bytes,
// times are RFC 3339 in UTC, ids are numbers.
package client
