package pack

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// root makes the piece's own directory: files that are whole in it under their
// paths, parts of files as files of their own beside them.
func (p *packer) root(ctx context.Context, emit func(blocks.Block) error) (dag.Entry, error) {
	d := &ownRoot{w: dag.NewDirectoryWriter(p.prof, emit), prof: p.prof, emit: emit}
	var digest uint64
	next, stop := iter.Pull2(p.job.Entries(0))
	defer stop()
	for out, err := range Outcomes(p.outcomes.each) {
		if err == nil && out.Entry%1024 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return dag.Entry{}, err
		}
		e, err, ok := next()
		if err == nil && !ok {
			err = errors.New("is missing")
		}
		if err != nil {
			return dag.Entry{}, fault.Wrap(err, "entry %d, read again", out.Entry)
		}
		digest = digestEntry(digest, e)
		if err := d.add(e, out); err != nil {
			return dag.Entry{}, err
		}
	}
	if digest != p.at.Cursor.Digest {
		return dag.Entry{}, fault.New(fault.Internal, "the entries read again are others")
	}
	return d.finish()
}

// ownRoot adds parts under names of their own, which may belong behind entries
// that come later: they wait for their place.
type ownRoot struct {
	w     *dag.DirectoryWriter
	prof  dag.Profile
	emit  func(blocks.Block) error
	parts []part // in order of names
}

type part struct {
	path  string
	entry dag.Entry
}

func (d *ownRoot) add(e Entry, out Outcome) error {
	if out.Skipped != "" {
		return nil
	}
	if err := d.flush(&e); err != nil {
		return err
	}
	switch {
	case e.Kind == Directory:
		return d.w.Mkdir(e.Path)
	case e.Kind == Regular && e.part():
		return d.addPart(e, out)
	}
	l := out.Link
	return d.w.Add(e.Path, dag.Entry{Cid: l.Cid, Size: l.Size, TreeSize: l.TreeSize, Symlink: e.Kind == Symlink, Target: e.Target})
}

func (d *ownRoot) addPart(e Entry, out Outcome) error {
	made, err := dag.PartFile(d.prof, out.Tops, d.emit)
	if err != nil {
		return err
	}
	d.wait(part{partName(e), made})
	return nil
}

func (d *ownRoot) wait(p part) {
	d.parts = append(d.parts, p)
	for i := len(d.parts) - 1; i > 0 && d.parts[i].path < d.parts[i-1].path; i-- {
		d.parts[i], d.parts[i-1] = d.parts[i-1], d.parts[i]
	}
}

// partName is the path of a part: "<file>.part-<first byte>-<end byte>".
func partName(e Entry) string {
	suffix := fmt.Sprintf(".part-%d-%d", e.Offset, e.end())
	dir := strings.LastIndexByte(e.Path, '/') + 1
	if over := len(e.Path) - dir + len(suffix) - maxName + 8; over > 0 { // 8: see flush
		return e.Path[:len(e.Path)-over] + suffix
	}
	return e.Path + suffix
}

// flush adds the parts that come before an entry, all if it is nil. A part
// whose name the entry takes gets another one.
func (d *ownRoot) flush(before *Entry) error {
	for len(d.parts) > 0 {
		first := d.parts[0]
		switch {
		case before == nil:
		case first.path == before.Path || strings.HasPrefix(before.Path, first.path+"/"):
			first.path += "~"
			d.parts = d.parts[1:]
			d.wait(first)
			continue
		case compareEntries(Entry{Path: first.path}, *before) > 0:
			return nil
		}
		if err := d.w.Add(first.path, first.entry); err != nil {
			return err
		}
		d.parts = d.parts[1:]
	}
	return nil
}

func (d *ownRoot) finish() (dag.Entry, error) {
	if err := d.flush(nil); err != nil {
		return dag.Entry{}, err
	}
	return d.w.Finish()
}
