// Package fetch reads what an URL names, of any size, over HTTP and HTTPS.
//
// It owns the way on when a connection breaks: a stream goes on at the byte it
// had reached, in a later process too, and a reader asks for ranges. It owns what
// is secret in an URL: what opens it can be taken out and put back, and is in no
// error. It promises that all bytes are of one version of the thing, told by its
// entity tag or time of change; where a server names neither, a stream that broke
// is not taken up again, since nobody could say that the rest belongs to it.
//
// It refuses to know who may be connected to: that is decided by the client that
// is passed in. Nothing is cached and nothing is decompressed.
package fetch
