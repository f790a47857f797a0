package pack

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

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
	p.car, err = createCAR(p.job.Dir, p.job.Export, p.limit, !p.job.Temporary)
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
