package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// tampering is what can happen to a file.
var tampering = map[string]func(data []byte) []byte{
	"vanishes": func([]byte) []byte { return nil },
	"shrinks":  func(data []byte) []byte { return slices.Clone(data[:len(data)/2]) },
	"grows":    func(data []byte) []byte { return append(slices.Clone(data), 'x') },
	"edited":   func(data []byte) []byte { return bytes.Repeat([]byte{'y'}, len(data)) },
}

// TestFilesChange lets a file change at every read of a run: what is packed is
// a version that was read whole, or the file is left out, and then the piece is
// the one of a run that never heard of it.
func TestFilesChange(t *testing.T) {
	for _, victim := range []string{"f00", "f04", "f06", "f10"} {
		clean := tinyWorld()
		entries := clean.entries()
		number := slices.IndexFunc(entries, func(e Entry) bool { return e.Path == victim })
		with := ok(run(t.Context(), tinyJob(t, clean, entries), tinyBatch))(t)
		reads := clean.reads.Load()
		lacking := slices.Delete(slices.Clone(entries), number, number+1)
		without := ok(run(t.Context(), tinyJob(t, clean, lacking), tinyBatch))(t)
		for how, tamper := range tampering {
			skips := 0
			for at := int64(1); at <= reads; at += 1 + reads/16 {
				w := tinyWorld()
				var read atomic.Int64
				w.before = func(string, int64) error {
					if read.Add(1) == at {
						w.replace(victim, tamper(w.files[victim]))
					}
					return nil
				}
				j := tinyJob(t, w, entries)
				j.Checkpoint = 60_000 // syncing is what takes the time here
				m, err := run(t.Context(), j, tinyBatch)
				must(t, err)
				out := gather(t, m.Outcomes)
				if len(out) != len(entries) {
					t.Fatalf("%d outcomes of %d entries", len(out), len(entries))
				}
				want := with
				if out[number].Skipped != "" {
					skips++
					want = without
				}
				if m.Piece != want.Piece || m.Files != want.Files || m.Bytes != want.Bytes {
					t.Fatalf("%s %s at read %d (%q): %+v, want %+v", victim, how, at, out[number].Skipped, m, want)
				}
			}
			if skips == 0 {
				t.Fatalf("%s %s: never noticed", victim, how)
			}
		}
	}
}

// TestChangedFileAfterCheckpoint: a file that was begun before a checkpoint is
// gone when the run goes on.
func TestChangedFileAfterCheckpoint(t *testing.T) {
	clean := tinyWorld()
	entries := clean.entries()
	number := slices.IndexFunc(entries, func(e Entry) bool { return e.Path == "f10" })
	lacking := slices.Delete(slices.Clone(entries), number, number+1)
	without := ok(run(t.Context(), tinyJob(t, clean, lacking), tinyBatch))(t)
	w := tinyWorld()
	j := tinyJob(t, w, entries)
	j.Export = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	w.before = func(path string, off int64) error {
		if path == "f10" && off >= 40_000 {
			cancel()
		}
		return nil
	}
	if _, err := run(ctx, j, tinyBatch); err == nil {
		t.Fatal("was not cut off")
	}
	w.before = nil
	w.replace("f10", nil)
	m := ok(run(t.Context(), j, tinyBatch))(t)
	if m.Piece != without.Piece || m.Skipped != 1 {
		t.Fatalf("%+v, want %+v", m, without)
	}
	w.judge(t, m, 0)
	if out := gather(t, m.Outcomes)[number]; !strings.Contains(out.Skipped, "gone") {
		t.Fatalf("outcome %+v", out)
	}
}

func TestSourceUnavailable(t *testing.T) {
	w := tinyWorld()
	entries := w.entries()
	whole := ok(run(t.Context(), tinyJob(t, w, entries), tinyBatch))(t)
	j := tinyJob(t, w, entries)
	var read atomic.Int64
	w.before = func(string, int64) error {
		if read.Add(1)%20 == 0 {
			return fault.New(fault.Unavailable, "slow down")
		}
		return nil
	}
	for tries := 0; ; tries++ {
		m, err := run(t.Context(), j, tinyBatch)
		if err == nil {
			if m.Piece != whole.Piece || m.Skipped != 0 || tries == 0 {
				t.Fatalf("after %d tries %+v", tries, m)
			}
			break
		}
		if !fault.Is(err, fault.Unavailable) || tries > 50 {
			t.Fatalf("try %d: %v", tries, err)
		}
	}
}

func TestBadEntries(t *testing.T) {
	w := &world{}
	for _, path := range []string{"a", "a/b", "b//c", "b/../d", "c", "d", "e\x00f", "x"} {
		w.put(path, []byte("bytes of "+path))
	}
	entries := w.entries()
	at := slices.IndexFunc(entries, func(e Entry) bool { return e.Path == "c" })
	entries = slices.Insert(entries, at, entries[at])
	entries = append(entries, Entry{Path: "y", Kind: Symlink}, Entry{Path: "z", Size: 7, Length: 7})
	m := ok(Run(t.Context(), w.job(t, entries)))(t)
	skipped := map[string]bool{}
	for _, out := range gather(t, m.Outcomes) {
		if out.Skipped != "" {
			skipped[entries[out.Entry].Path] = true
		}
	}
	want := map[string]bool{"a/b": true, "b//c": true, "b/../d": true, "c": true, "e\x00f": true, "y": true, "z": true}
	if fmt.Sprint(skipped) != fmt.Sprint(want) || m.Skipped != 7 || m.Files != 4 {
		t.Fatalf("skipped %v, %+v", skipped, m)
	}
	w.judge(t, m, 0)

	one := func(e ...Entry) error {
		_, err := Run(t.Context(), w.job(t, e))
		return err
	}
	for name, err := range map[string]error{
		"order":   one(Entry{Path: "d", Size: 10, Length: 10}, Entry{Path: "c", Size: 10, Length: 10}),
		"cut":     one(Entry{Path: "d", Size: 1 << 22, Offset: 1000, Length: 1 << 20}),
		"beyond":  one(Entry{Path: "d", Size: 10, Length: 11}),
		"nothing": one(Entry{Path: "d", Size: 10}),
	} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPieceTooSmall(t *testing.T) {
	w := &world{}
	w.put("f", noise(1, 8000))
	j := w.job(t, w.entries())
	for _, size := range []int64{0, 100, 127, 128, 1 << 13, 1 << 50} {
		j.MaxPadded = size
		if _, err := Run(t.Context(), j); !fault.Is(err, fault.Invalid) {
			t.Errorf("piece of %d: %v", size, err)
		}
	}
	j.MaxPadded = 1 << 14
	m := ok(Run(t.Context(), j))(t)
	w.judge(t, m, 0)
}

func TestTail(t *testing.T) {
	w := &world{}
	w.put("f", noise(1, 8000))
	j := w.job(t, w.entries())
	j.MaxPadded = 1 << 14
	put := 0
	j.Tail = func(_ context.Context, packed Outcomes, add func(blocks.Block) error) error {
		out := gather(t, packed)
		if len(out) != 1 || out[0].Link.Size != 8000 {
			t.Fatalf("outcomes %+v", out)
		}
		for i := range 100 {
			node := nodeOf(t, i)
			err := add(node)
			if err == nil {
				err = add(node) // costs nothing
			}
			if errors.Is(err, ErrFull) {
				return nil
			}
			must(t, err)
			put++
		}
		return nil
	}
	m := ok(Run(t.Context(), j))(t)
	if m.Blocks != int64(2+put) || put < 10 || put == 100 || m.CARSize > 16256 {
		t.Fatalf("%d blocks put, %+v", put, m)
	}
	w.judge(t, m, 0)
}

func nodeOf(tb testing.TB, i int) blocks.Block {
	tb.Helper()
	var k keeper
	_, err := dag.AddSymlink(context.Background(), &k, fmt.Sprintf("target %d %s", i, strings.Repeat("x", 400)), profile)
	must(tb, err)
	return k.blocks[0]
}
