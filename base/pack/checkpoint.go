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
	if err := p.keep(&p.outcomes.appended); err != nil {
		return err
	}
	s := state{Point: p.here(p.at.Cursor), Done: done}
	if done == nil {
		for _, file := range p.spool.files() {
			if err := p.keep(file); err != nil {
				return err
			}
		}
		if p.car != nil && !p.job.Temporary {
			if err := p.car.sync(); err != nil {
				return err
			}
		}
		if err := replaceFile(filepath.Join(p.job.Dir, treeFile), p.slots.tree, !p.job.Temporary); err != nil {
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

// keep writes down what was appended to a file, durably unless nobody needs
// that.
func (p *packer) keep(file *appended) error {
	if p.job.Temporary {
		return p.dirError(file.flush())
	}
	return p.dirError(file.sync())
}

// store replaces the checkpoint.
func (p *packer) store(s state) error {
	s.Version, s.Settings = stateVersion, p.job.fingerprint()
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	head := fmt.Appendf(nil, "%08x\n", crc32.Checksum(body, castagnoli))
	return p.dirError(replaceFile(filepath.Join(p.job.Dir, stateFile), texts{head, body}, !p.job.Temporary))
}

func (f *file) state() *begun {
	if f == nil {
		return nil
	}
	b := &begun{
		Begun: f.begun, Start: f.start, StartEdge: f.startEdge, Source: f.source,
		First: f.first, Last: f.last, Scattered: f.scattered, Elsewhere: f.elsewhere,
		Digests: make([]byte, 0, 32*len(f.digests)),
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
