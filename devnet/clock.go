package devnet

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/chain"
)

const (
	denseAdvance = 1024 // Advance by more than this leaves null rounds
	denseTail    = 64   // … but not in its last epochs
	headBuffer   = 64   // tipsets a subscriber may be behind
)

// Head returns the height of the newest tipset.
func (l *Ledger) Head() abi.ChainEpoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tipsets.head().Height
}

// HeadTipSet returns the newest tipset. It must not be changed.
func (l *Ledger) HeadTipSet() *chain.TipSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tipsets.head()
}

// Run makes one tipset each ledgerConfig.Epoch until ctx ends. With an epoch of
// zero it only waits: Advance is then the clock.
func (l *Ledger) Run(ctx context.Context) error {
	if l.epoch <= 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(l.epoch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			l.Advance(1)
		}
	}
}

// Advance moves the chain n epochs on, running everything that falls due. Up to
// 1024 epochs it makes each tipset; a longer jump has tipsets only where
// something happens and in its last 64 epochs, the rest are null rounds, so
// half a year passes in milliseconds. Callbacks of After and OnEpoch must not
// call it.
func (l *Ledger) Advance(n int64) {
	l.advancing.Lock()
	defer l.advancing.Unlock()
	head := l.Head()
	target := head + abi.ChainEpoch(n)
	for head < target {
		next := head + 1
		if n > denseAdvance && next < target-denseTail {
			next = min(target-denseTail, max(next, l.nextDue()))
		}
		l.tick(next)
		head = next
	}
}

// After runs fn once n epochs have passed, n < 1 meaning the next tipset. It
// runs on the goroutine that moves the chain, in order of epochs and, within
// one, of the calls to After; fn may use the ledger but not Advance.
func (l *Ledger) After(n int64, fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets++
	heap.Push(&l.timers, timer{at: l.tipsets.head().Height + abi.ChainEpoch(max(n, 1)), order: l.tickets, fn: fn})
}

// OnEpoch calls fn after each new tipset, on the goroutine that moves the
// chain, after its timers. Cancel does not wait for a call under way.
func (l *Ledger) OnEpoch(fn func(head abi.ChainEpoch)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets++
	n := l.tickets
	l.onEpoch[n] = fn
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.onEpoch, n)
	}
}

// follow gives the current head at once and then every new one. The channel is
// closed when the reader is 64 tipsets behind, so that nobody is told a chain
// with holes, and by cancel.
func (l *Ledger) follow() (changes <-chan []chain.HeadChange, cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets++
	n, ch := l.tickets, make(chan []chain.HeadChange, headBuffer)
	ch <- []chain.HeadChange{{Type: chain.HeadCurrent, Val: l.tipsets.head()}}
	l.heads[n] = ch
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.heads[n]; ok {
			delete(l.heads, n)
			close(ch)
		}
	}
}

// tick makes the tipset of a height and then runs what waited for it.
func (l *Ledger) tick(height abi.ChainEpoch) {
	l.mu.Lock()
	l.executePending()
	l.settle(height)
	ts := l.forge(height, l.tipsets.head())
	oldest := l.tipsets.append(ts)
	l.seal(ts, oldest)
	l.announce(ts)
	due := l.timers.pop(height)
	for _, n := range sortedKeys(l.onEpoch) {
		fn := l.onEpoch[n]
		due = append(due, func() { fn(height) })
	}
	l.mu.Unlock()
	for _, fn := range due {
		fn()
	}
}

func (l *Ledger) announce(ts *chain.TipSet) {
	change := []chain.HeadChange{{Type: chain.HeadApply, Val: ts}}
	for n, ch := range l.heads {
		select {
		case ch <- change:
		default:
			delete(l.heads, n)
			close(ch)
		}
	}
}

// nextDue returns the first epoch at which something happens by itself.
func (l *Ledger) nextDue() abi.ChainEpoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.market.nextDue()
	if len(l.timers) > 0 {
		next = min(next, l.timers[0].at)
	}
	return next
}

type timer struct {
	at    abi.ChainEpoch
	order uint64
	fn    func()
}

// timers is a heap, earliest first.
type timers []timer

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	return t[i].at < t[j].at || t[i].at == t[j].at && t[i].order < t[j].order
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)   { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	*t = (*t)[:last]
	return x
}

func (t *timers) pop(until abi.ChainEpoch) (due []func()) {
	for len(*t) > 0 && (*t)[0].at <= until {
		due = append(due, heap.Pop(t).(timer).fn)
	}
	return due
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
