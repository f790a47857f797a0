package pack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// flowing is a world whose files of unknown length come as streams.
type flowing struct {
	*world
	reads atomic.Int64
	fail  func(path string, read int64) error
}

func (f *flowing) Open(ctx context.Context, s Source) (File, error) {
	if !strings.HasPrefix(s.ID, "stream") {
		return f.world.Open(ctx, s)
	}
	s.ID = strings.TrimPrefix(s.ID, "stream")
	in, err := f.world.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	return &flowingFile{in.(*worldFile), f}, nil
}

type flowingFile struct {
	*worldFile
	f *flowing
}

func (f *flowingFile) ReadAt([]byte, int64) (int, error) {
	panic("a stream is read from the first to the last byte")
}
func (f *flowingFile) Stream(offset, span int64) io.Reader {
	if span == 0 {
		span = int64(len(f.data))
	}
	return &flow{f, bytes.NewReader(f.data[offset:][:span])}
}

type flow struct {
	*flowingFile
	r io.Reader
}

// Read gives a little at a time.
func (f *flow) Read(p []byte) (int, error) {
	if f.f.fail != nil {
		if err := f.f.fail(f.path, f.f.reads.Add(1)); err != nil {
			return 0, err
		}
	}
	return f.r.Read(p[:min(len(p), 700)])
}

// streams makes some of the tiny world's files come as streams that may be
// larger than they are.
func streams(more int64) (*flowing, []Entry) {
	f := &flowing{world: tinyWorld()}
	entries := f.entries()
	for i := range entries {
		if i%3 != 2 {
			e := &entries[i]
			e.ID, e.Size, e.Length = "stream"+e.ID, e.Size+more, -1
		}
	}
	return f, entries
}

func TestStreams(t *testing.T) {
	plain := tinyWorld()
	want := ok(run(t.Context(), tinyJob(t, plain, plain.entries()), tinyBatch))(t)
	for _, more := range []int64{0, 1, 999, 1000, 20_000} {
		for _, workers := range []int{1, 2, 5} {
			f, entries := streams(more)
			j := tinyJob(t, f.world, entries)
			j.Open, j.Workers, j.Export = f, workers, t.TempDir()
			m := ok(run(t.Context(), j, tinyBatch))(t)
			if m.Piece != want.Piece || m.Bytes != want.Bytes || m.Skipped != 0 {
				t.Fatalf("%d more, %d workers: %+v, want %+v", more, workers, m, want)
			}
			sameOutcomes(t, m, want)
		}
	}
	f, entries := streams(-1)
	j := tinyJob(t, f.world, entries)
	j.Open, j.Export = f, t.TempDir()
	if m := ok(run(t.Context(), j, tinyBatch))(t); m.Skipped == 0 || m.Root == want.Root {
		t.Fatalf("longer than announced: %+v", m)
	}
	j.Export, j.Dir = "", workDir(t)
	if _, err := run(t.Context(), j, tinyBatch); !fault.Is(err, fault.Invalid) {
		t.Fatalf("with no CAR: %v", err)
	}
}

// TestStreamsAreCutOff lets streams fail, for now and for good, at every read.
func TestStreamsAreCutOff(t *testing.T) {
	plain := tinyWorld()
	all := plain.entries()
	want := ok(run(t.Context(), tinyJob(t, plain, all), tinyBatch))(t)
	for at := int64(1); ; at += 23 {
		for _, unavailable := range []bool{true, false} {
			f, entries := streams(1500)
			victim := ""
			f.fail = func(path string, n int64) error {
				if n != at {
					return nil
				}
				victim = path
				if unavailable {
					return fault.New(fault.Unavailable, "slow down")
				}
				return errors.New("broken")
			}
			j := tinyJob(t, f.world, entries)
			j.Open, j.Export = f, t.TempDir()
			m, err := run(t.Context(), j, tinyBatch)
			if victim == "" {
				return // there are no more reads
			}
			if unavailable {
				if !fault.Is(err, fault.Unavailable) {
					t.Fatalf("read %d: %v", at, err)
				}
				m, err = run(t.Context(), j, tinyBatch)
			}
			must(t, err)
			whole := want
			if !unavailable {
				lacking := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return e.Path == victim })
				whole = ok(run(t.Context(), tinyJob(t, plain, lacking), tinyBatch))(t)
			}
			if m.Piece != whole.Piece {
				t.Fatalf("read %d of %q (%t): %+v, want %+v", at, victim, unavailable, m, whole)
			}
			onlyCAR(t, j.Export)
		}
	}
}

// A file may come as several streams, each of which is a file of its own in the
// piece, beside those that come later by name.
func TestStreamsOfParts(t *testing.T) {
	w := &world{}
	w.put("cut", noise(1, 9000))
	w.put("cut-off", noise(2, 10))
	f := &flowing{world: w}
	all := f.entries()
	var entries []Entry
	for _, span := range [][2]int64{{0, 3000}, {3000, 1}, {3001, 5999}} {
		e := all[0]
		e.ID, e.Size, e.Length, e.Offset, e.Span = "stream"+e.ID, span[1]+2000, -1, span[0], span[1]
		entries = append(entries, e)
	}
	entries = append(entries, all[1])
	j := tinyJob(t, w, entries)
	j.Open, j.Export = f, t.TempDir()
	m := ok(run(t.Context(), j, tinyBatch))(t)
	if m.Skipped != 0 || m.Files != 4 {
		t.Fatalf("%+v", m)
	}
	shelf := shelfOf{}
	ok(dag.AddCAR(t.Context(), shelf, bytes.NewReader(ok(os.ReadFile(m.CAR))(t)), dag.CAROptions{}))(t)
	for path, want := range map[string][]byte{
		"cut.part-0-3000": w.files["cut"][:3000], "cut.part-3000-3001": w.files["cut"][3000:3001],
		"cut.part-3001-9000": w.files["cut"][3001:], "cut-off": w.files["cut-off"],
	} {
		if !bytes.Equal(content(t, shelf, m.Root, path), want) {
			t.Errorf("%s has other bytes", path)
		}
	}
	for i, out := range gather(t, m.Outcomes) {
		if out.Link.Size != []int64{3000, 1, 5999, 10}[i] || len(out.Tops) != 1 {
			t.Errorf("outcome %+v", out)
		}
	}
	for _, bad := range []Entry{{Length: -2}, {Length: -1, Offset: 1}, {Length: -1, Offset: -1, Span: 1}, {Length: -1, Offset: 1 << 62, Span: 1 << 62}, {Size: 1, Length: 1, Span: 1}} {
		bad.Path, bad.ID = "cut", "x"
		j := tinyJob(t, w, []Entry{bad})
		j.Open, j.Export = f, t.TempDir()
		if _, err := run(t.Context(), j, tinyBatch); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
