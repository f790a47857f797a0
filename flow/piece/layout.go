package piece

import (
	"context"
	"fmt"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// part is one CAR laid out: where each block will be is known, no byte of a
// leaf has been read.
type part struct {
	root  cid.Cid
	index []byte
	size  int64 // of the CAR
	count int   // of blocks
}

// layout walks the DAGs of a plan and cuts them into parts. Memory is about
// 150 bytes a block of the part at hand plus 60 a block of the plan.
type layout struct {
	ctx    context.Context
	blocks Blocks
	limit  int64 // bytes of a CAR
	emit   func(part) error

	names map[cid.Cid]string // roots by CID: their names in a directory

	// of the part at hand
	records []record
	size    int64
	tops    *topmost

	above []sized // nodes whose subtree a cut runs through; they go last
}

// sized is a block that is known by its CID and size.
type sized struct {
	c    cid.Cid
	size int
}

// reserve is what a directory entry of a part's root may take in the CAR.
const reserve = 512

// lay lays a plan out, calling emit with each part as soon as it is full.
func lay(ctx context.Context, b Blocks, roots []Root, limit int64, emit func(part) error) error {
	l := &layout{ctx: ctx, blocks: b, limit: limit, emit: emit, names: map[cid.Cid]string{}}
	taken := map[string]bool{}
	var order []cid.Cid
	for _, r := range roots {
		c, err := cid.Decode(r.CID)
		if err != nil {
			return fault.New(fault.Invalid, "root %q: %w", r.CID, err)
		}
		if _, twice := l.names[c]; twice {
			continue
		}
		l.names[c] = unique(taken, r.Name, r.CID)
		order = append(order, c)
	}
	l.begin()
	walker := dag.NewWalker(b)
	for _, c := range order {
		if err := walker.Sizes(ctx, c, l.visit); err != nil {
			return fault.Wrap(err, "lay out %s", c)
		}
	}
	for _, n := range l.above {
		if err := l.place(n); err != nil {
			return err
		}
		l.tops.put(n.c, nil)
	}
	return l.end()
}

// unique gives a root its name in the directory.
func unique(taken map[string]bool, name, fallback string) string {
	if name == "" || len(name) > 255 {
		name = fallback
	}
	for n, base := 2, name; taken[name]; n++ {
		name = fmt.Sprintf("%s (%d)", base, n)
	}
	taken[name] = true
	return name
}

// begin starts an empty part. Every CAR has one CIDv1 directory root, so its
// header's length is the same for all.
func (l *layout) begin() {
	root := cid.NewCidV1(cid.DagProtobuf, make([]byte, 34))
	l.records, l.size, l.tops = nil, int64(len(dag.CARHeader([]cid.Cid{root}))), newTopmost()
}

// visit takes the next block in the order of the CAR.
func (l *layout) visit(c cid.Cid, size int) error {
	n := sized{c, size}
	if l.size+sectionSize(c, size)+int64(l.tops.len()+1)*reserve+4096 > l.limit {
		if len(l.records) == 0 {
			return fault.New(fault.Invalid, "block %s: %d bytes do not fit into a piece of %d; raise piece.max_size", c, size, l.limit)
		}
		if err := l.end(); err != nil {
			return err
		}
		l.begin()
	}
	children, err := dag.Children(l.ctx, l.blocks, c)
	if err != nil {
		return err
	}
	if !l.tops.whole(children) {
		l.above = append(l.above, n)
		return nil
	}
	l.tops.put(c, children)
	return l.place(n)
}

// place gives a block its offset.
func (l *layout) place(n sized) error {
	r, err := newRecord(n.c, l.size, n.size)
	if err != nil {
		return err
	}
	l.records = append(l.records, r)
	l.size += sectionSize(n.c, n.size)
	return nil
}

// end makes the part's own root and hands the part out.
func (l *layout) end() error {
	entries, err := l.entries()
	if err != nil {
		return err
	}
	prof, err := dag.ProfileNamed("")
	if err != nil {
		return err
	}
	made := &recorder{Blocks: l.blocks}
	root, err := dag.AddDirectory(l.ctx, made, entries, prof)
	if err != nil {
		return fault.Wrap(err, "make the root of a piece")
	}
	for _, n := range made.put {
		if err := l.place(n); err != nil {
			return err
		}
	}
	return l.emit(part{
		root: root.Cid, size: l.size, count: len(l.records),
		index: encodeIndex(dag.CARHeader([]cid.Cid{root.Cid}), l.records, l.size),
	})
}

// entries are the topmost nodes of the part, roots of the plan by their name.
func (l *layout) entries() ([]dag.Entry, error) {
	var entries []dag.Entry
	for i, c := range l.tops.order() {
		e := dag.Entry{Name: l.names[c], Cid: c}
		if e.Name == "" {
			e.Name = fmt.Sprintf("part-%06d", i+1)
		}
		st, err := dag.Stat(l.ctx, l.blocks, c)
		if err != nil {
			return nil, err
		}
		e.Size, e.TreeSize, e.Dir = st.Size, st.TreeSize, st.Dir
		entries = append(entries, e)
	}
	return entries, nil
}

// recorder remembers the blocks that are put through it.
type recorder struct {
	Blocks
	put []sized
}

func (r *recorder) PutMany(ctx context.Context, bs []blocks.Block) error {
	for _, b := range bs {
		r.put = append(r.put, sized{b.Cid(), len(b.RawData())})
	}
	return r.Blocks.PutMany(ctx, bs)
}

// topmost keeps which blocks of a part are whole in it, leaves and all, and
// which of those have no parent there.
type topmost struct {
	held map[cid.Cid]int // to the place in line, or -1 once a parent came
	line []cid.Cid
	n    int
}

func newTopmost() *topmost { return &topmost{held: map[cid.Cid]int{}} }

func (t *topmost) len() int { return t.n }

// whole reports whether all children are in this part.
func (t *topmost) whole(children []cid.Cid) bool {
	for _, c := range children {
		if _, ok := t.held[c]; !ok {
			return false
		}
	}
	return true
}

// put adds a block and takes its children from the top.
func (t *topmost) put(c cid.Cid, children []cid.Cid) {
	for _, child := range children {
		if i := t.held[child]; i >= 0 {
			t.held[child] = -1
			t.line[i] = cid.Undef
			t.n--
		}
	}
	t.held[c] = len(t.line)
	t.line = append(t.line, c)
	t.n++
}

// order returns the topmost blocks in the order they came.
func (t *topmost) order() []cid.Cid {
	var all []cid.Cid
	for _, c := range t.line {
		if c.Defined() {
			all = append(all, c)
		}
	}
	return all
}
