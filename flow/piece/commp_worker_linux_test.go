//go:build !race

// The race detector takes several times the memory that is measured here.

package piece_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// generated is an upstream of CARs that are made while they are read: the same
// block of a MiB again and again.
type generated struct {
	header, section []byte
	size            int64
	left            atomic.Int64
	opened          sync.WaitGroup // the first byte waits until all CARs are open
	done            sync.WaitGroup
	failed          atomic.Value
}

func newGenerated(cars int, size int64) *generated {
	data := noise(1, 1<<20)
	b, err := blocks.NewBlockWithCid(data, rawCID(data))
	if err != nil {
		panic(err) // as in own
	}
	g := &generated{header: dag.CARHeader([]cid.Cid{b.Cid()})}
	g.section = append(dag.CARSectionHeader(b.Cid(), len(data)), data...)
	g.size = int64(len(g.header)) + size/int64(len(g.section))*int64(len(g.section))
	g.left.Store(int64(cars))
	g.opened.Add(cars)
	g.done.Add(cars)
	return g
}

func (g *generated) Claim(context.Context) (piece.Claim, error) {
	n := g.left.Add(-1)
	if n < 0 {
		return piece.Claim{}, fault.New(fault.NotFound, "none")
	}
	return piece.Claim{ID: n + 1, Size: g.size, Limit: 64 << 30, Lease: time.Minute}, nil
}

func (g *generated) Open(context.Context, piece.Claim, int64) (io.ReadCloser, error) {
	g.opened.Done()
	g.opened.Wait()
	return io.NopCloser(io.MultiReader(bytes.NewReader(g.header), &repeated{g.section, 0, g.size - int64(len(g.header))})), nil
}

func (g *generated) Part(context.Context, piece.Claim, int) (io.ReadCloser, error) {
	return nil, fault.New(fault.NotFound, "none")
}

func (g *generated) Keep(_ context.Context, _ piece.Claim, _ int, part io.Reader) error {
	_, err := io.Copy(io.Discard, part)
	return err
}

func (g *generated) Progress(context.Context, piece.Claim, int64) error { return nil }

func (g *generated) Finish(_ context.Context, _ piece.Claim, _ piece.Result, index io.Reader) error {
	_, err := io.Copy(io.Discard, index)
	g.done.Done()
	return err
}

func (g *generated) GiveUp(_ context.Context, _ piece.Claim, reason string, _ bool) error {
	g.failed.Store(reason)
	g.done.Done()
	return nil
}

// repeated is a text again and again, up to a length.
type repeated struct {
	text []byte
	at   int
	left int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.text[r.at:])
	r.at, r.left = (r.at+n)%len(r.text), r.left-int64(n)
	return n, nil
}

const childCARs = "FIRTH_TEST_WORKER_CAR_SIZE"

// TestWorkerMemory computes 16 CARs side by side in a process of its own and
// looks at the most memory it had: 32 MiB each, or 4 GiB where FIRTH_TEST_LONG
// is set.
func TestWorkerMemory(t *testing.T) {
	if size := os.Getenv(childCARs); size != "" {
		sixteen(t, size)
		return
	}
	size := int64(32 << 20)
	if os.Getenv("FIRTH_TEST_LONG") != "" {
		size = 4 << 30
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWorkerMemory$", "-test.v", "-test.timeout=1h")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d", childCARs, size))
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var peak, seconds int64
	at := bytes.Index(out, []byte("PEAK "))
	if at < 0 {
		t.Fatalf("%s", out)
	}
	if _, err := fmt.Sscanf(string(out[at:]), "PEAK %d SECONDS %d", &peak, &seconds); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Logf("16 CARs of %d MiB side by side: %d MiB of memory at most, %d s", size>>20, peak>>10, seconds)
	if peak > 1<<20 {
		t.Errorf("%d KiB of memory", peak)
	}
}

func sixteen(t *testing.T, text string) {
	var size int64
	if _, err := fmt.Sscan(text, &size); err != nil {
		t.Fatal(err)
	}
	g := newGenerated(16, size)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	begun := time.Now()
	w := piece.NewWorker(g, 16, time.Minute, time.Now, slog.New(slog.DiscardHandler))
	running.Go(func() { _ = w.Run(ctx) })
	g.done.Wait()
	cancel()
	running.Wait()
	if reason := g.failed.Load(); reason != nil {
		t.Fatal(reason)
	}
	status := string(ok(os.ReadFile("/proc/self/status"))(t))
	_, rest, _ := strings.Cut(status, "VmHWM:")
	var peak int64
	if _, err := fmt.Sscan(rest, &peak); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("PEAK %d SECONDS %d\n", peak, int64(time.Since(begun).Seconds()))
}
