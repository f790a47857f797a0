package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"text/tabwriter"
)

const (
	curveBytes = 256 * mib // of content at each point of the first curve
	mostFiles  = 1_000_000 // at the last point of the second
	tinyBytes  = 64        // of each file of it
)

// curves shows where a knee would be: throughput against the size of the files,
// and cost against their number.
func curves(rounds int, dir, plots string, w io.Writer) error {
	firth, err := build(dir)
	if err != nil {
		return err
	}
	c := curve{rounds: rounds, dir: dir, firth: firth, w: w}
	if err := c.bySize(plots); err != nil {
		return err
	}
	return c.byNumber(plots)
}

// curve measures `firth pack`, from its start to its end, over many trees.
type curve struct {
	rounds     int
	dir, firth string
	w          io.Writer
}

// bySize packs the same amount in files of each size.
func (c curve) bySize(plots string) error {
	cpu, wall := line{name: "a CPU-second"}, line{name: "a second"}
	fmt.Fprintln(c.w, "firth pack of 256 MiB in files of one size, MiB")
	tw := tabwriter.NewWriter(c.w, 0, 0, 2, ' ', 0)
	for size := int64(4 << 10); size <= curveBytes; size *= 4 {
		costs, err := c.measure(curveBytes/size, size)
		if err != nil {
			return err
		}
		x := float64(size)
		perCPU, perWall := median(rate(costs, cpuOf, mib)), median(rate(costs, wallOf, mib))
		cpu.points, wall.points = append(cpu.points, point{x, perCPU}), append(wall.points, point{x, perWall})
		fmt.Fprintf(tw, "%s\t%.0f /CPU-s\t%.0f /s\tpeak %.0f MiB\n", bytesLabel(x), perCPU, perWall, median(peaks(costs))/mib)
	}
	if err := tw.Flush(); err != nil || plots == "" {
		return err
	}
	return plot{title: "Throughput of firth pack, 256 MiB in files of one size", across: "size of a file", up: "MiB", step: 16,
		label: bytesLabel, lines: []line{cpu, wall}}.write(filepath.Join(plots, "pack-by-size.svg"))
}

// byNumber packs more and more tiny files.
func (c curve) byNumber(plots string) error {
	cpu, wall := line{name: "CPU time"}, line{name: "wall time"}
	fmt.Fprintln(c.w, "\nfirth pack of files of 64 bytes, microseconds a file")
	tw := tabwriter.NewWriter(c.w, 0, 0, 2, ' ', 0)
	for n := int64(1000); n <= mostFiles; n *= 10 {
		costs, err := c.measure(n, tinyBytes)
		if err != nil {
			return err
		}
		x := float64(n)
		perCPU, perWall := 1e6/median(rate(costs, cpuOf, tinyBytes)), 1e6/median(rate(costs, wallOf, tinyBytes))
		cpu.points, wall.points = append(cpu.points, point{x, perCPU}), append(wall.points, point{x, perWall})
		fmt.Fprintf(tw, "%d files\t%.1f CPU\t%.1f wall\tpeak %.0f MiB\n", n, perCPU, perWall, median(peaks(costs))/mib)
	}
	if err := tw.Flush(); err != nil || plots == "" {
		return err
	}
	return plot{title: "Cost of firth pack for each file of 64 bytes", across: "number of files", up: "microseconds a file", step: 10,
		label: countLabel, lines: []line{cpu, wall}}.write(filepath.Join(plots, "pack-by-number.svg"))
}

// measure packs n files of a size as often as there are rounds.
func (c curve) measure(n, size int64) (costs []cost, err error) {
	at := places{data: filepath.Join(c.dir, "curve-data"), own: filepath.Join(c.dir, "curve-own"), firth: c.firth}
	if err := manyFiles(at.data, n, size); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(at.data) }()
	for range c.rounds {
		one, err := measured("curves", subject{args: packing(n * size)}, at)
		if err != nil {
			return nil, err
		}
		costs = append(costs, one)
		if err := os.RemoveAll(at.own); err != nil {
			return nil, err
		}
	}
	return costs, nil
}

func countLabel(n float64) string { return fmt.Sprintf("10^%.0f", math.Log10(n)) }

func bytesLabel(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1024 {
			return fmt.Sprintf("%.4g %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.4g GiB", n)
}
