package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// Files of a working directory, beside the spool's.
const (
	stateFile    = "state"    // the checkpoint
	treeFile     = "tree"     // roots of slots, of the checkpoint or later
	outcomesFile = "outcomes" // of all entries
	carFile      = "car"      // where the half-written CAR is
	indexFile    = "index"
)

const stateVersion = 1

// state is a checkpoint: a line with the checksum of the rest, which is JSON.
type state struct {
	Version  int       `json:"version"`
	Settings string    `json:"settings"`
	Point    point     `json:"point"`
	Edge     []byte    `json:"edge,omitempty"`  // what there is of the slot that the point is in
	First    []byte    `json:"first,omitempty"` // slot 0, once whole
	File     *begun    `json:"file,omitempty"`  // that the point is in
	Done     *finished `json:"done,omitempty"`
}

// begun is a file that is not all in the CAR yet.
type begun struct {
	Begun     bool   `json:"begun"`
	Start     point  `json:"start"`
	StartEdge []byte `json:"start_edge,omitempty"`
	Source    uint32 `json:"source"`
	Digests   []byte `json:"digests"` // of its leaves so far
	First     int64  `json:"first"`
	Last      int64  `json:"last"`
	Scattered bool   `json:"scattered,omitempty"`
	Elsewhere Record `json:"elsewhere"`
}

// fingerprint is what of a job must not change between two runs.
func (j *Job) fingerprint() string {
	return fmt.Sprintf("%+v %d %d %t %q", j.Profile, j.MaxPadded, j.MinPadded, j.NoDedup, j.Export)
}

// save stores where the run is; done says that it is finished.
func (p *packer) save(done *finished) error {
	if err := p.outcomes.sync(); err != nil {
		return p.dirError(err)
	}
	s := state{Point: p.here(p.at.Cursor), Done: done}
	if done == nil {
		if _, err := p.spool.Sync(); err != nil {
			return p.dirError(err)
		}
		if p.car != nil {
			if err := p.car.sync(); err != nil {
				return err
			}
		}
		tree, err := p.slots.tree.MarshalBinary()
		if err != nil {
			return fault.Mark(fault.Internal, err)
		}
		if err := replaceFile(filepath.Join(p.job.Dir, treeFile), tree); err != nil {
			return p.dirError(err)
		}
		s.Edge, s.File = p.slots.edge, p.open.state()
		if f := p.open; f != nil && f.stream != nil { // it is read from the beginning
			s.Point, s.Edge, s.File = f.start, f.startEdge, nil
		}
		s.First = p.firstSlot(s.Point.Offset)
	}
	if err := p.store(s); err != nil {
		return err
	}
	p.saved.cursor, p.saved.handled = s.Point.Cursor, p.handled
	return nil
}

// store replaces the checkpoint.
func (p *packer) store(s state) error {
	s.Version, s.Settings = stateVersion, p.job.fingerprint()
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	head := fmt.Appendf(nil, "%08x\n", crc32.Checksum(body, castagnoli))
	return p.dirError(replaceFile(filepath.Join(p.job.Dir, stateFile), append(head, body...)))
}

func (f *file) state() *begun {
	if f == nil {
		return nil
	}
	b := &begun{
		Begun: f.begun, Start: f.start, StartEdge: f.startEdge, Source: f.source,
		First: f.first, Last: f.last, Scattered: f.scattered, Elsewhere: f.elsewhere,
	}
	for _, d := range f.digests {
		b.Digests = append(b.Digests, d[:]...)
	}
	return b
}

// continueFrom takes up a file where an earlier run left it.
func (f *file) continueFrom(b *begun, prof dag.Profile) (err error) {
	f.begun, f.start, f.startEdge, f.source = b.Begun, b.Start, b.StartEdge, b.Source
	f.first, f.last, f.scattered, f.elsewhere = b.First, b.Last, b.Scattered, b.Elsewhere
	if f.to-f.from > 1 {
		if f.builder, err = dag.NewFileBuilder(prof, f.entry.Size, f.from, f.to); err != nil {
			return err
		}
	}
	for i := 0; i+32 <= len(b.Digests); i += 32 {
		if err := f.grow(f.from+int64(i/32), [32]byte(b.Digests[i:])); err != nil {
			return err
		}
	}
	return nil
}

// readState reads a checkpoint of the same settings; nil if there is none.
func (p *packer) readState() (*state, error) {
	b, err := os.ReadFile(filepath.Join(p.job.Dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(b, []byte("\n"))
	var s state
	if string(head) != fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)) || json.Unmarshal(body, &s) != nil {
		return nil, nil
	}
	if s.Version != stateVersion || s.Settings != p.job.fingerprint() {
		return nil, nil
	}
	return &s, nil
}

// recover takes up what an earlier run left in the working directory, or begins
// anew. done says that the earlier run was finished.
func (p *packer) recover() (made Made, done bool, err error) {
	s, err := p.readState()
	if err != nil {
		return Made{}, false, err
	}
	if s != nil && s.Done != nil {
		_, same, err := p.taker.resume(s.Point.Cursor)
		if err != nil {
			return Made{}, false, err
		}
		if same {
			if same, err = p.taker.over(); err != nil {
				return Made{}, false, err
			}
		}
		if same {
			if made, done, err = p.complete(s.Done); err != nil || done {
				return made, done, err
			}
		}
		s = nil
	}
	if s != nil {
		ok, err := p.takeUp(s)
		if ok || err != nil {
			return Made{}, false, err
		}
	}
	return Made{}, false, p.startOver()
}

// takeUp continues at a checkpoint; false when something of it is gone.
func (p *packer) takeUp(s *state) (bool, error) {
	in, same, err := p.taker.resume(s.Point.Cursor)
	if err != nil || !same || (in == nil) != (s.File == nil) {
		return false, err
	}
	tree, err := os.ReadFile(filepath.Join(p.job.Dir, treeFile))
	if err != nil {
		return false, ignoreMissing(err)
	}
	if p.slots.tree, err = commp.LoadTree(tree); err != nil || p.slots.tree.RawSize() != p.limit {
		return false, nil
	}
	if err := p.openSpools(s.Point); err != nil {
		if fault.Is(err, fault.Conflict) {
			return false, nil
		}
		return false, err
	}
	if p.job.Export != "" {
		if p.car, err = reopenCAR(p.job.Dir, s.Point.Offset, p.limit); err != nil || p.car == nil {
			return false, err
		}
	}
	if err := p.rewind(s.Point, s.Edge, s.First); err != nil {
		return false, err
	}
	p.saved.cursor = s.Point.Cursor
	if in != nil {
		p.open = in
		return true, in.continueFrom(s.File, p.prof)
	}
	return true, nil
}

func (p *packer) openSpools(at point) (err error) {
	if p.spool, err = OpenSpool(p.job.Dir, at.Spool); err != nil {
		return p.dirError(err)
	}
	if p.seen != nil {
		p.seen.close()
	}
	p.seen = newSeen(p.spool)
	p.outcomes, err = openOutcomes(filepath.Join(p.job.Dir, outcomesFile), at.Outcomes)
	return p.dirError(err)
}

// startOver begins with nothing.
func (p *packer) startOver() error {
	if err := removeCAR(p.job.Dir); err != nil {
		return err
	}
	for _, name := range []string{stateFile, treeFile, indexFile} {
		if err := ignoreMissing(os.Remove(filepath.Join(p.job.Dir, name))); err != nil {
			return p.dirError(err)
		}
	}
	p.closeFiles()
	if err := p.openSpools(point{}); err != nil {
		return err
	}
	p.slots.tree = commp.NewTree(p.limit)
	empty := header(leafCid([32]byte{}))
	if err := p.rewind(point{Offset: int64(len(empty))}, make([]byte, len(empty)), nil); err != nil {
		return err
	}
	p.taker.planner = planner{}
	p.taker.begin()
	if p.job.Export == "" {
		return nil
	}
	var err error
	p.car, err = createCAR(p.job.Dir, p.job.Export, p.limit)
	return err
}

// complete returns what a finished run made, after giving its CAR its name; ok
// is false when the CAR or the index is gone.
func (p *packer) complete(d *finished) (made Made, ok bool, err error) {
	if made, err = d.made(p.job.Dir); err != nil {
		return Made{}, false, err
	}
	if _, err := os.Stat(made.Index); err != nil {
		return Made{}, false, ignoreMissing(err)
	}
	if made.CAR == "" {
		return made, true, nil
	}
	ok, err = nameCAR(p.job.Dir, made.CAR, made.CARSize)
	return made, ok, err
}

// dirError names the working directory in an error.
func (p *packer) dirError(err error) error { return diskError(err, p.job.Dir, 0) }

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// finished is what a Made is stored as.
type finished struct {
	Piece    string `json:"piece"`
	Root     string `json:"root"`
	CARSize  int64  `json:"car_size"`
	Blocks   int64  `json:"blocks"`
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
	Skipped  int64  `json:"skipped"`
	CAR      string `json:"car,omitempty"`
	Outcomes int64  `json:"outcomes"` // bytes of them
}

func (d *finished) made(dir string) (Made, error) {
	pieceCid, err := cid.Decode(d.Piece)
	if err != nil {
		return Made{}, err
	}
	m := Made{
		CARSize: d.CARSize, Blocks: d.Blocks, Files: d.Files, Bytes: d.Bytes, Skipped: d.Skipped, CAR: d.CAR,
		Index: filepath.Join(dir, indexFile), Outcomes: outcomesIn(filepath.Join(dir, outcomesFile), d.Outcomes),
	}
	if m.Piece, err = commp.FromCIDv2(pieceCid); err != nil {
		return Made{}, fault.Mark(fault.Internal, err)
	}
	m.Root, err = cid.Decode(d.Root)
	return m, err
}
