// Package app puts the parts of Firth together and runs them.
//
// It owns the configuration, the home directory, the table of roles, and the
// order in which things are opened, started, drained and closed. It is the only
// package that knows everyone. It promises that a node which was told nothing
// works, that together and apart are the same code, and that a stop loses
// nothing: doors drain first, then jobs, then the stores close.
//
// It refuses to hold a rule about data: those are in flow.
package app
