package content

import (
	"time"

	"github.com/firth-project/firth/flow/piece"
)

// BucketState is where a bucket is in its life.
type BucketState string

// The states of a bucket. One reconciler moves it along.
const (
	Open      BucketState = "open"      // takes contents; at most one a project
	Closing   BucketState = "closing"   // takes no more; waits to be handed to packing
	Packing   BucketState = "packing"   // its plan is becoming pieces
	Ready     BucketState = "ready"     // pieces exist, no policy wants copies yet
	Dealing   BucketState = "dealing"   // copies are wanted, not all are active
	Complete  BucketState = "complete"  // all wanted copies are active
	Collected BucketState = "collected" // over: it was empty, or its time is past
	Broken    BucketState = "failed"    // the reason says why, and the next attempt when
)

// BucketStates lists all states, in the order of a life.
func BucketStates() []BucketState {
	return []BucketState{Open, Closing, Packing, Ready, Dealing, Complete, Collected, Broken}
}

// Bucket gathers contents of a project until they become pieces.
type Bucket struct {
	ID          int64
	Project     int64
	State       BucketState
	Size        int64 // bytes of the contents in it
	Contents    int64
	Plan        int64  // the plan it became, 0 before
	Reason      string // why the last attempt failed
	Attempt     int    // attempts that failed
	OpenedAt    time.Time
	ClosesAt    time.Time // when its age closes it
	NextAttempt *time.Time
	UpdatedAt   time.Time
}

// BucketFilter picks buckets; the zero value picks all.
type BucketFilter struct {
	State  BucketState
	Before int64
	Limit  int
}

// full reports whether a bucket of this size takes no more. More contents than
// a plan may have roots it never takes.
func (s Settings) full(size, contents int64) bool {
	return size >= s.BucketSize || contents >= min(s.BucketContents, piece.MaxRoots)
}

// retryAfter is how long a bucket waits after its n-th failure, n from 1:
// a minute, doubling, at most six hours.
func retryAfter(n int) time.Duration {
	const first, most = time.Minute, 6 * time.Hour
	d := first << min(n-1, 16)
	return min(d, most)
}
