// Package singularity is the door of Singularity v1's deal preparation service:
// POST /preparation, POST /preparation/{id}, GET /preparations,
// GET /preparation/{id} and GET /generation/{id}.
//
// It owns their words: a preparation request is a Dataset with the latest run
// over it, a generation request is a Chunk. It promises the fields and types of
// that service (ids are strings, sizes the text that was given), errors as
// {"error": "…"}, and that a token is asked for as at every other door.
//
// It refuses to hold any rule: what can be done here can be done under /v1.
package singularity
