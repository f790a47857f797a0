package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

// TestLinear counts what a run does to its source: as many calls for each file
// of many as of few, and each byte once.
func TestLinear(t *testing.T) {
	for _, n := range []int{500, 5000} {
		w := &world{}
		total := 0
		for i := range n {
			data := noise(uint64(i), 64+i%64)
			total += len(data)
			w.put(fmt.Sprintf("%05d", i), data)
		}
		m := ok(Run(t.Context(), w.job(t, w.entries())))(t)
		if w.opens.Load() != int64(n) || w.reads.Load() != int64(n) || w.bytes.Load() != int64(total) || m.Files != int64(n) {
			t.Fatalf("%d files: opened %d times, read %d times, %d bytes of %d", n, w.opens.Load(), w.reads.Load(), w.bytes.Load(), total)
		}
	}
}

func TestSeenForgetsByGenerations(t *testing.T) {
	spool := NewSpool()
	s := newSeen(spool)
	s.limit = 1000
	defer s.close()
	var records []Record
	for i := range 3500 {
		r := Record{Form: Raw, Digest: [32]byte(noise(uint64(i), 32))}
		must(t, s.add(r, spool.Records()))
		must(t, spool.Add(r))
		records = append(records, r)
	}
	check := func() (known int) {
		for i, r := range records {
			got, found, err := s.find(r.Form, &r.Digest)
			must(t, err)
			if found && got != r {
				t.Fatalf("record %d: found %+v", i, got)
			}
			if _, other, _ := s.find(DagPB, &r.Digest); other {
				t.Fatal("found under another form")
			}
			if found {
				known++
			} else if i >= len(records)-1000 {
				t.Fatalf("record %d of %d is forgotten", i, len(records))
			}
		}
		return known
	}
	before := check()
	must(t, s.restore(func(Record) bool { return true }))
	if after := check(); after != before || before > 2000 {
		t.Fatalf("%d known, after a restart %d", before, after)
	}
}

// TestDiskFull packs into directories with no room: the error names the
// directory, nothing looks finished, and with room the run goes on.
func TestDiskFull(t *testing.T) {
	if what := os.Getenv("FIRTH_PACK_LIMIT"); what != "" {
		limitedRun(t, what)
		return
	}
	for _, what := range []string{"export", "work"} {
		home := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^TestDiskFull$")
		child.Env = append(os.Environ(), "FIRTH_PACK_LIMIT="+what, "FIRTH_PACK_DIR="+home)
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		onlyParts(t, filepath.Join(home, "out"))
		w, j := limitedJob(home, what)
		m := ok(Run(t.Context(), j))(t)
		w.judge(t, m, 0)
		onlyCAR(t, j.Export)
	}
}

func onlyParts(t *testing.T, dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*.car"))
	if len(names) > 0 {
		t.Fatalf("there is %v although the disk was full", names)
	}
}

func limitedJob(home, what string) (*world, Job) {
	w := &world{}
	if what == "export" {
		w.put("large", noise(1, 6<<20))
	} else {
		for i := range 20_000 {
			w.put(fmt.Sprintf("%05d", i), noise(uint64(i), 10))
		}
	}
	j := w.jobIn(filepath.Join(home, "work"), w.entries())
	j.Export = filepath.Join(home, "out")
	return w, j
}

// limitedRun is the child: no file of it may be larger than the limit.
func limitedRun(t *testing.T, what string) {
	_, j := limitedJob(os.Getenv("FIRTH_PACK_DIR"), what)
	limit := &syscall.Rlimit{Cur: 512 << 10, Max: 512 << 10}
	if what == "export" {
		limit = &syscall.Rlimit{Cur: 3 << 20, Max: 3 << 20}
	}
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, limit))
	_, err := Run(context.Background(), j)
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), os.Getenv("FIRTH_PACK_DIR")) {
		t.Fatalf("a full disk: %v", err)
	}
}

// TestMemory packs a large and sparse file, and very many small ones, with few
// workers and with very many, and holds the process to its bound.
func TestMemory(t *testing.T) {
	if what := os.Getenv("FIRTH_PACK_MEMORY"); what != "" {
		measuredRun(t, what)
		return
	}
	for _, what := range []string{"sparse", "many", "sparse, 16 workers", "many, 16 workers", "sparse, 200 workers"} {
		child := exec.Command(os.Args[0], "-test.run=^TestMemory$")
		child.Env = append(os.Environ(), "FIRTH_PACK_MEMORY="+what, "FIRTH_PACK_DIR="+t.TempDir())
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var kib int
		at := bytes.Index(out, []byte("VmHWM:"))
		if at < 0 {
			t.Skip("no peak of memory is told here")
		}
		_, err = fmt.Sscanf(string(out[at:]), "VmHWM: %d kB", &kib)
		must(t, err)
		t.Logf("%s: %d MiB at most", what, kib>>10)
		if kib > 128<<10 {
			t.Fatalf("%s: %d MiB, at most 128", what, kib>>10)
		}
	}
}

// synthetic is files whose bytes are made up when they are read.
type synthetic struct{}

func (synthetic) Open(context.Context, Source) (File, error) { return synthetic{}, nil }
func (synthetic) Check() error                               { return nil }
func (synthetic) Close() error                               { return nil }

// ReadAt writes the offset where each page begins; the rest is zeros.
func (synthetic) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for i := range min(len(p), 8) {
		p[i] = byte(off >> (8 * i))
	}
	return len(p), nil
}

func measuredRun(t *testing.T, what string) {
	j := Job{Dir: filepath.Join(os.Getenv("FIRTH_PACK_DIR"), "work"), Settings: Settings{MaxPadded: 4 << 30}}
	what, workers, _ := strings.Cut(what, ", ")
	_, _ = fmt.Sscan(workers, &j.Workers)
	if what == "sparse" {
		j.Open, j.NoDedup = synthetic{}, true
		size := int64(512 << 20)
		if os.Getenv("FIRTH_TEST_LONG") != "" {
			size = 3 << 30
		}
		j.Entries = listed([]Entry{{Path: "sparse", Size: size, Length: size}})
	} else {
		w := &world{}
		data := noise(1, 60_000)
		for i := range 50_000 {
			w.put(fmt.Sprintf("%03d/%05d", i/100, i), data[i:i+4096])
		}
		j.Open, j.Entries = w, listed(w.entries())
	}
	ok(Run(t.Context(), j))(t)
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	fmt.Printf("%s\n", status)
}
