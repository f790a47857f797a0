// Package node keeps the list of running processes.
//
// It owns Node: one process, the roles it does, where its doors are and when it
// was last seen. It promises that a process which died disappears from the list
// within Lifetime. It refuses to decide anything by it: who does which work is
// settled by leases and compare-and-swap where the work is.
package node
