// Command block compares Firth's block store, synced, with the stores that
// other IPFS nodes use, not synced (their defaults), in one run: rounds of all
// subjects in turn, medians, and ratios of the pairs of each round.
//
//	go run ./bench/block
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// load is one shape of work: batches of blocks, then each of them read in the
// order they came (as when they are packed), then random reads.
type load struct {
	name                        string
	size, batch, batches, reads int // bytes; blocks; a round; a round
}

var loads = []load{
	{name: "1 MiB x 8", size: 1 << 20, batch: 8, batches: 16, reads: 256},
	{name: "4 KiB x 512", size: 4 << 10, batch: 512, batches: 40, reads: 10_000},
}

func main() {
	rounds := flag.Int("rounds", 7, "rounds; the figures are medians over them")
	dir := flag.String("dir", "", "where the stores are made; a temporary folder when empty")
	flag.Parse()
	if err := run(context.Background(), *dir, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "block:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, rounds int) error {
	tmp, err := os.MkdirTemp(dir, "firth-bench-block-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	fmt.Printf("%d rounds, medians; rates in blocks a second; ratios are ours to theirs in the same round, more is better\n\n", rounds)
	for i, l := range loads {
		t, err := compare(ctx, filepath.Join(tmp, fmt.Sprint(i)), l, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		t.print(os.Stdout, l)
	}
	return nil
}

// compare runs the rounds of one load.
func compare(ctx context.Context, dir string, l load, rounds int) (table, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return table{}, err
	}
	ss, err := subjects(ctx, dir)
	if err != nil {
		return table{}, err
	}
	t := table{}
	for r := range rounds {
		bs := blocksOf(uint64(r), l)
		for i := range ss {
			s := ss[(i+r)%len(ss)] // nobody is always the first
			w, err := writes(ctx, s, bs, l)
			if err != nil {
				return t, fmt.Errorf("%s: %w", s.name, err)
			}
			first, err := reads(ctx, s, inOrder(bs), l)
			if err != nil {
				return t, fmt.Errorf("%s: %w", s.name, err)
			}
			again, err := reads(ctx, s, atRandom(bs, l.reads, uint64(r)), l)
			if err != nil {
				return t, fmt.Errorf("%s: %w", s.name, err)
			}
			t.add(s.name, w, first, again)
		}
	}
	for _, s := range ss {
		if err := s.close(); err != nil {
			return t, fmt.Errorf("close %s: %w", s.name, err)
		}
	}
	return t, nil
}

// settle writes out what an unsynced store left, so that it does not land in
// the next one's time.
func settle() { syscall.Sync() }
