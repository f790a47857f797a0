package dag

import (
	"context"
	"math"
	"math/bits"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/fault"
)

// node is a parsed UnixFS node whose parts agree with one another.
type node struct {
	c     cid.Cid
	kind  nodeKind
	data  []byte       // content that stands in the node itself, or a link's target
	links []*ipld.Link // children, in order
	sizes []uint64     // content bytes below each child of a file
	size  int64        // content bytes of a file, length of a target
	total uint64       // cumulative size, as the links claim it
	width int          // slots of a shard
}

type nodeKind uint8

const (
	fileNode nodeKind = iota
	plainDirectory
	shardDirectory
	symlinkNode
)

func (n *node) isDir() bool { return n.kind == plainDirectory || n.kind == shardDirectory }

func (n *node) entry(name string) Entry {
	e := Entry{Name: name, Cid: n.c, Size: n.size, TreeSize: n.total, Dir: n.isDir()}
	if n.kind == symlinkNode {
		e.Symlink, e.Target = true, string(n.data)
	}
	return e
}

func load(ctx context.Context, g Getter, c cid.Cid) (*node, error) {
	data, err := fetch(ctx, g, c)
	if err != nil {
		return nil, err
	}
	return parse(c, data)
}

// parse reads a block as UnixFS. What is not, or contradicts itself, is Invalid.
func parse(c cid.Cid, block []byte) (*node, error) {
	switch c.Type() {
	case cid.Raw:
		return &node{c: c, data: block, size: int64(len(block)), total: uint64(len(block))}, nil
	case cid.DagProtobuf:
	default:
		return nil, fault.New(fault.Invalid, "block %s: not UnixFS, codec %#x", c, c.Type())
	}
	pb, err := merkledag.DecodeProtobuf(block)
	if err != nil {
		return nil, fault.New(fault.Invalid, "block %s: not dag-pb: %w", c, err)
	}
	fs, err := unixfs.FSNodeFromBytes(pb.Data())
	if err != nil {
		return nil, fault.New(fault.Invalid, "block %s: not UnixFS: %w", c, err)
	}
	n := &node{c: c, data: fs.Data(), links: pb.Links(), total: uint64(len(block))}
	for _, l := range n.links {
		if n.total += l.Size; n.total < l.Size {
			n.total = math.MaxUint64
		}
	}
	switch fs.Type() {
	case unixfs.TFile, unixfs.TRaw:
		n.sizes = fs.BlockSizes()
		err = n.checkFile(fs.FileSize())
	case unixfs.TDirectory:
		n.kind = plainDirectory
	case unixfs.THAMTShard:
		n.kind, n.width = shardDirectory, int(min(fs.Fanout(), math.MaxInt32))
		err = n.checkShard(fs.HashType())
	case unixfs.TSymlink:
		n.kind, n.size = symlinkNode, int64(len(n.data))
	default:
		err = fault.New(fault.Invalid, "block %s: UnixFS type %s is neither file, directory nor link", c, fs.Type())
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// checkFile adds up the size. A declared size of 0 is taken for none.
func (n *node) checkFile(declared uint64) error {
	if len(n.sizes) != len(n.links) {
		return fault.New(fault.Invalid, "file node %s: %d sizes for %d links", n.c, len(n.sizes), len(n.links))
	}
	sum := uint64(len(n.data))
	for _, s := range n.sizes {
		if s > math.MaxInt64-sum {
			return fault.New(fault.Invalid, "file node %s: content beyond 2^63 bytes", n.c)
		}
		sum += s
	}
	if declared != 0 && declared != sum {
		return fault.New(fault.Invalid, "file node %s: declares %d bytes, its parts make %d", n.c, declared, sum)
	}
	n.size = int64(sum)
	return nil
}

// checkShard holds a shard to the UnixFS specification. The width is a power
// of two from 8 to 1024, the limit that other readers set.
func (n *node) checkShard(hash uint64) error {
	if hash != murmur64 {
		return fault.New(fault.Invalid, "shard %s: hash function %#x, only murmur3-x64-64 is known", n.c, hash)
	}
	if n.width < 8 || n.width > 1024 || bits.OnesCount(uint(n.width)) != 1 {
		return fault.New(fault.Invalid, "shard %s: %d slots, must be a power of two from 8 to 1024", n.c, n.width)
	}
	used := 0
	for _, b := range n.data {
		used += bits.OnesCount8(b)
	}
	if used != len(n.links) {
		return fault.New(fault.Invalid, "shard %s: %d slots used, %d links", n.c, used, len(n.links))
	}
	return nil
}
