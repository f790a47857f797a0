package dag

import (
	"math"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/fault"
)

// balance is a balanced DAG being built from below: every leaf is equally deep,
// so a node's place follows from its level and its number there.
type balance struct {
	prof   Profile
	size   int64   // of the file
	counts []int64 // nodes of each level; the last is 1, the root
	rows   []row   // by level: siblings whose parent is not made yet
	loose  []Top   // nodes whose parent begins before this part
}

// row is a run of siblings.
type row struct {
	first int64 // number of the first
	links []Link
}

// divisible reports whether parts of a file can be made under the profile.
func (p Profile) divisible() error {
	if err := p.check(); err != nil {
		return err
	}
	if !p.RawLeaves || p.Trickle || p.CIDVersion != 1 {
		return fault.New(fault.Invalid, "import profile %q: files are built from leaves under balanced profiles with raw leaves only, such as %q", p.Name, DefaultProfile)
	}
	return nil
}

func newBalance(prof Profile, size int64) (balance, error) {
	if err := prof.divisible(); err != nil {
		return balance{}, err
	}
	if size < 0 {
		return balance{}, fault.New(fault.Invalid, "file of %d bytes: below 0", size)
	}
	b := balance{prof: prof, size: size}
	for n := Leaves(prof, size); ; n = 1 + (n-1)/int64(prof.MaxLinks) {
		b.counts = append(b.counts, n)
		if n == 1 {
			break
		}
	}
	b.rows = make([]row, len(b.counts))
	return b, nil
}

// span returns the leaves below a node, from included, to excluded.
func (b *balance) span(level int, index int64) (from, to int64) {
	each := int64(1)
	for range level {
		each *= int64(b.prof.MaxLinks)
		if each > b.counts[0] {
			each = b.counts[0] // one node stands over all
		}
	}
	if index > b.counts[0]/each {
		return math.MaxInt64, math.MaxInt64
	}
	return index * each, min((index+1)*each, b.counts[0])
}

// judge refuses a node that is not where the leaf next is awaited or does not
// have the content of its place.
func (b *balance) judge(t Top, next int64) error {
	if t.Level < 0 || t.Level >= len(b.counts) || t.Index < 0 || t.Index >= b.counts[t.Level] {
		return fault.New(fault.Invalid, "part of a file: a file of %d bytes has no node %d of level %d", b.size, t.Index, t.Level)
	}
	from, to := b.span(t.Level, t.Index)
	codec := uint64(cid.DagProtobuf)
	if t.Level == 0 {
		codec = cid.Raw
	}
	chunk := int64(b.prof.ChunkSize)
	content := (to - from) * chunk
	if to == b.counts[0] {
		content = b.size - from*chunk
	}
	switch {
	case from != next:
		return fault.New(fault.Invalid, "part of a file: node %d of level %d begins at leaf %d, leaf %d is awaited", t.Index, t.Level, from, next)
	case !t.Cid.Defined() || t.Cid.Type() != codec:
		return fault.New(fault.Invalid, "part of a file: node %d of level %d is %s, codec %#x is wanted", t.Index, t.Level, t.Cid, codec)
	case t.Size != content || t.TreeSize < uint64(content):
		return fault.New(fault.Invalid, "part of a file: node %d of level %d has %d bytes of content in %d, want %d", t.Index, t.Level, t.Size, t.TreeSize, content)
	}
	return nil
}

// add puts a node beside its siblings and makes every parent it was the last
// child of.
func (b *balance) add(t Top, emit func(blocks.Block) error) error {
	m := int64(b.prof.MaxLinks)
	for {
		r := &b.rows[t.Level]
		if len(r.links) == 0 {
			r.first = t.Index
		}
		r.links = append(r.links, t.Link)
		count := b.counts[t.Level]
		if count == 1 || (t.Index+1)%m != 0 && t.Index+1 != count {
			return nil
		}
		if r.first%m != 0 { // the first siblings are another part's
			for i, l := range r.links {
				b.loose = append(b.loose, Top{t.Level, r.first + int64(i), l})
			}
			r.links = nil
			return nil
		}
		if emit == nil {
			return fault.New(fault.Invalid, "part of a file: node %d of level %d should have been made", t.Index/m, t.Level+1)
		}
		parent, err := joinLinks(b.prof, r.links, emit)
		if err != nil {
			return err
		}
		r.links = r.links[:0]
		t = Top{t.Level + 1, t.Index / m, parent}
	}
}

// tops returns what has no parent yet, in order of leaves.
func (b *balance) tops() []Top {
	out := b.loose
	for level, r := range b.rows {
		for i, l := range r.links {
			out = append(out, Top{level, r.first + int64(i), l})
		}
	}
	return b.sorted(out)
}

// joinLinks makes the file node of these children.
func joinLinks(prof Profile, children []Link, emit func(blocks.Block) error) (Link, error) {
	n, data := new(merkledag.ProtoNode), unixfs.NewFSNode(unixfs.TFile)
	var out Link
	for _, l := range children {
		if err := n.AddRawLink("", &ipld.Link{Size: l.TreeSize, Cid: l.Cid}); err != nil {
			return Link{}, err
		}
		data.AddBlockSize(uint64(l.Size))
		out.Size += l.Size
	}
	encoded, err := data.GetBytes()
	if err != nil {
		return Link{}, err
	}
	n.SetData(encoded)
	out.TreeSize, out.Cid, err = emitted(emit).putNode(n, prof)
	return out, err
}

// emitted is a sink that hands on blocks.
func emitted(emit func(blocks.Block) error) sink {
	return func(c cid.Cid, data []byte) error {
		b, err := blocks.NewBlockWithCid(data, c)
		if err != nil {
			return err
		}
		return emit(b)
	}
}
