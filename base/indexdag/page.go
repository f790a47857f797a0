package indexdag

import (
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// page is an index node that was read: the header, or a page of a tree of
// entries, sources or pieces. A node of version 1 is the page of a directory.
type page struct {
	kind    string
	header  Header
	tree    cid.Cid
	pieces  cid.Cid
	entries []Entry // Path is the name alone
	sources []Source
	list    []Piece
	pages   []pageLink

	old *oldNode // of version 1
}

// pageLink leads to a page further down.
type pageLink struct {
	first string // key of a directory's entry
	from  int64  // offset of a source, ordinal of a piece
	count int64
	link  cid.Cid
}

// parsePage reads a node. What is none, or contradicts itself, is Invalid.
func parsePage(data []byte) (*page, error) {
	d := &decoder{b: data}
	p, err := d.page()
	if err != nil {
		return nil, err
	}
	if d.at != len(data) {
		return nil, d.bad("more bytes than the node")
	}
	return p, nil
}

// page reads a map. Which keys count depends on the type, which may stand
// behind them, so items are read when all is known.
func (d *decoder) page() (*page, error) {
	p, old := &page{}, &oldNode{}
	at := map[string]int{}
	err := d.fields(func(key string) (err error) {
		start := d.at
		switch {
		case key == "type" && d.peek() == majorText:
			p.kind, err = d.text()
		case strings.HasPrefix(key, "__"):
			err = old.field(d, key)
		default:
			err = d.skip()
		}
		if _, twice := at[key]; twice {
			return d.bad("a key that stands twice")
		}
		at[key] = start
		return err
	})
	if err != nil {
		return nil, err
	}
	end := d.at
	if old.kind != "" {
		p.kind, p.old = Dir.String(), old
		err = p.readOld(d, at)
	} else {
		err = p.read(d, at)
	}
	d.at = end
	if err != nil {
		return nil, err
	}
	return p, p.ordered()
}

// read reads the values of a node of ours, whose places are known.
func (p *page) read(d *decoder, at map[string]int) error {
	if p.kind == "dataset" {
		return p.readHeader(d, at)
	}
	items := map[string]func() error{
		Dir.String(): func() error {
			e, err := d.entry()
			p.entries = append(p.entries, e)
			return err
		},
		"sources": func() error {
			s, err := d.source()
			p.sources = append(p.sources, s)
			return err
		},
		"pieces": func() error {
			q, err := d.piece()
			p.list = append(p.list, q)
			return err
		},
	}
	item, known := items[p.kind]
	if !known {
		return fault.New(fault.Invalid, "not an index node: type %.40q is unknown", p.kind)
	}
	if start, ok := at["entries"]; ok {
		d.at = start
		return d.list(item)
	}
	start, ok := at["pages"]
	if !ok {
		return d.bad("neither entries nor pages")
	}
	d.at = start
	return d.list(func() error {
		l, err := d.pageLink(p.kind)
		p.pages = append(p.pages, l)
		return err
	})
}

func (p *page) readHeader(d *decoder, at map[string]int) error {
	var version int64
	h := &p.header
	for key, read := range map[string]func() error{
		"version":     func() (err error) { version, err = d.int(); return },
		"name":        func() (err error) { h.Name, err = d.name(); return },
		"root":        func() (err error) { h.Root, err = d.cid(); return },
		"profile":     func() (err error) { h.Profile, err = d.text(); return },
		"created":     func() (err error) { n, err := d.int(); h.Created = time.Unix(n, 0).UTC(); return err },
		"files":       func() (err error) { h.Files, err = d.size(); return },
		"bytes":       func() (err error) { h.Bytes, err = d.size(); return },
		"encryption":  func() (err error) { h.Encryption, err = d.text(); return },
		"compression": func() (err error) { h.Compression, err = d.text(); return },
		"tree":        func() (err error) { p.tree, err = d.link(); return },
		"pieces":      func() (err error) { p.pieces, err = d.link(); return },
	} {
		if start, ok := at[key]; ok {
			d.at = start
			if err := read(); err != nil {
				return fault.Wrap(err, "%s", key)
			}
		}
	}
	if version != formatOurs {
		return fault.New(fault.Invalid, "index of version %d; this program reads %d", version, formatOurs)
	}
	h.Version = formatOurs
	if !p.tree.Defined() || !p.pieces.Defined() {
		return d.bad("no tree or no pieces")
	}
	return nil
}

// entry reads an entry of a directory; its path is its name.
func (d *decoder) entry() (e Entry, err error) {
	kind := ""
	err = d.fields(func(key string) (err error) {
		switch key {
		case "type":
			kind, err = d.text()
		case "name":
			e.Path, err = d.name()
		case "size":
			e.Size, err = d.size()
		case "stored":
			e.Stored, err = d.size()
		case "files":
			e.Files, err = d.size()
		case "cid":
			e.Cid, err = d.cid()
		case "mtime":
			var n int64
			n, err = d.int()
			e.ModTime = time.Unix(0, n).UTC()
		case "target":
			e.Target, err = d.name()
		case "link":
			e.link, err = d.link()
		case "sources":
			if d.peek() == majorTag {
				e.link, err = d.link()
				return err
			}
			err = d.list(func() error {
				s, err := d.source()
				e.Sources = append(e.Sources, s)
				return err
			})
		default:
			err = d.skip()
		}
		return err
	})
	if err != nil {
		return e, err
	}
	return e, e.decoded(d, kind)
}

// decoded judges an entry that was read. Its sources are judged when all of
// them are known.
func (e *Entry) decoded(d *decoder, kind string) error {
	if err := checkName(e.Path); err != nil {
		return err
	}
	switch {
	case kind == File.String() && e.Cid.Defined():
		e.Kind = File
	case kind == Dir.String() && e.link.Defined():
		e.Kind = Dir
	case kind == Symlink.String() && e.Target != "" && len(e.Target) <= maxTarget:
		e.Kind, e.Size = Symlink, int64(len(e.Target))
	default:
		return d.bad("an entry that is neither file, directory nor link")
	}
	return nil
}

func (d *decoder) source() (s Source, err error) {
	err = d.fields(func(key string) (err error) {
		switch key {
		case "piece":
			s.Piece, err = d.cid()
		case "cid":
			s.Cid, err = d.cid()
		case "path":
			s.Path, err = d.name()
		case "offset":
			s.Offset, err = d.size()
		case "length":
			s.Length, err = d.size()
		case "car":
			s.CAR, err = d.ranges()
		case "plain":
			var plain []Range
			if plain, err = d.ranges(); err == nil && len(plain) != 1 {
				err = d.bad("a source that unpacks to other than one range")
			}
			if err == nil {
				s.Plain = plain[0]
			}
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

func (d *decoder) ranges() (out []Range, err error) {
	odd := false
	err = d.list(func() error {
		n, err := d.size()
		switch {
		case err != nil:
			return err
		case !odd && len(out) == maxRanges:
			return d.bad("a source of more ranges than a reader takes")
		case !odd:
			out = append(out, Range{Offset: n})
		default:
			out[len(out)-1].Length = n
			if n > 1<<62 || out[len(out)-1].Offset > 1<<62 {
				return d.bad("a range beyond 2^62")
			}
		}
		odd = !odd
		return nil
	})
	if err == nil && odd {
		err = d.bad("half a range")
	}
	return out, err
}

func (d *decoder) piece() (p Piece, err error) {
	err = d.fields(func(key string) (err error) {
		switch key {
		case "cid":
			p.Cid, err = d.cid()
		case "root":
			p.Root, err = d.cid()
		case "size":
			p.Size, err = d.size()
		default:
			err = d.skip()
		}
		return err
	})
	return p, err
}

func (d *decoder) pageLink(kind string) (l pageLink, err error) {
	err = d.fields(func(key string) (err error) {
		switch {
		case key == "link":
			l.link, err = d.link()
		case key == "count":
			l.count, err = d.size()
		case key == "first" && kind == Dir.String():
			l.first, err = d.name()
		case key == "first":
			l.from, err = d.size()
		default:
			err = d.skip()
		}
		return err
	})
	if err == nil && !l.link.Defined() {
		err = d.bad("a page without link")
	}
	return l, err
}

// ordered makes sure that a search finds what is there.
func (p *page) ordered() error {
	for i := 1; i < len(p.entries); i++ {
		if a, b := p.entries[i-1].Key(), p.entries[i].Key(); a >= b {
			return fault.New(fault.Invalid, "index node: entry %.80q behind %.80q", b, a)
		}
	}
	for i := 1; i < len(p.pages); i++ {
		if a, b := p.pages[i-1], p.pages[i]; p.kind == Dir.String() && a.first >= b.first || p.kind != Dir.String() && a.from > b.from {
			return fault.New(fault.Invalid, "index node: page %d begins before the one before", i)
		}
	}
	return nil
}

// first returns the key of the first entry beneath, "" when there is none.
func (p *page) first() string {
	switch {
	case len(p.pages) > 0:
		return p.pages[0].first
	case len(p.entries) > 0:
		return p.entries[0].Key()
	}
	return ""
}
