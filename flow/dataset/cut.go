package dataset

import (
	"path"

	"github.com/firth-project/firth/base/dag"
)

// What sections and nodes take in a CAR beside the bytes of files: never less
// than they do, so that a chunk is never more than its piece takes.
const (
	sectionHead = 39  // length and CID before a leaf of 1 MiB; less before smaller ones
	linkCost    = 64  // of a leaf in the node above it, and of that node in the next
	nodeCost    = 256 // a node without its links
	entryCost   = 256 // of a name in the directories of the piece and of the dataset, names aside
)

// cutter decides where chunks end. Records come in path order; it accumulates
// them until the next no longer fits, and cuts a file where a chunk would be
// too small without its beginning.
type cutter struct {
	leaf        int64 // bytes
	least, most int64 // bytes of CAR
	used        int64
	last        string // path of the last record that was charged, for its directories
	rules       Rules
}

// cost is what length bytes of a file take in a CAR, at the most if they are
// encoded on their way.
func (c *cutter) cost(length int64) int64 {
	length = c.rules.most(length)
	leaves := max(1, (length+c.leaf-1)/c.leaf)
	n := length + leaves*(sectionHead+linkCost)
	if leaves > 1 {
		n += (leaves/512 + 2) * nodeCost
	}
	return n
}

// fits returns how many bytes of a file, whole leaves unless all, take at most
// room in a CAR.
func (c *cutter) fits(length, room int64) int64 {
	if c.cost(length) <= room {
		return length
	}
	leaves := room / (c.leaf + sectionHead + linkCost)
	for leaves > 0 && c.cost(leaves*c.leaf) > room {
		leaves--
	}
	return min(leaves*c.leaf, length)
}

// names is what the record's name takes in the directories, its parents' that
// the last record did not have included.
func (c *cutter) names(r Record) int64 {
	n := int64(2*len(path.Base(r.Path)) + entryCost)
	dir := path.Dir(r.Path)
	for dir != "." && !below(c.last, dir) {
		n += int64(2*len(path.Base(dir)) + entryCost + nodeCost)
		dir = path.Dir(dir)
	}
	switch r.Kind {
	case KindDirectory:
		n += nodeCost
	case KindLink:
		n += int64(len(r.Target)) + nodeCost
	}
	return n
}

// take charges as much of the record, from a byte on, as the chunk takes, and
// returns how many bytes that is; whole says that this is all of it. Nothing of
// it, and not whole, means that the chunk is full.
func (c *cutter) take(r Record, from int64) (length int64, whole bool) {
	names := c.names(r)
	if r.State != FilePending || r.Kind != KindFile {
		if r.State == FilePending && c.used > 0 && c.used+names > c.most {
			return 0, false
		}
		c.charge(r, names)
		return 0, true
	}
	rest := r.Size - from
	if c.used+names+c.cost(rest) <= c.most {
		c.charge(r, names+c.cost(rest))
		return rest, true
	}
	if c.used > 0 && (c.used >= c.least || c.staysWhole(r)) {
		return 0, false
	}
	length = c.part(rest, names)
	if length == 0 {
		return 0, false
	}
	c.charge(r, names+c.cost(length))
	return length, length == rest
}

// staysWhole reports whether a file is not to be cut because a chunk of its own
// takes it: each part of an encoded file is a stream of its own, and what
// readers without this index find is then not the file.
func (c *cutter) staysWhole(r Record) bool {
	return c.rules.encoded() && c.cost(r.Size)+new(cutter).names(r) <= c.most
}

// part is how much of a file that does not fit goes into this chunk: even parts
// where that leaves none below the least, else just the least.
func (c *cutter) part(rest, names int64) int64 {
	total := c.used + names + c.cost(rest)
	chunks := (total + c.most - 1) / c.most
	target := max(c.least, (total+chunks-1)/chunks)
	want := target - c.used - names
	leaves := max(1, (want+c.leaf-1)/c.leaf)
	length := min(leaves*c.leaf, rest)
	if c.used+names+c.cost(length) > c.most {
		length = c.fits(rest, c.most-c.used-names)
	}
	if length == 0 && c.used == 0 {
		length = min(c.leaf, rest) // a chunk that takes not even one leaf is none
	}
	return length
}

func (c *cutter) charge(r Record, n int64) {
	if r.State == FilePending {
		c.used += n
		c.last = r.Path
		if r.Kind == KindDirectory {
			c.last += "/"
		}
	}
}

// begin starts the next chunk.
func (c *cutter) begin() { c.used, c.last = 0, "" }

// newCutter makes the cutter for rules.
func newCutter(rules Rules, prof dag.Profile) *cutter {
	least, most := rules.chunk()
	return &cutter{leaf: int64(prof.ChunkSize), least: least, most: most, rules: rules}
}
