package indexdag

import (
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// pageFrame is more than the bytes of a node around its items.
const pageFrame = 64

// pager makes a tree of pages of items that come in order. A page is as full
// as it can be, so the same items make the same tree. Its memory is one page a
// level.
type pager struct {
	kind   string // the type of its nodes
	emit   func(blocks.Block) error
	levels []filling // the items' own level first
}

// filling is a page that may still grow.
type filling struct {
	items []byte
	n     int
	count int64  // items of the lowest level beneath
	first []byte // the first key, as CBOR
}

func newPager(kind string, emit func(blocks.Block) error) *pager {
	return &pager{kind: kind, emit: emit, levels: make([]filling, 1)}
}

// add takes the next item and its key, both as CBOR.
func (p *pager) add(key, item []byte) error { return p.put(0, key, item, 1) }

func (p *pager) put(at int, key, item []byte, count int64) error {
	if len(item) > maxPage-pageFrame {
		return fault.New(fault.Invalid, "item of %d bytes in an index, limit %d", len(item), maxPage-pageFrame)
	}
	if at == len(p.levels) {
		p.levels = append(p.levels, filling{})
	}
	if len(p.levels[at].items)+len(item) > maxPage-pageFrame {
		if err := p.turn(at); err != nil {
			return err
		}
	}
	l := &p.levels[at]
	if l.n == 0 {
		l.first = append(l.first[:0], key...)
	}
	l.items = append(l.items, item...)
	l.n++
	l.count += count
	return nil
}

// turn emits the page of a level and begins the next.
func (p *pager) turn(at int) error {
	l := p.levels[at]
	link, err := p.write(at)
	if err != nil {
		return err
	}
	f := newFields(nil)
	f.link("link", link)
	f.int("count", l.count)
	f.key("first")
	f.b = append(f.b, l.first...)
	if err := p.put(at+1, l.first, f.end(), l.count); err != nil {
		return err
	}
	p.levels[at] = filling{items: l.items[:0], first: l.first[:0]}
	return nil
}

func (p *pager) write(at int) (cid.Cid, error) {
	l := p.levels[at]
	f := newFields(make([]byte, 0, len(l.items)+pageFrame))
	f.text("type", p.kind)
	if at > 0 {
		f.key("pages")
	} else {
		f.key("entries")
	}
	f.b = append(appendHead(f.b, majorList, uint64(l.n)), l.items...)
	b, err := nodeBlock(f.end())
	if err != nil {
		return cid.Undef, err
	}
	return b.Cid(), p.emit(b)
}

// finish emits what is open and returns the root of the tree.
func (p *pager) finish() (cid.Cid, error) {
	for at := 0; at < len(p.levels)-1; at++ {
		if err := p.turn(at); err != nil {
			return cid.Undef, err
		}
	}
	return p.write(len(p.levels) - 1)
}
