package job

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// Queue separates jobs by weight, so that a thousand waiting downloads do not
// hold up what takes a millisecond. Each one costs an idle process a look every
// two seconds.
type Queue string

// The queues.
const (
	Light Queue = "light" // milliseconds, database only
	Net   Queue = "net"   // waits for somebody else
	Hash  Queue = "hash"  // keeps a processor busy
)

const (
	defaultTimeout  = time.Hour
	defaultAttempts = 10
)

// Kind is one kind of job, whose arguments are an A that survives JSON. A
// package declares its kinds as values; two kinds never share a name.
type Kind[A any] struct {
	Name     string        // "piece.pack": lower-case letters, digits, dots, underscores
	Queue    Queue         // Light if empty
	Timeout  time.Duration // of one attempt, after which its ctx ends; one hour if zero
	Attempts int           // before the job is dead; 10 if zero. The first 50 that end with their process are not counted
	Unique   bool          // at most one waiting or running job per equal arguments; see Enqueue
}

// Handler is a kind with the function that does its work.
type Handler struct {
	spec
	timeout time.Duration
	work    func(ctx context.Context, args []byte) error
	dead    func(ctx context.Context, args []byte, reason error) error
}

// spec is what a row needs to know of its kind.
type spec struct {
	name     string
	queue    Queue
	attempts int
	unique   bool
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9_.]{1,126}$`)

func (k Kind[A]) spec() spec {
	s := spec{name: k.Name, queue: k.Queue, attempts: k.Attempts, unique: k.Unique}
	if s.queue == "" {
		s.queue = Light
	}
	if s.attempts <= 0 {
		s.attempts = defaultAttempts
	}
	return s
}

// Handle binds the kind to its work. An error of a kind that cannot succeed
// later (fault.Kind.Retry) ends the job at once; any other, and a panic, is
// tried again after a growing delay until the attempts are used up. Later is
// neither.
//
// onDead, which may be nil, is called when the job will not be tried again, with
// the reason, so that the noun it was about ends in a state that says why. Its
// own failure is retried until it succeeds; it is called once unless the process
// dies in the middle. The same holds for a job that is cancelled.
func (k Kind[A]) Handle(fn func(ctx context.Context, a A) error, onDead func(ctx context.Context, a A, reason error) error) Handler {
	h := Handler{spec: k.spec(), timeout: k.Timeout}
	if h.timeout <= 0 {
		h.timeout = defaultTimeout
	}
	decode := func(args []byte) (a A, err error) {
		if err := json.Unmarshal(args, &a); err != nil {
			return a, fault.New(fault.Invalid, "job %s: arguments: %w", k.Name, err)
		}
		return a, nil
	}
	h.work = func(ctx context.Context, args []byte) error {
		a, err := decode(args)
		if err != nil {
			return err
		}
		return fn(ctx, a)
	}
	h.dead = func(ctx context.Context, args []byte, reason error) error {
		a, err := decode(args)
		if onDead == nil || err != nil {
			return nil // arguments nobody can read: reason already says so
		}
		return onDead(ctx, a, reason)
	}
	return h
}

// Enqueue is the function Enqueue with the kind in front.
func (k Kind[A]) Enqueue(ctx context.Context, tx *db.Tx, c *Client, a A, opts ...Option) error {
	return Enqueue(ctx, c, tx, k, a, opts...)
}

// Later returned by a handler means: not an error, run again after d, without
// counting an attempt. It is how a job waits for the world.
func Later(d time.Duration) error { return &laterError{d} }

type laterError struct{ after time.Duration }

func (e *laterError) Error() string { return "run again after " + e.after.String() }

func asLater(err error) (time.Duration, bool) {
	var later *laterError
	if errors.As(err, &later) {
		return max(0, later.after), true
	}
	return 0, false
}
