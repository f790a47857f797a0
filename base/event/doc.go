// Package event is the append-only log of what happened, in the product's own
// database.
//
// It owns the rows, the order readers see, and the wake-up of those who follow.
// It promises that an event exists exactly if the transaction that appended it
// commits, that positions are dense and never change, and that who reads by
// position misses nothing, however many writers there are.
// It refuses to be the truth: events are hints, rows of the nouns are the truth,
// and what is older than the retention is gone.
package event
