package pack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

// tiny is a profile in which a few kilobytes are a large file.
func tiny() Settings {
	s := Settings{Profile: profile, MaxPadded: 1 << 22, Checkpoint: 9000, Workers: 3}
	s.Profile.ChunkSize, s.Profile.MaxLinks = 1000, 3
	return s
}

const tinyBatch = 4100

// tinyWorld has files within batches, over batches, and over checkpoints, with
// duplicates in and between them.
func tinyWorld() *world {
	w := &world{}
	for i, n := range []int{10, 999, 1000, 1001, 2500, 12_000, 30_500, 0, 3, 5000, 64_000, 100, 7000} {
		w.put(fmt.Sprintf("f%02d", i), noise(uint64(i), n))
	}
	w.put("f05again", w.files["f05"][2000:9000])
	w.put("f10again", slices.Clone(w.files["f10"]))
	return w
}

func tinyJob(tb testing.TB, w *world, entries []Entry) Job {
	j := w.job(tb, entries)
	j.Settings = tiny()
	return j
}

// TestResume cuts a run off at every turn, one after the other, and lets it go
// on in the same directory until it is through.
func TestResume(t *testing.T) {
	w := tinyWorld()
	entries := w.entries()
	whole := ok(run(t.Context(), tinyJob(t, w, entries), tinyBatch))(t)
	w.judge(t, whole, 0)
	for _, export := range []bool{false, true} {
		j := tinyJob(t, w, entries)
		if export {
			j.Export = t.TempDir()
		}
		cuts := 0
		for every := 1; ; every++ {
			ctx, cancel := context.WithCancel(t.Context())
			turns := 0
			j.Progress = func(int64, int64) {
				if turns++; turns == 2 {
					cancel()
				}
			}
			m, err := run(ctx, j, tinyBatch)
			cancel()
			if err != nil {
				if !fault.Is(err, fault.Unavailable) {
					t.Fatal(err)
				}
				if cuts++; cuts > 200 {
					t.Fatal("the run does not come forward")
				}
				continue
			}
			if m.Piece != whole.Piece || m.Blocks != whole.Blocks || m.Files != whole.Files || m.Bytes != whole.Bytes {
				t.Fatalf("after %d cuts %+v, want %+v", cuts, m, whole)
			}
			w.judge(t, m, 0)
			sameOutcomes(t, m, whole)
			again := ok(run(t.Context(), j, tinyBatch))(t)
			if again.Piece != m.Piece || again.CAR != m.CAR {
				t.Fatalf("a finished run made %+v, then %+v", m, again)
			}
			break
		}
		if cuts < 8 {
			t.Fatalf("cut %d times only", cuts)
		}
		onlyCAR(t, j.Export)
	}
}

func sameOutcomes(tb testing.TB, a, b Made) {
	tb.Helper()
	x, y := gather(tb, a.Outcomes), gather(tb, b.Outcomes)
	if fmt.Sprint(x) != fmt.Sprint(y) {
		tb.Fatalf("outcomes\n%v\nwant\n%v", x, y)
	}
}

// onlyCAR demands that a directory holds finished CARs only.
func onlyCAR(tb testing.TB, dir string) {
	tb.Helper()
	if dir == "" {
		return
	}
	for _, e := range ok(os.ReadDir(dir))(tb) {
		if !strings.HasSuffix(e.Name(), ".car") {
			tb.Fatalf("%s was left behind", e.Name())
		}
	}
}

func TestAnotherJobStartsOver(t *testing.T) {
	w := tinyWorld()
	entries := w.entries()
	for _, change := range []func(j *Job){
		func(j *Job) { j.NoDedup = true },
		func(j *Job) { j.Entries = listed(entries[1:]) },
		func(j *Job) { j.Entries = listed(entries[:9]) },
		func(j *Job) { j.MinPadded = 1 << 20 },
	} {
		j := tinyJob(t, w, entries)
		for range 2 { // the first time half of it is there, then all
			ctx, cancel := context.WithCancel(t.Context())
			j.Progress = func(entries, _ int64) {
				if entries == 10 {
					cancel()
				}
			}
			_, _ = run(ctx, j, tinyBatch)
			cancel()
			j.Progress = nil
			other := j
			change(&other)
			clean := other
			clean.Dir = workDir(t)
			m, want := ok(run(t.Context(), other, tinyBatch))(t), ok(run(t.Context(), clean, tinyBatch))(t)
			if m.Piece != want.Piece {
				t.Fatalf("in a used directory %v, in a new one %v", m.Piece, want.Piece)
			}
			w.judge(t, m, other.MinPadded)
		}
	}
}

func TestOneRunADirectory(t *testing.T) {
	w := tinyWorld()
	j := tinyJob(t, w, w.entries())
	var inner error
	var once atomic.Bool
	j.Progress = func(int64, int64) {
		if once.CompareAndSwap(false, true) {
			_, inner = run(t.Context(), j, tinyBatch)
			if err := Sweep(j.Dir); !fault.Is(err, fault.Conflict) {
				t.Errorf("sweep beside a run: %v", err)
			}
		}
	}
	_, err := run(t.Context(), j, tinyBatch)
	must(t, err)
	if !fault.Is(inner, fault.Conflict) {
		t.Fatalf("a second run: %v", inner)
	}
}

func TestSweep(t *testing.T) {
	w := tinyWorld()
	j := tinyJob(t, w, w.entries())
	j.Export = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	j.Progress = func(int64, int64) { cancel() }
	if _, err := run(ctx, j, tinyBatch); err == nil {
		t.Fatal("was not cut off")
	}
	if len(ok(os.ReadDir(j.Export))(t)) != 1 {
		t.Fatal("no half-written CAR")
	}
	must(t, Sweep(j.Dir))
	must(t, Sweep(j.Dir))
	if n := len(ok(os.ReadDir(j.Export))(t)); n != 0 {
		t.Fatalf("%d files left", n)
	}
	if _, err := os.Stat(j.Dir); !os.IsNotExist(err) {
		t.Fatalf("the directory stays: %v", err)
	}
	j.Progress = nil
	m := ok(run(t.Context(), j, tinyBatch))(t)
	must(t, Sweep(j.Dir))
	if _, err := os.Stat(m.CAR); err != nil {
		t.Fatal("the finished CAR was swept away")
	}
}

// TestKill kills the process of a run at each of its turns.
func TestKill(t *testing.T) {
	if dir := os.Getenv("FIRTH_PACK_DIR"); dir != "" {
		killedRun(t, dir)
		return
	}
	w := tinyWorld()
	whole := ok(run(t.Context(), tinyJob(t, w, w.entries()), tinyBatch))(t)
	home := t.TempDir()
	kills := 0
	for step := 1; ; step++ {
		child := exec.Command(os.Args[0], "-test.run=^TestKill$")
		child.Env = append(os.Environ(), "FIRTH_PACK_DIR="+home, fmt.Sprintf("FIRTH_PACK_TURNS=%d", 1+step%4))
		out, err := child.CombinedOutput()
		if err == nil {
			break
		}
		status, _ := child.ProcessState.Sys().(syscall.WaitStatus)
		if !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("%v: %s", err, out)
		}
		cars, _ := filepath.Glob(filepath.Join(home, "out", "*.car"))
		if len(cars) != 0 {
			t.Fatalf("killed at a turn, and yet there is %v", cars)
		}
		if kills++; kills > 100 {
			t.Fatal("the run does not come forward")
		}
	}
	if kills < 3 {
		t.Fatalf("killed %d times only", kills)
	}
	j := killedJob(home)
	m := ok(run(t.Context(), j, tinyBatch))(t)
	w.judge(t, m, 0)
	if m.Piece != whole.Piece {
		t.Fatalf("after %d kills %v, want %v", kills, m.Piece, whole.Piece)
	}
	sameOutcomes(t, m, whole)
	onlyCAR(t, j.Export)
}

func killedJob(dir string) Job {
	w := tinyWorld()
	j := w.jobIn(filepath.Join(dir, "work"), w.entries())
	j.Settings, j.Export = tiny(), filepath.Join(dir, "out")
	return j
}

func killedRun(t *testing.T, dir string) {
	var turns int
	_, err := fmt.Sscan(os.Getenv("FIRTH_PACK_TURNS"), &turns)
	must(t, err)
	j := killedJob(dir)
	j.Progress = func(int64, int64) {
		if turns--; turns < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	_, err = run(t.Context(), j, tinyBatch)
	must(t, err)
}
