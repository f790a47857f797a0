package sha256x

import (
	"crypto/sha256"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"
)

// maxLanes is the most messages a kernel hashes side by side.
const maxLanes = 16

// states holds the SHA-256 states of all lanes, in an order that is the
// kernel's.
type states [8 * maxLanes]uint32

// addresses holds where each lane's next block is.
type addresses [maxLanes]unsafe.Pointer

// kernel hashes blocks of several messages side by side.
type kernel struct {
	name  string
	lanes int
	// Word w of lane l stands at w*word+l*lane in states.
	word, lane int
	// blocks hashes n blocks of 64 bytes in every lane, those of lane l from
	// at[l]. All lanes are hashed: an idle one points to bytes of another. Nil
	// stands for crypto/sha256.
	blocks func(state *states, at *addresses, n int)
}

// portable runs on crypto/sha256, one message after the other, and is what
// other kernels are held to.
func portable() *kernel { return &kernel{name: "portable", lanes: 1} }

// cost is how long a kernel took to hash as many blocks as all are measured
// with, in every lane.
type cost struct {
	*kernel
	took time.Duration
}

// ranked lists the kernels of this machine, the quickest first.
var ranked = sync.OnceValue(func() []cost {
	var costs []cost
	for _, k := range append(available(), portable()) {
		costs = append(costs, cost{k, measure(k)})
	}
	slices.SortStableFunc(costs, func(a, b cost) int {
		return int(a.took)*b.lanes - int(b.took)*a.lanes
	})
	return costs
})

// measure times a kernel with all its lanes busy in the first-level cache. The
// best of several rounds counts, and the first wakes the vector unit.
func measure(k *kernel) time.Duration {
	const blocks, rounds, enough = 8, 64, 200 * time.Microsecond
	var (
		b    = newBatch()
		text [64 * blocks]byte
		best = time.Hour
	)
	for l := range b.at {
		b.at[l] = unsafe.Pointer(&text)
	}
	begin := time.Now()
	for round := 0; round < rounds && (round < 3 || time.Since(begin) < enough); round++ {
		start := time.Now()
		if k.blocks == nil {
			sha256.Sum256(text[:len(text)-64]) // as many blocks, with the padding
		} else {
			k.blocks(&b.state, &b.at, blocks)
		}
		best = min(best, time.Since(start))
	}
	return best
}

// choice says which kernel to use for a number of messages that are left, from
// 1 to maxLanes or more.
type choice [maxLanes + 1]*kernel

var chosen = sync.OnceValue(func() *choice { return choose(ranked(), os.Getenv("FIRTH_KERNEL")) })

// choose finds the quickest kernel for every number of messages. Where one is
// forced, it gets all that are more than one.
func choose(costs []cost, forced string) *choice {
	if i := slices.IndexFunc(costs, func(c cost) bool { return c.name == forced }); i >= 0 {
		costs = costs[i : i+1]
	}
	c := &choice{1: portable()}
	for n := 2; n <= maxLanes; n++ {
		quickest := slices.MinFunc(costs, func(a, b cost) int {
			return int(a.took)*turns(n, a.lanes) - int(b.took)*turns(n, b.lanes)
		})
		c[n] = quickest.kernel
	}
	return c
}

// turns is how often a kernel has to run for every one of n messages to move.
func turns(n, lanes int) int { return (n + lanes - 1) / lanes }
