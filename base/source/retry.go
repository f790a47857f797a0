package source

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// Longest wait between two tries, and longest that a server's Retry-After is
// believed.
const (
	maxWait       = 30 * time.Second
	maxRetryAfter = 2 * time.Minute
)

// throttled carries the wait a server asked for.
type throttled struct {
	error
	after time.Duration
}

func (t throttled) Unwrap() error { return t.error }

// try does op, again while it ends as Unavailable and retries are left.
func (s settings) try(ctx context.Context, op func() error) error {
	for attempt := 0; ; attempt++ {
		err := op()
		if err == nil && attempt > 0 {
			tellWait(ctx, Wait{})
		}
		if err == nil || !again(ctx, err) {
			return err
		}
		if attempt >= s.retries {
			return s.exhausted(err)
		}
		if err := s.pause(ctx, attempt, err); err != nil {
			return err
		}
	}
}

// again reports whether the same request may succeed later.
func again(ctx context.Context, err error) bool {
	return ctx.Err() == nil && fault.Is(err, fault.Unavailable)
}

func (s settings) exhausted(err error) error {
	return fault.New(fault.Unavailable, "given up after %d tries: %w", s.retries+1, err)
}

// pause waits before the next try: twice as long each time, a random half of
// it, and at least what the server asked for.
func (s settings) pause(ctx context.Context, attempt int, cause error) error {
	wait := min(s.wait<<min(attempt, 16), maxWait)
	wait = wait/2 + rand.N(wait/2+1)
	var t throttled
	if errors.As(cause, &t) {
		wait = max(wait, min(t.after, maxRetryAfter))
	}
	tellWait(ctx, Wait{Reason: cause, Tried: attempt + 1, Of: s.retries + 1, Next: time.Now().Add(wait)})
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
