package commp

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"time"
)

// Kernel returns the name of the kernel that hashes: "avx512", "shani", "avx2",
// "arm64" or "portable", which is crypto/sha256. It is the quickest of Kernels
// in a measurement of a millisecond or two at the first use, or the one that
// the environment's FIRTH_KERNEL names; a name this machine does not have
// changes nothing.
func Kernel() string { return chosen().name }

// Kernels returns the names of the kernels that this machine can run, the
// quickest first.
func Kernels() (names []string) {
	for _, r := range ranked() {
		if !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	return names
}

// timed is a kernel and how long it took for as much work as the others.
type timed struct {
	kernel
	took time.Duration
}

// ranked times every kernel of this machine, the quickest first.
var ranked = sync.OnceValue(func() []timed {
	all := append(available(), portable)
	out := make([]timed, 0, len(all))
	for _, k := range all {
		out = append(out, timed{k, measure(k)})
	}
	slices.SortStableFunc(out, func(a, b timed) int { return cmp.Compare(a.took, b.took) })
	return out
})

var chosen = sync.OnceValue(func() kernel { return choose(ranked(), os.Getenv("FIRTH_KERNEL")) })

// choose takes the quickest kernel of a name, or of all where none has it.
func choose(ranked []timed, name string) kernel {
	for _, r := range ranked {
		if r.name == name {
			return r.kernel
		}
	}
	return ranked[0].kernel
}

// measure times 64 nodes, which fill every kernel's lanes and the first-level
// cache of none. The best of many rounds counts: others may be using the
// processor, and wide vectors are slow to wake.
func measure(k kernel) time.Duration {
	const rounds, enough = 40, 300 * time.Microsecond
	var (
		src  = make([]byte, 64*2*nodeSize)
		dst  = make([]byte, 64*nodeSize)
		best = time.Hour
	)
	begin := time.Now()
	for i := 0; i < rounds && (i < 3 || time.Since(begin) < enough); i++ {
		start := time.Now()
		k.nodes(dst, src)
		best = min(best, time.Since(start))
	}
	return best
}
