package indexdag

import (
	"slices"
	"strconv"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// oldNode is what a node of Singularity v1 says of itself.
type oldNode struct {
	kind    string // __type
	size    int64  // __size
	sources []Source
}

// field reads the value of a key that begins with two underscores.
func (o *oldNode) field(d *decoder, key string) (err error) {
	switch {
	case key == "__type" && d.peek() == majorText:
		o.kind, err = d.text()
	case key == "__size" && d.peek() == majorUint:
		o.size, err = d.size()
	case (key == "__source" || key == "__sources") && d.peek() == majorList:
		err = d.list(func() error {
			s, err := d.oldSource()
			o.sources = append(o.sources, s)
			return err
		})
	default:
		err = d.skip()
	}
	return err
}

func (d *decoder) oldSource() (s Source, err error) {
	err = d.fields(func(key string) (err error) {
		switch key {
		case "cid":
			s.Cid, err = d.cid()
		case "piece":
			s.Piece, err = d.cid()
		case "selector":
			s.Selector, err = d.selector()
		case "offset":
			s.Offset, err = d.size()
		case "length":
			s.Length, err = d.size()
		default:
			err = d.skip()
		}
		return err
	})
	if err == nil && !s.Cid.Defined() {
		err = d.bad("a source without CID")
	}
	return s, err
}

// selector reads the way from the root of a CAR to a file: numbers of links,
// in a list or as text, alone ("0/3") or as steps of the dag-pb data model
// ("Links/0/Hash/Links/3/Hash").
func (d *decoder) selector() (out []int, err error) {
	if d.peek() == majorList {
		err = d.list(func() error {
			n, err := d.size()
			out = append(out, int(min(n, 1<<30)))
			return err
		})
		return out, err
	}
	s, err := d.text()
	if err != nil {
		return nil, err
	}
	for step := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '/' || r == ',' }) {
		if step == "Links" || step == "Hash" {
			continue
		}
		n, err := strconv.ParseUint(step, 10, 30)
		if err != nil {
			return nil, d.bad("a selector that is no way along links")
		}
		out = append(out, int(n))
	}
	return out, nil
}

// readOld reads the files and directories that a directory of version 1 maps
// its names to. A file has none.
func (p *page) readOld(d *decoder, at map[string]int) error {
	if p.old.isFile() {
		return nil
	}
	for name, start := range at {
		if strings.HasPrefix(name, "__") {
			continue
		}
		if err := checkName(name); err != nil {
			return err
		}
		d.at = start
		if d.peek() == majorTag { // what it is shows where it leads
			link, err := d.link()
			if err != nil {
				return err
			}
			p.entries = append(p.entries, Entry{Path: name, Kind: unread, link: link})
			continue
		}
		if d.peek() != majorMap {
			continue
		}
		if d.depth++; d.depth >= maxNested {
			return d.bad("too deep")
		}
		below, err := d.page()
		d.depth--
		if err != nil {
			return fault.Wrap(err, "%.80q", name)
		}
		e, err := below.oldEntry(name)
		if err != nil {
			return err
		}
		p.entries = append(p.entries, e)
	}
	slices.SortFunc(p.entries, func(a, b Entry) int { return strings.Compare(a.Key(), b.Key()) })
	return nil
}

// unread is an entry of version 1 that stands in a node of its own.
const unread = Kind(0x7f)

func (o *oldNode) isFile() bool { return o.kind == "file" }

// oldEntry is what a node of version 1 is in its directory.
func (p *page) oldEntry(name string) (Entry, error) {
	if p.old == nil {
		return Entry{}, fault.New(fault.Invalid, "index node: %.80q has no __type", name)
	}
	e := Entry{Path: name, Kind: Dir, Size: p.old.size, below: p}
	if p.old.isFile() {
		e.Kind, e.below = File, nil
		e.Sources = p.old.sources
		if len(e.Sources) == 1 {
			s := &e.Sources[0]
			s.Offset = 0
			s.Length = e.Size // of a file that was not cut v1 may leave them out
		}
		slices.SortStableFunc(e.Sources, func(a, b Source) int { return int(min(1, max(-1, a.Offset-b.Offset))) })
	}
	return e, nil
}
