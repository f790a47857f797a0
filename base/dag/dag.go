package dag

import (
	"context"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// Limits on what is read from outside. Whatever this package writes stays far
// inside them.
const (
	// MaxBlockSize is the largest block, in bytes, that is read or accepted
	// from a CAR: twice what Bitswap carries, so everything in use passes.
	MaxBlockSize = 4 << 20

	// MaxDepth is the longest path, in blocks, from a root to a leaf.
	MaxDepth = 4096

	// MaxDirectoryDepth is how deep directories may nest. A directory costs up
	// to four blocks of depth when it is sharded, so this stays in MaxDepth.
	MaxDirectoryDepth = 1000

	// maxFileDepth is the deepest file DAG; a balanced one of 2^63 bytes with
	// two links a node would need 45 levels.
	maxFileDepth = 64

	// maxPendingLinks bounds the links a walk keeps while it is below them,
	// about 64 bytes each.
	maxPendingLinks = 4 << 20
)

// Putter stores blocks. PutMany returns when all of them are stored; it may
// keep the blocks and their bytes.
type Putter interface {
	PutMany(ctx context.Context, bs []blocks.Block) error
}

// Getter hands out blocks by CID. The bytes are trusted to match the CID: a
// Getter over an untrusted place verifies. A block that is not there is an
// error of kind NotFound, or one that ipld.IsNotFound knows.
type Getter interface {
	Get(ctx context.Context, c cid.Cid) (blocks.Block, error)
}

// Sizer tells the size in bytes of a block without reading it; its errors are
// a Getter's. Where a Getter is one too, completeness is checked without
// reading file content.
type Sizer interface {
	GetSize(ctx context.Context, c cid.Cid) (int, error)
}

// Entry is a named UnixFS node: a file, a directory or a symbolic link.
type Entry struct {
	Name     string // bytes as they are in the DAG; not always UTF-8, "" for a root
	Cid      cid.Cid
	Size     int64  // bytes of file content, length of a link's target, 0 for a directory
	TreeSize uint64 // bytes of all blocks beneath, as claimed by dag-pb (Tsize)
	Dir      bool
	Symlink  bool
	Target   string // where a symbolic link points; never followed by this package
}

// fetch returns the bytes of a block. An identity CID carries its own.
func fetch(ctx context.Context, g Getter, c cid.Cid) ([]byte, error) {
	if data, ok := inline(c); ok {
		return data, nil
	}
	b, err := g.Get(ctx, c)
	if err != nil {
		return nil, missing(c, err)
	}
	data := b.RawData()
	if len(data) > MaxBlockSize {
		return nil, tooBig(c, len(data))
	}
	return data, nil
}

// missing names the block in a Getter's error and gives an absence its kind.
func missing(c cid.Cid, err error) error {
	if ipld.IsNotFound(err) && !fault.Is(err, fault.NotFound) {
		err = fault.Mark(fault.NotFound, err)
	}
	return fault.Wrap(err, "block %s", c)
}

func tooBig(c cid.Cid, size int) error {
	return fault.New(fault.Invalid, "block %s: %d bytes, limit %d", c, size, MaxBlockSize)
}

func isIdentity(c cid.Cid) bool { return c.Prefix().MhType == mh.IDENTITY }

// inline returns the bytes an identity CID consists of.
func inline(c cid.Cid) ([]byte, bool) {
	if !isIdentity(c) {
		return nil, false
	}
	d, err := mh.Decode(c.Hash())
	if err != nil {
		return nil, false
	}
	return d.Digest, true
}
