package block

import (
	"iter"
	"math/bits"
	"slices"
)

// mergeFanIn runs of one tier become a run of the next: each entry is written
// about log4(blocks / 128 Ki) times, and a search asks at most three filters a
// tier.
const mergeFanIn = 4

// sealEvery is how many entries a merge passes before it looks for sealed maps.
const sealEvery = 64 << 10

// tier is the level of a run; one of a single full map is in the first ones.
func (x *index) tier(r *run) int { return bits.Len(uint(r.count/max(1, x.limit/128))) / 2 }

// mergeable returns how many of the newest runs should become one; 0 for none.
func (x *index) mergeable(runs []*run) int {
	for t := 0; t < 32; t++ {
		n := 0
		for n < len(runs) && x.tier(runs[n]) <= t {
			n++
		}
		if n >= mergeFanIn {
			return n
		}
		if n == len(runs) {
			break
		}
	}
	return 0
}

// merge joins runs if some are due, and reports whether it did.
func (x *index) merge() bool {
	runs := x.runs
	n := x.mergeable(runs)
	x.mu.RLock()
	closing := x.closing
	x.mu.RUnlock()
	if n == 0 || closing {
		return false
	}
	bottom := x.ordered && n == len(runs)
	total := 0
	sources := make([]iter.Seq2[entry, error], n)
	for i, r := range runs[:n] {
		total += r.count
		sources[i] = r.all()
	}
	live := func(yield func(entry, error) bool) {
		seen := 0
		for e, err := range x.join(sources) {
			if seen++; seen%sealEvery == 0 { // a long merge does not keep writers waiting
				x.sealAll()
			}
			if err == nil && bottom && e.has(dead) { // nothing is left beneath for it to hide
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
	r, err := writeRun(x.fs, x.runName(), total, live)
	if err != nil {
		x.log.Warn("index runs not merged", "err", err)
		return false
	}
	merged := slices.Concat(x.runs[:len(x.runs)-len(runs)], []*run{r}, runs[n:])
	if err := x.publish(names(merged), x.state); err != nil {
		x.log.Warn("index runs not merged", "err", err)
		x.discard([]*run{r})
		return false
	}
	x.mu.Lock()
	x.runs = merged
	x.mu.Unlock()
	x.discard(runs[:n])
	return true
}

// all yields the entry that holds for each key, tombstones too, in key order.
// It sees the index as it was when it began.
func (x *index) all() iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		x.mu.RLock()
		runs := x.runs
		sources := make([]iter.Seq2[entry, error], 0, len(runs)+1+len(x.sealing))
		sources = append(sources, sortedEntries(x.mem))
		for _, s := range slices.Backward(x.sealing) {
			sources = append(sources, sortedEntries(s.mem))
		}
		x.mu.RUnlock()
		for _, r := range runs {
			sources = append(sources, r.all())
		}
		x.join(sources)(yield)
	}
}

// sortedEntries copies a map, which may change afterwards, into key order.
func sortedEntries(m map[key]loc) iter.Seq2[entry, error] {
	es := make([]entry, 0, len(m))
	for k, l := range m {
		es = append(es, entry{key: k, loc: l})
	}
	slices.SortFunc(es, compareEntries)
	return func(yield func(entry, error) bool) {
		for _, e := range es {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// join merges sources in key order, newest source first; of equal keys the
// newest one remains, the newer source's when neither outranks the other.
func (x *index) join(sources []iter.Seq2[entry, error]) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		heads := make([]*head, 0, len(sources))
		defer func() {
			for _, h := range heads {
				h.stop()
			}
		}()
		for _, s := range sources {
			next, stop := iter.Pull2(s)
			h := &head{next: next, stop: stop}
			if h.advance() {
				heads = append(heads, h)
			}
		}
		for len(heads) > 0 {
			least := heads[0]
			for _, h := range heads[1:] {
				if h.err != nil {
					least = h
				} else if least.err == nil {
					if c := compareEntries(h.e, least.e); c < 0 || (c == 0 && x.newer(h.e, least.e)) {
						least = h
					}
				}
			}
			if least.err != nil {
				yield(entry{}, x.report(least.err))
				return
			}
			if !yield(least.e, nil) {
				return
			}
			heads = pass(heads, least.e.key)
		}
	}
}

// head is the first entry of a source that is not yielded yet.
type head struct {
	e    entry
	err  error
	next func() (entry, error, bool)
	stop func()
}

func (h *head) advance() (ok bool) {
	h.e, h.err, ok = h.next()
	return ok
}

// pass moves all heads beyond a key and drops those at their end.
func pass(heads []*head, k key) []*head {
	return slices.DeleteFunc(heads, func(h *head) bool {
		return h.e.key == k && h.err == nil && !h.advance()
	})
}
