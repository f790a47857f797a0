package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
)

// cost is what some number of blocks took.
type cost struct {
	n         int
	wall, cpu time.Duration
}

func (c cost) perWall() float64 { return float64(c.n) / c.wall.Seconds() }
func (c cost) perCPU() float64  { return float64(c.n) / c.cpu.Seconds() }

// measure takes the wall and processor time (of the whole process: a store's
// own goroutines too) of fn.
func measure(n int, fn func() error) (cost, error) {
	runtime.GC()
	settle()
	cpu, start := cpuTime(), time.Now()
	err := fn()
	return cost{n: n, wall: time.Since(start), cpu: cpuTime() - cpu}, err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a wrong argument makes it fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func writes(ctx context.Context, s subject, bs []blocks.Block, l load) (cost, error) {
	return measure(len(bs), func() error {
		for batch := range slices.Chunk(bs, l.batch) {
			if err := s.put(ctx, batch); err != nil {
				return err
			}
		}
		return nil
	})
}

func inOrder(bs []blocks.Block) iter.Seq[cid.Cid] {
	return func(yield func(cid.Cid) bool) {
		for _, b := range bs {
			if !yield(b.Cid()) {
				return
			}
		}
	}
}

func atRandom(bs []blocks.Block, n int, seed uint64) iter.Seq[cid.Cid] {
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(yield func(cid.Cid) bool) {
		for range n {
			if !yield(bs[rng.IntN(len(bs))].Cid()) {
				return
			}
		}
	}
}

func reads(ctx context.Context, s subject, cids iter.Seq[cid.Cid], l load) (cost, error) {
	total := 0
	c, err := measure(0, func() error {
		for c := range cids {
			total++
			n, err := s.get(ctx, c)
			if err != nil {
				return err
			}
			if n != l.size {
				return fmt.Errorf("read %d bytes, want %d", n, l.size)
			}
		}
		return nil
	})
	c.n = total
	return c, err
}

// table holds the costs of each subject by round.
type table struct {
	names []string
	costs map[string][kinds][]cost
}

const kinds = 3 // writing, reading in order for the first time, reading at random

func (t *table) add(name string, round ...cost) {
	if t.costs == nil {
		t.costs = map[string][kinds][]cost{}
	}
	if !slices.Contains(t.names, name) {
		t.names = append(t.names, name)
	}
	all := t.costs[name]
	for k, c := range round {
		all[k] = append(all[k], c)
	}
	t.costs[name] = all
}

func (t *table) print(w io.Writer, l load) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(tw, "%s\twrite/s\tratio\t/CPU-s\tratio\tfirst read/s\tratio\t/CPU-s\tratio\trandom read/s\tratio\t/CPU-s\tratio\t\n", l.name)
	for _, name := range t.names {
		_, _ = fmt.Fprintf(tw, "%s\t", name)
		for k := range kinds {
			for _, rate := range []func(cost) float64{cost.perWall, cost.perCPU} {
				ours, theirs := rates(t.costs[t.names[0]][k], rate), rates(t.costs[name][k], rate)
				ratio := make([]float64, len(ours))
				for i := range ours {
					ratio[i] = ours[i] / theirs[i]
				}
				_, _ = fmt.Fprintf(tw, "%.0f\t%.1f\t", median(theirs), median(ratio))
			}
		}
		_, _ = fmt.Fprintln(tw)
	}
	_, _ = fmt.Fprintln(tw)
	_ = tw.Flush() // a terminal that is gone wants no figures
}

func rates(cs []cost, rate func(cost) float64) []float64 {
	out := make([]float64, len(cs))
	for i, c := range cs {
		out[i] = rate(c)
	}
	return out
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return (xs[len(xs)/2] + xs[(len(xs)-1)/2]) / 2
}
