package chain

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"
)

const (
	bridgeTipSets = 128 // how far Follow walks back to close a gap
	recentTipSets = 128 // how far it remembers, to find where a fork began
)

// followTimes are how long Follow waits for what.
type followTimes struct {
	pollMin, pollMax   time.Duration // between two questions for the head
	retryMin, retryMax time.Duration // after trouble
	socketAgain        time.Duration // until a refused websocket is tried again
}

func defaultFollowTimes() followTimes {
	return followTimes{
		pollMin: 500 * time.Millisecond, pollMax: 15 * time.Second,
		retryMin: 250 * time.Millisecond, retryMax: 30 * time.Second,
		socketAgain: 10 * time.Minute,
	}
}

// Follow yields the changes of the chain's head until ctx ends or the caller
// stops. The first is "current"; from then on each "apply" has the tipset before
// it as parents, and a fork is told as "revert"s from the top down and "apply"s
// from the bottom up. After a lost connection it goes on where it was; a gap of
// more than 128 tipsets, or one the node cannot fill, is told as a fresh
// "current": what happened in between the caller has to ask for.
//
// Changes come by ChainNotify over a websocket; from a node that refuses it, by
// asking for the head. Trouble is yielded as an error (Unavailable, with no
// change), after which Follow tries again with growing pauses for as long as the
// caller goes on. A caller that is slow is caught up later, nothing is buffered.
func (c *Client) Follow(ctx context.Context) iter.Seq2[HeadChange, error] {
	return func(yield func(HeadChange, error) bool) {
		f := &follower{client: c, yield: yield}
		for attempt := 0; ctx.Err() == nil; attempt++ {
			told := f.told
			err := c.notify(ctx, func(changes []HeadChange) bool { return f.take(ctx, changes) })
			if errors.Is(err, errRefused) && !f.stopped {
				err = f.poll(ctx)
			}
			if f.stopped || ctx.Err() != nil {
				return
			}
			if f.told > told {
				attempt = 0
			}
			if err != nil && !yield(HeadChange{}, err) {
				return
			}
			if err != nil {
				pause(ctx, backOff(c.follow.retryMin, c.follow.retryMax, attempt))
			}
		}
	}
}

// follower turns heads, as they come from either way, into an unbroken story.
type follower struct {
	client  *Client
	yield   func(HeadChange, error) bool
	recent  []*TipSet // the top of the chain as told, ascending
	told    int
	stopped bool
}

// poll asks for the head until the time to try the websocket again or trouble.
// The pace follows the chain's: faster after a new head, slower after none.
func (f *follower) poll(ctx context.Context) error {
	times := f.client.follow
	every, until := times.pollMin, time.Now().Add(times.socketAgain)
	for time.Now().Before(until) {
		head, err := f.client.Head(ctx)
		if err != nil {
			return err
		}
		told := f.told
		if !f.advance(ctx, head) {
			return nil
		}
		if every = every * 3 / 2; f.told > told {
			every /= 2
		}
		every = min(max(every, times.pollMin), times.pollMax)
		if !pause(ctx, every) {
			return ctx.Err()
		}
	}
	return nil
}

// take handles one notification; false when the caller has stopped.
func (f *follower) take(ctx context.Context, changes []HeadChange) bool {
	for _, ch := range changes {
		if err := ch.Val.check(); err != nil {
			f.stopped = !f.yield(HeadChange{}, err)
		} else if ch.Type == HeadRevert {
			f.revert(ch.Val)
		} else {
			f.advance(ctx, ch.Val)
		}
		if f.stopped {
			return false
		}
	}
	return true
}

// revert tells one only of the top: of any other the next head tells the rest.
func (f *follower) revert(ts *TipSet) {
	if n := len(f.recent); n > 0 && f.recent[n-1].Key().Equal(ts.Key()) {
		f.recent = f.recent[:n-1]
		f.tell(HeadRevert, ts)
	}
}

// advance makes ts the head that was told; false when the caller has stopped. A
// head that was passed already comes from a node that lags and is left out.
func (f *follower) advance(ctx context.Context, ts *TipSet) bool {
	if f.place(ts.Key()) >= 0 {
		return !f.stopped
	}
	path, fork := f.bridge(ctx, ts)
	if fork < 0 {
		f.recent = []*TipSet{ts}
		return f.tell(HeadCurrent, ts)
	}
	for n := len(f.recent); n > fork+1 && !f.stopped; n-- {
		f.revert(f.recent[n-1])
	}
	for i := len(path) - 1; i >= 0 && !f.stopped; i-- {
		f.recent = append(f.recent, path[i])
		f.tell(HeadApply, path[i])
	}
	if extra := len(f.recent) - recentTipSets; extra > 0 {
		f.recent = append([]*TipSet(nil), f.recent[extra:]...)
	}
	return !f.stopped
}

// bridge walks from ts back to a tipset that was told: the path, from the top
// down, and the place of the one it stands on; -1 when there is none in reach.
func (f *follower) bridge(ctx context.Context, ts *TipSet) (path []*TipSet, fork int) {
	for len(f.recent) > 0 && len(path) < bridgeTipSets {
		path = append(path, ts)
		if fork := f.place(ts.Parents()); fork >= 0 {
			return path, fork
		}
		if ts.Height <= f.recent[0].Height || len(ts.Parents()) == 0 {
			break
		}
		before, err := f.client.TipSet(ctx, ts.Parents())
		if err != nil || before.Height >= ts.Height {
			break
		}
		ts = before
	}
	return nil, -1
}

func (f *follower) place(key TipSetKey) int {
	for i := len(f.recent) - 1; i >= 0; i-- {
		if f.recent[i].Key().Equal(key) {
			return i
		}
	}
	return -1
}

func (f *follower) tell(kind string, ts *TipSet) bool {
	f.told++
	f.stopped = f.stopped || !f.yield(HeadChange{Type: kind, Val: ts}, nil)
	return !f.stopped
}

// backOff doubles from low to high and takes up to a fifth off, so that many
// clients do not come back at once.
func backOff(low, high time.Duration, attempt int) time.Duration {
	d := min(high, low<<min(attempt, 16))
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

// pause returns false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
