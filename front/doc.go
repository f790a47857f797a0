// Package front is the doorman that stands at every HTTP door.
//
// It owns what all doors share: a request's id, the way from a token to a
// project, the limits on what a stranger may cost us, the recovery of a panic,
// and the shape in which a fault is answered (RFC 9457). It promises that no
// request gets past it without a decision about who is asking, and that every
// error tells the caller what was wrong in words and in a kind.
//
// It refuses to know any route: the doors under it are packages of their own,
// and they do not know each other.
package front
