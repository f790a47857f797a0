// Package fault names the kinds of error the whole system knows.
//
// It owns seven kinds and the three tables that give each of them a meaning
// outside: an HTTP status, a process exit code, and whether trying again can
// help. It promises that the kind survives wrapping, and that an error nobody
// classified is Internal. It refuses to hold error texts, codes or sentinels of
// any single package: those live beside the code that makes them.
package fault
