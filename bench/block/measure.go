package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	blocks "github.com/ipfs/go-block-format"
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

func reads(ctx context.Context, s subject, bs []blocks.Block, l load, seed uint64) (cost, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	return measure(l.reads, func() error {
		for range l.reads {
			n, err := s.get(ctx, bs[rng.IntN(len(bs))].Cid())
			if err != nil {
				return err
			}
			if n != l.size {
				return fmt.Errorf("read %d bytes, want %d", n, l.size)
			}
		}
		return nil
	})
}

// table holds the costs of each subject by round.
type table struct {
	names       []string
	write, read map[string][]cost
}

func (t *table) add(name string, w, r cost) {
	if t.write == nil {
		t.write, t.read = map[string][]cost{}, map[string][]cost{}
	}
	if !slices.Contains(t.names, name) {
		t.names = append(t.names, name)
	}
	t.write[name] = append(t.write[name], w)
	t.read[name] = append(t.read[name], r)
}

func (t *table) print(w io.Writer, l load) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(tw, "%s\twrite/s\tratio\twrite/CPU-s\tratio\tread/s\tratio\tread/CPU-s\tratio\t\n", l.name)
	for _, name := range t.names {
		_, _ = fmt.Fprintf(tw, "%s\t", name)
		for _, costs := range []map[string][]cost{t.write, t.read} {
			for _, rate := range []func(cost) float64{cost.perWall, cost.perCPU} {
				ours, theirs := rates(costs[t.names[0]], rate), rates(costs[name], rate)
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
