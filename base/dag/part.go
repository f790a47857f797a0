package dag

import (
	"cmp"
	"slices"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// Link is what a node says of a child.
type Link struct {
	Cid      cid.Cid
	Size     int64  // bytes of file content beneath
	TreeSize uint64 // bytes of all blocks beneath and of itself (Tsize)
}

// Top is a finished node of a balanced file DAG whose parent is not finished:
// number Index of level Level, leaves being level 0. A node of level n with m
// links a node stands over the leaves from Index·mⁿ to before (Index+1)·mⁿ, as
// far as the file has them.
type Top struct {
	Level int
	Index int64
	Link
}

// Leaves returns the number of leaves of a file of size bytes; an empty file
// is one empty leaf.
func Leaves(prof Profile, size int64) int64 {
	n := int64(prof.ChunkSize)
	return max(1, size/n+min(1, size%n))
}

// FileBuilder makes the nodes of a file's canonical DAG, the one AddFile
// makes, from links to its leaves: of the whole file or of a run of leaves, in
// which case it makes each node that has all its leaves in the run. A cut
// decides who makes a node, never its CID. Its memory is at most two rows of
// MaxLinks links a level, about 100 bytes each.
type FileBuilder struct {
	b        balance
	from, to int64
	next     int64 // leaf
}

// NewFileBuilder begins the leaves from (included) to to (excluded) of a file
// of size bytes; the whole file is 0 to Leaves(prof, size). Profiles with
// wrapped leaves, another layout than the balanced one or CIDv0 are Invalid:
// their leaves are not plain bytes.
func NewFileBuilder(prof Profile, size, from, to int64) (*FileBuilder, error) {
	b, err := newBalance(prof, size)
	if err != nil {
		return nil, err
	}
	if from < 0 || from >= to || to > b.counts[0] {
		return nil, fault.New(fault.Invalid, "part of a file: leaves %d to %d of %d", from, to, b.counts[0])
	}
	return &FileBuilder{b: b, from: from, to: to, next: from}, nil
}

// ResumeFileBuilder continues a builder of the same profile, size and run
// whose Tops are these.
func ResumeFileBuilder(prof Profile, size, from, to int64, tops []Top) (*FileBuilder, error) {
	f, err := NewFileBuilder(prof, size, from, to)
	if err != nil {
		return nil, err
	}
	for _, t := range tops {
		if err := f.b.judge(t, f.next); err != nil {
			return nil, err
		}
		_, f.next = f.b.span(t.Level, t.Index)
		if f.next > to {
			return nil, fault.New(fault.Invalid, "part of a file: node %d of level %d ends behind leaf %d", t.Index, t.Level, to)
		}
		if err := f.b.add(t, nil); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Leaf takes the next leaf and calls emit with every node it completes,
// children before parents. A leaf that is not the plain bytes of its place is
// Invalid. After an error of emit the builder is of no use.
func (f *FileBuilder) Leaf(l Link, emit func(blocks.Block) error) error {
	if f.next >= f.to {
		return fault.New(fault.Invalid, "part of a file: more leaves than the %d from %d on", f.to-f.from, f.from)
	}
	t := Top{Index: f.next, Link: l}
	if err := f.b.judge(t, f.next); err != nil {
		return err
	}
	f.next++
	return f.b.add(t, emit)
}

// Next returns the number of the leaf that is awaited.
func (f *FileBuilder) Next() int64 { return f.next }

// Tops returns what stands so far, in order of the leaves beneath.
func (f *FileBuilder) Tops() []Top { return f.b.tops() }

// Finish returns the tops when all leaves have come: of a whole file its root
// alone. Before, it is Invalid.
func (f *FileBuilder) Finish() ([]Top, error) {
	if f.next != f.to {
		return nil, fault.New(fault.Invalid, "part of a file: ends at leaf %d of %d to %d", f.next, f.from, f.to)
	}
	return f.b.tops(), nil
}

// JoinFile makes the nodes above the tops of all parts of a file of size
// bytes, in any order, and returns the file's canonical root. Tops that leave
// leaves out or have them twice are Invalid.
func JoinFile(prof Profile, size int64, tops []Top, emit func(blocks.Block) error) (Entry, error) {
	b, err := newBalance(prof, size)
	if err != nil {
		return Entry{}, err
	}
	next := int64(0)
	for _, t := range b.sorted(tops) {
		if err := b.judge(t, next); err != nil {
			return Entry{}, err
		}
		_, next = b.span(t.Level, t.Index)
		if err := b.add(t, emit); err != nil {
			return Entry{}, err
		}
	}
	if next != b.counts[0] {
		return Entry{}, fault.New(fault.Invalid, "join file: its parts end at leaf %d of %d", next, b.counts[0])
	}
	root := b.tops()[0]
	return Entry{Cid: root.Cid, Size: root.Size, TreeSize: root.TreeSize}, nil
}

// PartFile makes a readable file of one part alone: its tops, in order, below
// as few nodes as MaxLinks allows. It is no node of the canonical DAG unless
// the part is one top; that is then the file.
func PartFile(prof Profile, tops []Top, emit func(blocks.Block) error) (Entry, error) {
	if err := prof.divisible(); err != nil {
		return Entry{}, err
	}
	if len(tops) == 0 {
		return Entry{}, fault.New(fault.Invalid, "part of a file: of nothing")
	}
	row := make([]Link, len(tops))
	for i, t := range tops {
		row[i] = t.Link
	}
	for len(row) > 1 {
		var above []Link
		for group := range slices.Chunk(row, prof.MaxLinks) {
			if len(group) == 1 {
				above = append(above, group[0])
				continue
			}
			l, err := joinLinks(prof, group, emit)
			if err != nil {
				return Entry{}, err
			}
			above = append(above, l)
		}
		row = above
	}
	return Entry{Cid: row[0].Cid, Size: row[0].Size, TreeSize: row[0].TreeSize}, nil
}

// sorted returns tops by the first leaf beneath; of two that begin alike the
// higher one first.
func (b *balance) sorted(tops []Top) []Top {
	tops = slices.Clone(tops)
	slices.SortFunc(tops, func(x, y Top) int {
		from, _ := b.span(x.Level, x.Index)
		other, _ := b.span(y.Level, y.Index)
		return cmp.Or(cmp.Compare(from, other), cmp.Compare(y.Level, x.Level))
	})
	return tops
}
