// Package content takes data in and gathers it into buckets.
//
// It owns Content, one stored object of a project, and Bucket, which gathers
// contents until a size, a number or an age is reached and then becomes pieces.
// It promises that a content which was acknowledged is durable: its blocks are
// synced and its row committed, together with the event and the bucket it
// joined. It promises that an upload which broke off ends as failed with a
// reason, and that every bucket moves on by itself, however often the process
// dies between two steps.
//
// It refuses to know how a piece is made or who stores it: it hands plans to
// package piece, reads their state back, and asks through an interface how many
// copies there are.
package content
