package test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/devnet"
)

// A dataset is prepared while those who pack it are killed. It ends with the
// pieces of a quiet run, served as they were written, and nothing else lies
// about.
func TestDataset(t *testing.T) {
	t.Parallel()
	n := network{devnet.Info{RPC: "http://127.0.0.1:1"}} // nobody asks the chain
	t.Run("together", func(t *testing.T) {
		t.Parallel()
		d := newNode(t, "the node", n)
		newOnboarding(t, d, d).run()
	})
	t.Run("apart", func(t *testing.T) {
		t.Parallel()
		doors, workers := newApart(t, n)
		newOnboarding(t, doors, workers).run()
	})
}

// onboarding is a dataset on its way in.
type onboarding struct {
	t             *testing.T
	doors, packer *node
	data, cars    string
	root          string // what a quiet run has found
	pieces        []string
	client        *client.Client
	kills         int
}

func newOnboarding(t *testing.T, doors, packer *node) *onboarding {
	o := &onboarding{t: t, doors: doors, packer: packer, cars: filepath.Join(t.TempDir(), "cars"), kills: 4}
	files := map[string]string{"empty/": "", "link": "->big/0"}
	for i := range 5 {
		files[fmt.Sprintf("big/%d", i)] = string(noise(uint64(i), 5<<20+i))
	}
	for i := range 400 {
		files[fmt.Sprintf("small/%02d/%d", i%20, i)] = string(noise(uint64(100+i), 3000+i))
	}
	o.data = plant(t, t.TempDir(), files)
	lines := strings.Split(strings.TrimSpace(succeed(t, []string{"HOME=" + t.TempDir()}, "", "pack", o.data, "--piece-size", "8MiB", "--json")), "\n")
	last := decode[struct{ Dataset struct{ Root string } }](t, lines[len(lines)-1])
	o.root = last.Dataset.Root
	for _, line := range lines[:len(lines)-2] { // the last piece holds the index, which has a date in it
		o.pieces = append(o.pieces, decode[client.Piece](t, line).PieceCID)
	}
	for _, n := range []*node{doors, packer} {
		n.env = append(n.env, "FIRTH_DATASET_WORKERS=1", "FIRTH_DATASET_CHECKPOINT=1048576")
	}
	return o
}

func (o *onboarding) run() {
	t := o.t
	o.doors.start(t)
	if o.packer != o.doors {
		o.packer.start(t)
	}
	o.client = o.doors.client(t)
	o.doors.firth(t, "dataset", "start", "tree", "--source", o.data, "--piece-size", "8MiB", "--out", o.cars)
	for i := range o.kills {
		select {
		case <-o.packer.done:
			t.Fatalf("%s ended by itself", o.packer.name)
		case <-time.After(time.Duration(100+150*i) * time.Millisecond):
		}
		o.packer.kill()
		o.packer.start(t)
	}
	var d client.Dataset
	await(t, 3*time.Minute, "the dataset", func() string {
		var err error
		if d, err = o.client.Dataset(t.Context(), "tree"); err != nil {
			return err.Error()
		}
		if p := d.Preparation; p.State != "complete" {
			return fmt.Sprintf("is %s, %+v, %s", p.State, p.Chunks, p.Reason)
		}
		return ""
	})
	o.judge(*d.Preparation)
	for _, n := range []*node{o.doors, o.packer} {
		if n.ended() {
			continue
		}
		n.stop(t)
	}
}

// ended reports whether the process is over.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (o *onboarding) judge(p client.Preparation) {
	t := o.t
	if p.Root != o.root || p.Files != 406 || p.Skipped != 0 {
		t.Errorf("%+v, want root %s", p, o.root)
	}
	want := map[string]bool{}
	var made []string
	for _, c := range all(t, o.client.Chunks(t.Context(), "tree")) {
		for _, piece := range c.Pieces {
			made = append(made, piece.PieceCID)
		}
	}
	if fmt.Sprint(made) != fmt.Sprint(o.pieces) {
		t.Errorf("pieces %v\nof a quiet run %v", made, o.pieces)
	}
	index, err := o.client.Piece(t.Context(), fmt.Sprint(p.IndexPiece))
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range append(made, index.PieceCID) {
		want[piece+".car"] = true
		o.compare(piece)
	}
	left, err := os.ReadDir(o.cars)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if !want[f.Name()] {
			t.Errorf("%s is left behind", f.Name())
		}
	}
	await(t, 3*time.Minute, "an empty working directory", func() string {
		work, _ := filepath.Glob(filepath.Join(o.packer.home, "work", "*", "chunk-*"))
		return strings.Join(work, " ")
	})
}

// compare holds the bytes that are served against the CAR that was written.
func (o *onboarding) compare(piece string) {
	t := o.t
	car, err := os.ReadFile(filepath.Join(o.cars, piece+".car"))
	if err != nil {
		t.Fatal(err)
	}
	// Without the CAR the bytes come from the source.
	for _, hidden := range []bool{false, true} {
		path := filepath.Join(o.cars, piece+".car")
		if hidden {
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
		}
		r, err := o.client.PieceBytes(t.Context(), piece, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		served, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(served, car) {
			t.Errorf("piece %s: %d bytes served, %d written (%v)", piece, len(served), len(car), err)
		}
		if hidden {
			if err := os.Rename(path+".away", path); err != nil {
				t.Fatal(err)
			}
		}
	}
}
