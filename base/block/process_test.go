package block_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/block/blocktest"
	"github.com/firth-project/firth/base/fault"
)

// childDir tells the test binary to be the process that is killed.
const childDir = "FIRTH_TEST_BLOCK_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The child's rounds: put batch n, say so, delete half of batch n-2, say so,
// and compact now and then, until somebody kills it.
const batchBlocks, batchBytes = 6, 3000

func child(dir string) error {
	first, err := strconv.Atoi(os.Getenv(childDir + "_FROM"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := block.Open(ctx, dir, block.Options{SegmentBytes: 100_000})
	if err != nil {
		return err
	}
	for n := first; ; n++ {
		if err := s.PutMany(ctx, blocktest.Raw(uint64(n), batchBlocks, batchBytes)); err != nil {
			return err
		}
		fmt.Println("put", n)
		if n >= 2 {
			var cids []cid.Cid
			for _, b := range blocktest.Raw(uint64(n-2), batchBlocks, batchBytes)[:batchBlocks/2] {
				cids = append(cids, b.Cid())
			}
			fmt.Println("deleting", n-2)
			if err := s.DeleteMany(ctx, cids); err != nil {
				return err
			}
			fmt.Println("deleted", n-2)
		}
		if n%7 == 6 {
			if _, err := s.Compact(ctx); err != nil {
				return err
			}
		}
	}
}

func TestKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put, deleting, deleted := map[int]bool{}, map[int]bool{}, map[int]bool{}
	next := 0
	for round, lines := range []int{1, 8, 40, 61, 90} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s_FROM=%d", childDir, next))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		scanner := bufio.NewScanner(out)
		for seen := 0; scanner.Scan(); seen++ { // all it said before it died counts
			var n int
			if _, err := fmt.Sscanf(scanner.Text(), "put %d", &n); err == nil {
				put[n] = true
				next = n + 1
			} else if _, err := fmt.Sscanf(scanner.Text(), "deleting %d", &n); err == nil {
				deleting[n] = true
			} else if _, err := fmt.Sscanf(scanner.Text(), "deleted %d", &n); err == nil {
				deleted[n] = true
			}
			if seen == lines {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
		next++         // the batch under way is unsure: leave it
		s := open(t, dir, block.Options{SegmentBytes: 100_000})
		for n := range put {
			b := blocktest.Raw(uint64(n), batchBlocks, batchBytes)
			half := b[:batchBlocks/2]
			switch {
			case deleted[n]:
				blocktest.Missing(t, s, half...)
			case !deleting[n]:
				blocktest.Held(t, s, half...)
			}
			blocktest.Held(t, s, b[batchBlocks/2:]...)
		}
		for bad, err := range s.Scrub(t.Context()) {
			t.Errorf("after kill %d: %+v, %v", round, bad, err)
		}
		blocktest.Close(t, s)
	}
	if len(put) < 20 || len(deleted) < 10 {
		t.Errorf("only %d batches put and %d deleted: nothing was shown", len(put), len(deleted))
	}
}

func TestOneProcessADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, block.Options{})
	_, err := block.Open(t.Context(), dir, block.Options{})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second Open: %v", err)
	}
	blocktest.Close(t, s)
	blocktest.Close(t, open(t, dir, block.Options{}))
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []block.Options{{SegmentBytes: -1}, {SegmentBytes: 1 << 33}} {
		if _, err := block.Open(t.Context(), t.TempDir(), o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := block.Open(t.Context(), file, block.Options{}); err == nil {
		t.Error("a file was opened as a store")
	}
}
