package dataset_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/source/sourcetest"
	"github.com/firth-project/firth/flow/dataset"
)

// What cannot be read is left out with a reason, and nothing else is.
func TestSkipped(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		dir := tree(t, map[string][]byte{
			"gone": noise(1, 100), "grown": noise(2, 100), "kept": noise(3, 100), "large": noise(4, 6*MiB), "later/x": noise(5, 10),
		})
		d := h.create("d", dir, small())
		p := ok(h.data.Start(t.Context(), project, d.ID))(t)
		// The scan sees all, packing some: the first chunk's job runs when the
		// files have changed already.
		only := h.scanOnly(p.ID)
		must(t, os.Remove(filepath.Join(dir, "gone")))
		write(t, filepath.Join(dir, "grown"), noise(2, 200))
		write(t, filepath.Join(dir, "large"), noise(9, 6*MiB+1))
		only()
		h.run()
		p = h.complete(p.ID)
		reasons := map[string]string{}
		for _, r := range h.files(p.ID, dataset.Query{States: []dataset.FileState{dataset.FileSkipped}}) {
			reasons[r.Path] = r.Reason
		}
		if len(reasons) != 3 || reasons["gone"] == "" || !strings.Contains(reasons["grown"], "changed") || !strings.Contains(reasons["large"], "changed") {
			t.Errorf("skipped: %v", reasons)
		}
		if p.Skipped != 3 || p.Files != 5 {
			t.Errorf("preparation %+v", p)
		}
		s := shelf{}
		s.read(h, h.dataPieces(p.ID)...)
		want := tree(t, map[string][]byte{"kept": noise(3, 100), "later/x": noise(5, 10)})
		same(t, want, s.export(t, p.Root))
		if p.Root != rootOf(t, want) {
			t.Errorf("root %s, want that of what could be read", p.Root)
		}
	})
}

// scanOnly runs the scan of a preparation, and holds back what it finds.
func (h *house) scanOnly(id int64) (release func()) {
	h.t.Helper()
	jobs := ok(job.New(h.db, quiet, job.Options{Drain: time.Millisecond, Workers: map[job.Queue]int{job.Net: 1}, Handlers: h.data.Handlers()}))(h.t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- jobs.Run(ctx) }()
	until(h.t, func() bool { return h.preparation(id).Stage != dataset.Scanning })
	return func() { cancel(); must(h.t, <-ended) }
}

// A second preparation packs what is new or changed and has one root for all.
func TestSecondPreparation(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		h.run()
		dir := tree(t, map[string][]byte{"a/1": noise(1, 100_000), "a/2": noise(2, 4*MiB), "b": noise(3, 7*MiB), "c/d/e": noise(4, 50)})
		must(t, os.Symlink("b", filepath.Join(dir, "link")))
		d := h.create("d", dir, small())
		first := h.prepare(d)
		s := shelf{}
		s.read(h, h.dataPieces(first.ID)...)

		same2 := h.prepare(d)
		if same2.Root != first.Root || same2.Carried != 5 || len(h.dataPieces(same2.ID)) != 0 || same2.IndexRoot != first.IndexRoot || same2.IndexPiece != first.IndexPiece {
			t.Errorf("nothing has changed: %+v", same2)
		}

		write(t, filepath.Join(dir, "a/3"), noise(6, 5*MiB))
		write(t, filepath.Join(dir, "c/d/e"), noise(7, 60))
		must(t, os.Remove(filepath.Join(dir, "a/1")))
		third := h.prepare(d)
		if third.Root != rootOf(t, dir) || third.Carried != 3 || third.Ordinal != 3 {
			t.Errorf("third %+v, want the root %s", third, rootOf(t, dir))
		}
		news := h.dataPieces(third.ID)
		total := int64(0)
		for _, p := range news {
			total += p.CARSize
		}
		if total > 6*MiB {
			t.Errorf("%d bytes were packed for 5 MiB of news", total)
		}
		s.read(h, news...)
		same(t, dir, s.export(t, third.Root))

		must(t, os.Remove(filepath.Join(dir, "a/3")))
		fourth := h.prepare(d)
		if fourth.Root != rootOf(t, dir) || len(h.dataPieces(fourth.ID)) != 1 || fourth.IndexRoot == third.IndexRoot {
			t.Errorf("after a removal: %+v", fourth)
		}
		s.read(h, h.dataPieces(fourth.ID)...)
		same(t, dir, s.export(t, fourth.Root))
	})
}

// What is paused stops, keeps what it has, and goes on.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		h.run()
		files := map[string][]byte{}
		for i := range 8 {
			files[fmt.Sprintf("%02d", i)] = noise(uint64(i), 3*MiB)
		}
		dir := tree(t, files)
		d := h.create("d", dir, small())
		p := ok(h.data.Start(t.Context(), project, d.ID))(t)
		if _, err := h.data.Start(t.Context(), project, d.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("a second one at the same time: %v", err)
		}
		for range 3 {
			until(t, func() bool { n := h.preparation(p.ID).ChunksDone; p = h.preparation(p.ID); return n == p.ChunksDone })
			if p.State == dataset.Complete {
				break
			}
			paused, err := h.data.Pause(t.Context(), project, p.ID)
			if fault.Is(err, fault.Conflict) {
				break // it was faster
			}
			must(t, err)
			if paused.State != dataset.Paused {
				t.Errorf("paused: %+v", paused)
			}
			until(t, func() bool {
				busy := ok(h.jobs.List(t.Context(), job.Filter{State: job.Running}))(t)
				return len(busy) == 0
			})
			for _, c := range h.chunks(p.ID) {
				if c.State == dataset.ChunkPacking {
					t.Errorf("still packing: %+v", c)
				}
			}
			ok(h.data.Resume(t.Context(), project, p.ID))(t)
		}
		p = h.complete(p.ID)
		if p.Root != rootOf(t, dir) || p.Chunks != 8 {
			t.Errorf("preparation %+v", p)
		}
	})
}

// One chunk can be paused, resumed and removed; the rest does not mind.
func TestChunkVerbs(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		dir := tree(t, map[string][]byte{"1": noise(1, 3*MiB), "2": noise(2, 3*MiB), "3": noise(3, 7*MiB), "4": noise(4, 2*MiB), "5": noise(5, 9)})
		d := h.create("d", dir, small())
		p := ok(h.data.Start(t.Context(), project, d.ID))(t)
		only := h.scanOnly(p.ID)
		only()
		chunks := h.chunks(p.ID)
		last := chunks[len(chunks)-1]
		if len(chunks) < 5 || !last.Last {
			t.Fatalf("chunks %+v", chunks)
		}
		if _, err := h.data.RemoveChunk(t.Context(), project, last.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("the last chunk was removed: %v", err)
		}
		files, _, err := h.data.ChunkFiles(t.Context(), project, chunks[2].ID, dataset.Query{}, "", 10)
		if err != nil || len(files) != 1 || files[0].Path != "3" || files[0].Parts[0].Offset != 0 || files[0].Parts[0].Length != chunks[2].Bytes {
			t.Errorf("files of the third chunk: %+v, %v", files, err)
		}
		if all := h.files(p.ID, dataset.Query{}); len(all) < 6 {
			t.Errorf("while it runs a search finds %+v", all)
		}
		ok(h.data.PauseChunk(t.Context(), project, chunks[0].ID))(t)
		ok(h.data.RemoveChunk(t.Context(), project, chunks[2].ID))(t) // the first part of file 3
		h.run()
		until(t, func() bool { return h.preparation(p.ID).ChunksDone == int64(len(chunks)-2) })
		if now := ok(h.data.Chunk(t.Context(), project, chunks[0].ID))(t); now.State != dataset.ChunkPaused {
			t.Errorf("paused: %+v", now)
		}
		if _, err := h.data.RetryChunk(t.Context(), project, chunks[0].ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("a paused chunk was retried: %v", err)
		}
		ok(h.data.ResumeChunk(t.Context(), project, chunks[0].ID))(t)
		p = h.complete(p.ID)
		skipped := h.files(p.ID, dataset.Query{States: []dataset.FileState{dataset.FileSkipped}})
		if len(skipped) != 1 || skipped[0].Path != "3" || p.Skipped != 1 {
			t.Errorf("skipped %+v, %d", skipped, p.Skipped)
		}
		must(t, os.Remove(filepath.Join(dir, "3")))
		if want := rootOf(t, dir); p.Root != want {
			t.Errorf("root %s, want %s", p.Root, want)
		}
	})
}

// A source that is away fails chunks with a reason and a next attempt; when it
// is back they go on by themselves, or at once when asked.
func TestSourceAway(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		h.run()
		dir := tree(t, map[string][]byte{"a": noise(1, 100)})
		root := filepath.Join(dir, "mounted", "here")
		d := h.create("d", root, small())
		p := ok(h.data.Start(t.Context(), project, d.ID))(t)
		until(t, func() bool { p = h.preparation(p.ID); return p.NextAttempt != nil })
		if p.State != dataset.Active || !strings.Contains(p.Reason, "here") {
			t.Errorf("preparation %+v", p)
		}
		write(t, filepath.Join(root, "file"), noise(1, 10))
		if p = h.complete(p.ID); p.Files != 1 || p.Reason != "" {
			t.Errorf("preparation %+v", p)
		}
	})
}

// A source that goes away while it is packed is waited for: its files are not
// skipped.
func TestSourceGoesAway(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	dir := filepath.Join(t.TempDir(), "disk")
	want := tree(t, map[string][]byte{"a": noise(1, 100), "b": noise(2, 5*MiB)})
	must(t, os.CopyFS(dir, os.DirFS(want)))
	p := ok(h.data.Start(t.Context(), project, h.create("d", dir, small()).ID))(t)
	h.scanOnly(p.ID)()
	must(t, os.Rename(dir, dir+"-away"))
	h.hire(h.dir, nil)
	h.run()
	until(t, func() bool { return h.chunks(p.ID)[0].NextAttempt != nil })
	if c := h.chunks(p.ID)[0]; c.State != dataset.ChunkFailed && c.State != dataset.ChunkPacking || h.preparation(p.ID).State != dataset.Active {
		t.Errorf("chunk %+v", c)
	}
	must(t, os.Rename(dir+"-away", dir))
	if p = h.complete(p.ID); p.Skipped != 0 || p.Root != rootOf(t, want) {
		t.Errorf("preparation %+v", p)
	}
}

// Directories too many for the last piece go into further ones.
func TestSpineOfSeveralPieces(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	dir := memory(t)
	long := strings.Repeat("x", 240)
	for i := range 13_000 {
		must(t, os.Symlink("t", filepath.Join(dir, fmt.Sprintf("%s-%05d", long, i))))
	}
	p := h.prepare(h.create("d", dir, small()))
	pieces, chunks := h.dataPieces(p.ID), h.chunks(p.ID)
	if len(chunks[len(chunks)-1].Pieces) < 2 {
		t.Errorf("the last of %d chunks has %d pieces", len(chunks), len(chunks[len(chunks)-1].Pieces))
	}
	s := shelf{}
	s.read(h, pieces...)
	if p.Root != rootOf(t, dir) {
		t.Errorf("root %s", p.Root)
	}
	must(t, dag.Complete(t.Context(), s, cid.MustParse(p.Root)))
}

// memory is a directory in memory, where there is one: thousands of files are
// made faster there.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "firth-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Removing leaves nothing behind but pieces, and the exported CARs unless they
// are to go as well.
func TestRemove(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		h.run()
		dir, cars := tree(t, map[string][]byte{"a": noise(1, 5*MiB), "b": noise(2, 3*MiB)}), t.TempDir()
		rules := small()
		rules.Export = cars
		d := h.create("d", dir, rules)
		p := h.prepare(d)
		pieces := h.dataPieces(p.ID)
		for _, piece := range pieces {
			if info := ok(os.Stat(filepath.Join(cars, piece.CID+".car")))(t); info.Size() != piece.CARSize {
				t.Errorf("CAR of %d bytes, want %d", info.Size(), piece.CARSize)
			}
		}
		must(t, h.data.RemoveDataset(t.Context(), project, d.ID, true))
		for _, err := range []error{
			errOf(h.data.Get(t.Context(), project, "d")), errOf(h.data.Preparation(t.Context(), project, p.ID)),
			errOf(h.data.Start(t.Context(), project, d.ID)),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("after it was removed: %v", err)
			}
		}
		if left := ok(os.ReadDir(cars))(t); len(left) != 0 {
			t.Errorf("CARs left: %v", left)
		}
		until(t, func() bool {
			for range h.blobs.List(t.Context(), "dataset/", "") {
				return false
			}
			return true
		})
		shelf{}.read(h, pieces...) // from the source

		// In the middle of its work, and under its own name again.
		d = h.create("d", dir, small())
		p = ok(h.data.Start(t.Context(), project, d.ID))(t)
		must(t, h.data.Remove(t.Context(), project, p.ID, false))
		until(t, func() bool {
			busy := ok(h.jobs.List(t.Context(), job.Filter{State: job.Running}))(t)
			waiting := ok(h.jobs.List(t.Context(), job.Filter{State: job.Waiting}))(t)
			return len(busy)+len(waiting) == 0
		})
		if dead := ok(h.jobs.List(t.Context(), job.Filter{State: job.Dead}))(t); len(dead) != 0 {
			t.Errorf("dead jobs: %+v", dead)
		}
		if p := h.prepare(d); p.Root != rootOf(t, dir) {
			t.Errorf("again: %+v", p)
		}
	})
}

func errOf[T any](_ T, err error) error { return err }

// Sources have directories of their own, and their secrets are not to be read.
func TestSources(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	one, two := tree(t, map[string][]byte{"x": noise(1, 10)}), tree(t, map[string][]byte{"x": noise(2, 20), "y/z": noise(3, 5*MiB)})
	d := ok(h.data.Create(t.Context(), project, "d", small(),
		dataset.NewSource{URL: two, At: "b/two"}, dataset.NewSource{URL: one, At: "b-one"}))(t)
	for _, n := range []dataset.NewSource{{URL: one}, {URL: one, At: "b"}, {URL: one, At: "b/two/x"}, {URL: one, At: "b/two"}} {
		if _, err := h.data.AddSource(t.Context(), project, d.ID, n); !fault.Is(err, fault.Conflict) {
			t.Errorf("source %+v: %v", n, err)
		}
	}
	for _, n := range []dataset.NewSource{{}, {URL: one, At: "/x"}, {URL: one, At: "x/"}, {URL: one, At: "../x"}} {
		if _, err := h.data.AddSource(t.Context(), project, d.ID, n); !fault.Is(err, fault.Invalid) {
			t.Errorf("source %+v: %v", n, err)
		}
	}
	want := tree(t, map[string][]byte{"b-one/x": noise(1, 10), "b/two/x": noise(2, 20), "b/two/y/z": noise(3, 5*MiB)})
	p := h.prepare(d)
	if p.Root != rootOf(t, want) {
		t.Errorf("root %s, want %s", p.Root, rootOf(t, want))
	}
	s := shelf{}
	s.read(h, h.dataPieces(p.ID)...)
	same(t, want, s.export(t, p.Root))

	secret := dataset.NewSource{URL: "https://example.com/", At: "web", Options: map[string]string{"pass": "swordfish"}}
	src := ok(h.data.AddSource(t.Context(), project, d.ID, secret))(t)
	if again := ok(h.data.AddSource(t.Context(), project, d.ID, secret))(t); again.ID != src.ID {
		t.Errorf("the same source became another: %+v", again)
	}
	for _, name := range []string{"firth.db", "firth.db-wal"} {
		body, err := os.ReadFile(filepath.Join(filepath.Dir(strings.TrimPrefix(h.db.URL(), "sqlite:")), name))
		if err == nil && strings.Contains(string(body), "swordfish") {
			t.Errorf("%s has the secret", name)
		}
	}
	if all := ok(h.data.Sources(t.Context(), project, d.ID))(t); len(all) != 3 {
		t.Errorf("sources %+v", all)
	}
}

// From an S3 server come the same pieces as from a disk.
func TestFromS3(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	files := map[string][]byte{"a/big": noise(1, 7*MiB), "a/small": noise(2, 10), "b": noise(3, 100_000), "z/empty": {}}
	url, options, put := sourcetest.S3(t)
	for path, body := range files {
		put(path, body)
	}
	d := ok(h.data.Create(t.Context(), project, "s3", small(), dataset.NewSource{URL: url, Options: options}))(t)
	p := h.prepare(d)
	dir := tree(t, files)
	if p.Root != rootOf(t, dir) || p.Skipped != 0 {
		t.Errorf("preparation %+v", p)
	}
	s := shelf{}
	s.read(h, h.dataPieces(p.ID)...)
	same(t, dir, s.export(t, p.Root))
	put("b", noise(4, 100_000)) // the pieces must not serve other bytes
	gone := false
	for _, piece := range h.dataPieces(p.ID) {
		r := ok(h.pieces.Open(t.Context(), piece.CID))(t)
		_, err := io.Copy(io.Discard, r)
		gone = gone || err != nil
		must(t, r.Close())
	}
	if !gone {
		t.Error("a source that was edited is served as if it were not")
	}
	local := h.prepare(h.create("local", dir, small()))
	for i, piece := range h.dataPieces(local.ID) {
		if other := h.dataPieces(p.ID)[i]; other.CID != piece.CID {
			t.Errorf("piece %d: %s from S3, %s from the disk", i, other.CID, piece.CID)
		}
	}
}

// The cost of a preparation grows with its files and no faster, and the rows do
// not grow with them at all.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	dir := memory(t)
	files := 10_000
	if os.Getenv("FIRTH_TEST_LONG") != "" {
		files = 100_000
	}
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("%03d", i/200), fmt.Sprintf("file-%d", i))
		if i%200 == 0 {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		}
		must(t, os.WriteFile(path, fmt.Appendf(nil, "content of %d", i), 0o644))
	}
	d := h.create("d", dir, small())
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	marks := 0
	for range 20 { // interrupted while it scans, it goes on where it was
		until(t, func() bool { p = h.preparation(p.ID); return p.Files > 0 })
		if p.Stage != dataset.Scanning {
			break
		}
		ok(h.data.Pause(t.Context(), project, p.ID))(t)
		until(t, func() bool { return len(ok(h.jobs.List(t.Context(), job.Filter{State: job.Running}))(t)) == 0 })
		if _, err := os.Stat(filepath.Join(h.dir, "work", fmt.Sprint(p.ID), "scan", "mark.json")); err == nil {
			marks++
		}
		ok(h.data.Resume(t.Context(), project, p.ID))(t)
	}
	t.Logf("interrupted %d times", marks)
	p = h.complete(p.ID)
	if p.Files != int64(files) || p.Skipped != 0 || p.Root != rootOf(t, dir) {
		t.Errorf("preparation %+v", p)
	}
	hit := h.files(p.ID, dataset.Query{NamePrefix: fmt.Sprintf("FILE-%d", files-1)})
	if len(hit) != 1 || hit[0].Size != int64(len("content of ")+len(fmt.Sprint(files-1))) {
		t.Errorf("search finds %+v", hit)
	}
	if n := len(ok(h.events.Read(t.Context(), 0, 1000))(t)); n > 60+3*int(p.Chunks) {
		t.Errorf("%d events for %d chunks", n, p.Chunks)
	}
	again := h.prepare(d)
	if again.Root != p.Root || again.Carried != int64(files) || len(h.dataPieces(again.ID)) != 0 {
		t.Errorf("again: %+v", again)
	}
}

// Workers that stop in the middle, at any moment, change nothing.
func TestWorkersStop(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		files := map[string][]byte{}
		for i := range 24 {
			files[fmt.Sprintf("%02d/x", i)] = noise(uint64(i), 400_000+i*10_000)
		}
		files["12/big"] = noise(77, 8*MiB)
		dir := tree(t, files)
		d := h.create("d", dir, small())
		p := ok(h.data.Start(t.Context(), project, d.ID))(t)
		for i := 0; h.preparation(p.ID).State != dataset.Complete; i++ {
			if i > 100 {
				t.Fatal("it does not come about")
			}
			h.hire(h.dir, nil)
			stop := h.run()
			patience := time.NewTimer(time.Duration(40+60*i) * time.Millisecond)
			<-patience.C
			stop()
		}
		p = h.preparation(p.ID)
		if p.Root != rootOf(t, dir) || p.Skipped != 0 {
			t.Errorf("preparation %+v", p)
		}
		s := shelf{}
		s.read(h, h.dataPieces(p.ID)...)
		same(t, dir, s.export(t, p.Root))
		if dead := ok(h.jobs.List(t.Context(), job.Filter{State: job.Dead}))(t); len(dead) != 0 {
			t.Errorf("dead jobs: %+v", dead)
		}
	})
}

var quiet = slog.New(slog.DiscardHandler)
