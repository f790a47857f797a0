package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// leanEvery is how often a running packer becomes lean again.
	leanEvery = 100 * time.Millisecond
	// packerHeap is how much memory of Go a packer has before garbage is collected
	// sooner than it would be; the buffers of files are beside it.
	packerHeap = 40 << 20
)

// lean keeps the memory of a packer small while it runs: what only the start
// needed is given back at once, and what it returns keeps at it until ctx ends.
// What cannot be given back stays.
func lean() (stay func(context.Context) error) {
	limited := os.Getenv("GOMEMLIMIT") != "" // somebody knows better
	before := debug.SetMemoryLimit(-1)
	if !limited {
		debug.SetMemoryLimit(packerHeap)
	}
	debug.FreeOSMemory() // garbage of the migrations
	clean := cleanPages()
	giveBack(clean)
	return func(ctx context.Context) error {
		defer debug.SetMemoryLimit(before) // a process may do more than pack
		tick := time.NewTicker(leanEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				giveBack(clean)
				if !limited {
					makeRoom()
				}
			}
		}
	}
}

// makeRoom moves the limit away from a heap that needs more: there, collecting
// would be all that is done.
func makeRoom() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	need := max(packerHeap, 2*int64(live[0].Value.Uint64()))
	if now := debug.SetMemoryLimit(-1); need > now || need < now/2 {
		debug.SetMemoryLimit(need)
	}
}
