package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// hold runs the rounds of a contest and prints its table.
func hold(c contest, rounds int, dir string, w io.Writer) error {
	costs, err := race(c, rounds, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %s; medians of %d rounds\n", c.name, c.title, rounds)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\t%s/CPU-s\tCPU ratio (spread)\t%s/s\twall ratio (spread)\tpeak MiB\t\n", c.unit, c.unit)
	for i, s := range c.subjects {
		cpu, wall := rate(costs[i], cpuOf, c.per), rate(costs[i], wallOf, c.per)
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%.0f\t\n", s.name,
			figure(median(cpu)), ratio(rate(costs[0], cpuOf, c.per), cpu), figure(median(wall)), ratio(rate(costs[0], wallOf, c.per), wall),
			median(peaks(costs[i]))/(1<<20))
	}
	fmt.Fprintln(tw)
	return tw.Flush()
}

// race returns the costs of each subject by round.
func race(c contest, rounds int, dir string) ([][]cost, error) {
	costs := make([][]cost, len(c.subjects))
	at := places{data: filepath.Join(dir, c.name)}
	defer func() { _ = os.RemoveAll(at.data) }()
	if err := made(c, &at, dir); err != nil {
		return nil, err
	}
	for r := range rounds {
		for i := range c.subjects {
			i = (i + r) % len(c.subjects) // nobody is always the first
			s := c.subjects[i]
			at.own = filepath.Join(dir, fmt.Sprintf("%s-%d", c.name, i))
			if err := os.MkdirAll(at.own, 0o755); err != nil {
				return nil, err
			}
			one, err := measured(c.name, s, at)
			if err != nil {
				return nil, err
			}
			costs[i] = append(costs[i], one)
			if err := os.RemoveAll(at.own); err != nil {
				return nil, err
			}
		}
	}
	return costs, nil
}

// made gets a contest's data ready, and the program when it is wanted.
func made(c contest, at *places, dir string) (err error) {
	if err := os.MkdirAll(at.data, 0o755); err != nil {
		return err
	}
	if c.data != nil {
		if err := c.data(at.data); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(c.subjects, func(s subject) bool { return s.args != nil || s.serve != nil }) {
		at.firth, err = build(dir)
	}
	return err
}

func cpuOf(c cost) float64  { return c.CPU.Seconds() }
func wallOf(c cost) float64 { return c.Wall.Seconds() }

func rate(cs []cost, seconds func(cost) float64, per float64) (out []float64) {
	for _, c := range cs {
		out = append(out, float64(c.Amount)/per/seconds(c))
	}
	return out
}

func peaks(cs []cost) (out []float64) {
	for _, c := range cs {
		out = append(out, float64(c.Peak))
	}
	return out
}

// ratio is how many times as much the first does as this one, round by round.
func ratio(first, this []float64) string {
	all := make([]float64, len(first))
	for i := range first {
		all[i] = first[i] / this[i]
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(all), slices.Min(all), slices.Max(all))
}

func figure(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return (xs[len(xs)/2] + xs[(len(xs)-1)/2]) / 2
}
