package dataset_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
)

// What the node of another process is told: its directory, and the options of
// the server whose buckets it exports to.
const (
	nodeDir    = "FIRTH_TEST_DATASET_NODE"
	nodeBucket = "FIRTH_TEST_DATASET_BUCKET"
)

func reopen(t *testing.T, dir string) *db.DB {
	t.Helper()
	d := dbtest.Reopen(t, "sqlite:"+filepath.Join(dir, "firth.db"), event.Migrations, piece.Migrations(), dataset.Migrations())
	must(t, job.Migrate(t.Context(), d))
	return d
}

// TestNode is the process that TestKilled kills.
func TestNode(t *testing.T) {
	dir := os.Getenv(nodeDir)
	if dir == "" {
		t.Skip("runs as another test's process")
	}
	h := furnish(t, reopen(t, dir), dir)
	if options := os.Getenv(nodeBucket); options != "" {
		b := &buckets{}
		must(t, json.Unmarshal([]byte(options), &b.options))
		h.pieces.ExportTo(b)
	}
	h.run()
	h.complete(1)
}

// Killed at any moment, a preparation goes on and ends the same, with nothing
// left behind.
func TestKilled(t *testing.T) {
	t.Parallel()
	home, cars := t.TempDir(), t.TempDir()
	files := map[string][]byte{"big": noise(77, 12*MiB)}
	for i := range 20 {
		files["many/"+string(rune('a'+i))] = noise(uint64(i), 100_000+i*20_000)
	}
	dir := tree(t, files)
	rules := small()
	rules.Export = cars
	h := furnish(t, reopen(t, home), home)
	p := ok(h.data.Start(t.Context(), project, h.create("d", dir, rules).ID))(t)
	must(t, h.blocks.Close())
	must(t, h.db.Close())
	killed(t, home)
	h = furnish(t, reopen(t, home), home)
	p = h.preparation(p.ID)
	if p.State != dataset.Complete || p.Root != rootOf(t, dir) || p.Skipped != 0 {
		t.Fatalf("preparation %+v", p)
	}
	s := shelf{}
	s.read(h, h.dataPieces(p.ID)...)
	same(t, dir, s.export(t, p.Root))
	for _, e := range ok(os.ReadDir(cars))(t) {
		if !strings.HasSuffix(e.Name(), ".car") || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("left among the CARs: %s", e.Name())
		}
	}
	h.run() // the last node may have been stopped while it tidied up
	until(t, func() bool { return len(ok(os.ReadDir(filepath.Join(home, "work")))(t)) == 0 })
}

// killed has the first preparation of a home done by processes that are killed,
// each later than the one before, until one is not.
func killed(t *testing.T, home string) {
	t.Helper()
	kills, patience := 0, 250*time.Millisecond
	for ; !runs(t, patience, nodeDir+"="+home); kills++ {
		patience += patience / 5
	}
	t.Logf("killed %d times", kills)
}

// Several nodes over one database share the chunks and make what one makes.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open)
		if h.db.Engine() != db.PostgreSQL {
			t.Skip("one process alone uses a SQLite database")
		}
		h.hire(t.TempDir(), func(s *dataset.Settings) { s.Worker = "one" })
		other := *h
		other.hire(t.TempDir(), func(s *dataset.Settings) { s.Worker = "two" })
		files := map[string][]byte{}
		for i := range 10 {
			files[string(rune('a'+i))] = noise(uint64(i), 3*MiB)
		}
		dir := tree(t, files)
		p := ok(h.data.Start(t.Context(), project, h.create("d", dir, small()).ID))(t)
		h.run()
		other.run()
		// Who pauses and resumes all the time takes nothing away.
		var busy sync.WaitGroup
		busy.Go(func() {
			for range 3 {
				_, _ = other.data.Pause(t.Context(), project, p.ID)
				_, _ = h.data.Resume(t.Context(), project, p.ID)
			}
		})
		busy.Wait()
		p = h.complete(p.ID)
		if p.Root != rootOf(t, dir) {
			t.Errorf("preparation %+v", p)
		}
		workers := map[string]int{}
		for _, c := range h.chunks(p.ID) {
			workers[c.Worker]++
			if len(c.Pieces) != 1 {
				t.Errorf("chunk %+v", c)
			}
		}
		t.Logf("chunks by worker: %v", workers)
		if len(workers) != 2 {
			t.Errorf("one node did all: %v", workers)
		}
	})
}
