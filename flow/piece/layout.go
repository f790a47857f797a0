package piece

import (
	"context"
	"fmt"
	"strings"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// part is one CAR laid out: where each block will be is known, no byte of a
// leaf has been read.
type part struct {
	root  cid.Cid
	spool *pack.Spool
	size  int64 // of the CAR
}

// layout walks the DAGs of a plan and cuts them into parts. Memory is about
// 200 bytes a block of the part at hand plus 60 a block of the plan.
type layout struct {
	ctx    context.Context
	blocks Blocks
	limit  int64 // bytes of a CAR
	emit   func(part) error

	roots map[blockKey]string // roots of the plan: their names in a directory
	names *names

	// of the part at hand
	spool *pack.Spool
	size  int64
	tops  topmost

	above []sized // nodes whose subtree a cut runs through; they go last
}

// sized is a block that is known by its CID and size.
type sized struct {
	c    cid.Cid
	size int
}

// Room that is kept for the part's own root: what a directory entry may take
// in the CAR, shards of a large directory included, and the nodes around them.
const (
	entryRoom = 512
	rootRoom  = 4096
)

// lay lays a plan out, calling emit with each part as soon as it is full.
func lay(ctx context.Context, b Blocks, roots []Root, limit int64, emit func(part) error) error {
	l := &layout{ctx: ctx, blocks: b, limit: limit, emit: emit, roots: map[blockKey]string{}, names: newNames()}
	var order []cid.Cid
	for _, r := range roots {
		c, err := cid.Decode(r.CID)
		if err != nil {
			return fault.New(fault.Invalid, "root %q: %w", r.CID, err)
		}
		if _, twice := l.roots[keyOf(c)]; twice {
			continue
		}
		l.roots[keyOf(c)] = l.names.take(r.Name, c.String())
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
		if err := l.place(n, nil); err != nil {
			return err
		}
	}
	return l.end()
}

// begin starts an empty part. Every CAR has one CIDv1 directory root, so its
// header's length is the same for all.
func (l *layout) begin() {
	root := cid.NewCidV1(cid.DagProtobuf, make([]byte, 34))
	l.spool, l.size, l.tops = pack.NewSpool(), int64(len(dag.CARHeader([]cid.Cid{root}))), topmost{at: map[blockKey]int32{}}
}

// visit takes the next block in the order of the CAR.
func (l *layout) visit(c cid.Cid, size int) error {
	children, err := dag.Children(l.ctx, l.blocks, c)
	if err != nil {
		return err
	}
	n := sized{c, size}
	if len(children) > 0 && !(l.tops.whole(children) && l.fits(n)) {
		l.above = append(l.above, n)
		return nil
	}
	return l.place(n, children)
}

// fits reports whether a block still goes into the part, its own root included.
func (l *layout) fits(n sized) bool {
	return l.size+sectionSize(n.c, n.size)+int64(l.tops.n+1)*entryRoom+rootRoom <= l.limit
}

// turn ends the part and begins the next one, for a block that does not fit.
func (l *layout) turn(n sized) error {
	if l.spool.Records() > 0 {
		if err := l.end(); err != nil {
			return err
		}
		l.begin()
	}
	if !l.fits(n) {
		return fault.New(fault.Invalid, "block %s: %d bytes do not fit into a piece of %d; raise piece.max_size", n.c, n.size, l.limit)
	}
	return nil
}

// place gives a block its offset, in a new part if it is a leaf that does not
// fit; its children are whole in this part.
func (l *layout) place(n sized, children []cid.Cid) error {
	if !l.fits(n) {
		if err := l.turn(n); err != nil {
			return err
		}
	}
	_, isRoot := l.roots[keyOf(n.c)]
	l.tops.put(keyOf(n.c), children, isRoot)
	return l.record(n)
}

func (l *layout) record(n sized) error {
	r, err := pack.NewRecord(n.c, l.size, n.size)
	if err != nil {
		return err
	}
	l.size += r.Section()
	return l.spool.Add(r)
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
		if _, twice := l.tops.at[keyOf(n.c)]; twice { // a content may hold the very same directory
			continue
		}
		if err := l.record(n); err != nil {
			return err
		}
	}
	if l.size > l.limit {
		return fault.New(fault.Internal, "piece root %s: its directory takes the CAR to %d bytes, limit %d", root.Cid, l.size, l.limit)
	}
	done := part{root: root.Cid, size: l.size, spool: l.spool}
	l.tops = topmost{} // hashing takes long; it needs the records alone
	return l.emit(done)
}

// entries are the roots of the plan by their names, and the topmost nodes of
// what a cut left of the others.
func (l *layout) entries() ([]dag.Entry, error) {
	var entries []dag.Entry
	for i := range l.spool.Records() {
		if l.tops.covered[i] {
			continue
		}
		r, err := l.spool.At(i)
		if err != nil {
			return nil, err
		}
		c, err := r.Cid()
		if err != nil {
			return nil, err
		}
		e := dag.Entry{Name: l.roots[keyOf(c)], Cid: c, Size: int64(r.Size), TreeSize: uint64(r.Size)}
		if e.Name == "" {
			e.Name = l.names.take(fmt.Sprintf("part-%06d", len(entries)+1), c.String())
		}
		if c.Type() == cid.DagProtobuf {
			// What is no UnixFS keeps the size of its block.
			st, err := dag.Stat(l.ctx, l.blocks, c)
			if err != nil && !fault.Is(err, fault.Invalid) {
				return nil, err
			}
			if err == nil {
				e.Size, e.TreeSize, e.Dir = st.Size, st.TreeSize, st.Dir
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// sectionSize is what a block takes in a CAR.
func sectionSize(c cid.Cid, size int) int64 { return int64(len(dag.CARSectionHeader(c, size)) + size) }

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

// blockKey is a CID without its version: a block that is linked to as v0 here
// and v1 there is one block.
type blockKey struct {
	codec, hash uint32
	digest      [32]byte
}

// keyOf returns the key of a CID. Of those that pack.NewRecord refuses, many
// share one.
func keyOf(c cid.Cid) blockKey {
	p, hash := c.Prefix(), c.Hash()
	k := blockKey{codec: uint32(p.Codec), hash: uint32(p.MhType)}
	copy(k.digest[:], hash[max(0, len(hash)-len(k.digest)):])
	return k
}

// topmost keeps which blocks of a part are whole in it, leaves and all, and
// which of those have no parent there.
type topmost struct {
	at      map[blockKey]int32 // number of the record
	covered []bool             // by record: a parent came, and it is no root of the plan
	roots   []bool             // by record
	n       int                // not covered
}

// whole reports whether all children are in this part.
func (t *topmost) whole(children []cid.Cid) bool {
	for _, c := range children {
		if _, ok := t.at[keyOf(c)]; !ok {
			return false
		}
	}
	return true
}

// put adds the next record's block and takes its children from the top.
func (t *topmost) put(k blockKey, children []cid.Cid, isRoot bool) {
	for _, child := range children {
		if i := t.at[keyOf(child)]; !t.covered[i] && !t.roots[i] {
			t.covered[i] = true
			t.n--
		}
	}
	t.at[k] = int32(len(t.covered))
	t.covered, t.roots = append(t.covered, false), append(t.roots, isRoot)
	t.n++
}

// maxEntryName bounds a name in a piece's directory, in bytes.
const maxEntryName = 200

// names hands each name out once.
type names struct {
	taken map[string]bool
	last  map[string]int // the number last put behind a name
}

func newNames() *names { return &names{taken: map[string]bool{}, last: map[string]int{}} }

// take returns name, or fallback if it could not stand in a directory, with a
// number behind it if it was taken.
func (s *names) take(name, fallback string) string {
	if name == "" || name == "." || name == ".." || len(name) > maxEntryName || strings.ContainsAny(name, "/\x00") {
		name = fallback
	}
	base, n := name, s.last[name]
	for ; s.taken[name]; name = fmt.Sprintf("%s (%d)", base, n) {
		n = max(n+1, 2)
	}
	s.taken[name] = true
	s.last[base] = n
	return name
}
