package source

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// maxStuck is how many calls to the system that never came back one source has
// at most, beside those that are waited for: each holds a thread, and up to
// guardBytes of memory. Beyond it nothing more is asked until one comes back.
const maxStuck = 32

// guardBytes is how much is read in one call, and so how much must come within
// the limit of a stall.
const guardBytes = 1 << 20

// guard makes calls that may never return: reads of a mount whose server is
// gone. Who asks gets an answer within the limit; the call itself is left alone.
type guard struct {
	limit time.Duration
	stuck atomic.Int64
	spare sync.Pool // of *[]byte, guardBytes each
}

// do runs call, and fails if it does not come back in time or is not made. It may
// then still run: nothing that it touches is the caller's any more. end runs once,
// when call is over or will not be; late says that the caller has left.
func (g *guard) do(ctx context.Context, call func(), end func(late bool)) error {
	if n := g.stuck.Load(); n >= maxStuck {
		end(false)
		return fault.New(fault.Unavailable, "%d earlier calls had no answer: a mount whose server is gone, perhaps", n)
	}
	var claimed atomic.Bool // by whoever is first: the call that is back, or the caller who leaves
	back := make(chan struct{})
	go func() {
		call()
		if claimed.CompareAndSwap(false, true) {
			close(back)
			return
		}
		end(true)
		g.stuck.Add(-1)
	}()
	limit := time.NewTimer(g.limit)
	defer limit.Stop()
	var why error
	select {
	case <-back:
		end(false)
		return nil
	case <-ctx.Done():
		why = ctx.Err()
	case <-limit.C:
		why = fault.New(fault.Unavailable, "no answer for %s: a mount whose server is gone, perhaps", g.limit)
	}
	g.stuck.Add(1)
	if claimed.CompareAndSwap(false, true) {
		return why
	}
	g.stuck.Add(-1)
	<-back
	end(false)
	return nil
}
