package pack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

// TestAnythingAtAnyTime makes up trees and settings, and lets files change,
// sources fail and runs be cut off at random, until a run comes through. It has
// to make what a quiet run makes of the files that were not skipped, and only
// files that were tampered with may be.
func TestAnythingAtAnyTime(t *testing.T) {
	rounds := uint64(40)
	if os.Getenv("FIRTH_TEST_LONG") != "" {
		rounds = 3000
	}
	for seed := range rounds {
		disturbedRun(t, seed)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func disturbedRun(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	w := &world{}
	for i := range 1 + rng.IntN(30) {
		n := rng.IntN(3000)
		if rng.IntN(5) == 0 {
			n = rng.IntN(60_000)
		}
		data := noise(seed<<8+uint64(rng.IntN(1+i)), n) // some begin alike
		w.put(fmt.Sprintf("%d/%02d", i%3, i), data)
	}
	quiet := &world{files: w.files, versions: map[string]int{}}
	entries := w.entries()
	j := tinyJob(t, w, entries)
	j.Workers, j.Readers, j.NoDedup = 1+rng.IntN(4), rng.IntN(3), rng.IntN(4) == 0
	j.Checkpoint = int64(1000 + rng.IntN(40_000))
	batch := 1100 + rng.IntN(9000)
	given := slices.Clone(entries)
	if rng.IntN(2) == 0 {
		j.Export = workDir(t)
		for i := range given {
			if e := &given[i]; rng.IntN(3) == 0 {
				e.ID, e.Size, e.Length = "stream"+e.ID, e.Size+rng.Int64N(4000), -1
			}
		}
	}
	j.Entries = listed(given)
	tampered := map[string]bool{}
	w.files = map[string][]byte{}
	for path, data := range quiet.files {
		w.files[path] = data
	}
	var cancel context.CancelFunc
	var mu sync.Mutex
	w.before = func(string, int64) error {
		mu.Lock()
		defer mu.Unlock()
		switch rng.IntN(150) {
		case 0:
			path := entries[rng.IntN(len(entries))].Path
			tampered[path] = true
			w.replace(path, nil)
		case 1:
			return fault.New(fault.Unavailable, "slow down")
		case 2:
			cancel()
		}
		return nil
	}
	j.Open = &flowing{world: w, fail: w.before}
	var m Made
	for tries := 0; ; tries++ {
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		var err error
		m, err = run(ctx, j, batch)
		cancel()
		if err == nil {
			break
		}
		if !fault.Is(err, fault.Unavailable) || tries > 300 {
			t.Fatalf("try %d: %v", tries, err)
		}
	}
	w.before = nil
	out := gather(t, m.Outcomes)
	var left []Entry
	for i, o := range out {
		if o.Skipped == "" {
			left = append(left, entries[i])
		} else if !tampered[entries[i].Path] {
			t.Fatalf("%q was left alone and is skipped: %s", entries[i].Path, o.Skipped)
		}
	}
	plain := quiet.job(t, left)
	plain.Settings = j.Settings
	want, err := Run(t.Context(), plain)
	must(t, err)
	if len(out) != len(entries) || m.Piece != want.Piece || m.Files != want.Files || m.Bytes != want.Bytes || m.Blocks != want.Blocks ||
		m.Skipped != int64(len(entries)-len(left)) {
		t.Fatalf("%+v\nwant %+v", m, want)
	}
	want.CAR = m.CAR // must be the CAR of want, too
	quiet.judge(t, want, 0)
	if m.CAR == "" {
		quiet.judge(t, m, 0)
	}
	onlyCAR(t, j.Export)
	kept := slices.DeleteFunc(slices.Clone(out), func(o Outcome) bool { return o.Skipped != "" })
	for i, o := range gather(t, want.Outcomes) {
		o.Entry = kept[i].Entry
		if fmt.Sprint(o) != fmt.Sprint(kept[i]) {
			t.Fatalf("outcome %+v, want %+v", kept[i], o)
		}
	}
}
