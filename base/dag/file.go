package dag

import (
	"context"
	"errors"
	"io"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/boxo/ipld/unixfs/importer/trickle"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// AddFile imports what r yields and returns the file's root. Blocks go to p in
// batches of at most 8 MiB, leaves before the nodes above them; memory is that
// and one node a level, whatever the file's size. All blocks are stored when
// it returns without an error.
func AddFile(ctx context.Context, p Putter, r io.Reader, prof Profile) (Entry, error) {
	b := newBatch(p)
	e, err := b.addFile(ctx, r, prof)
	if err != nil {
		return Entry{}, err
	}
	return e, fault.Wrap(b.flush(ctx), "store file %s", e.Cid)
}

func (b *batch) addFile(ctx context.Context, r io.Reader, prof Profile) (Entry, error) {
	if err := prof.check(); err != nil {
		return Entry{}, err
	}
	src := &source{ctx: ctx, r: r}
	params := helpers.DagBuilderParams{
		Dagserv:    adder{ctx: ctx, b: b},
		Maxlinks:   prof.MaxLinks,
		RawLeaves:  prof.RawLeaves,
		CidBuilder: prof.prefix(),
	}
	db, err := params.New(chunk.NewSizeSplitter(src, int64(prof.ChunkSize)))
	if err != nil {
		return Entry{}, fault.Wrap(err, "add file")
	}
	layout := balanced.Layout
	if prof.Trickle {
		layout = trickle.Layout
	}
	root, err := layout(db)
	if err == nil {
		err = src.err
	}
	if err != nil {
		return Entry{}, fault.Wrap(err, "add file, at byte %d", src.n)
	}
	size, err := root.Size()
	if err != nil {
		return Entry{}, fault.Wrap(err, "add file")
	}
	return Entry{Cid: root.Cid(), Size: src.n, TreeSize: size}, nil
}

// source counts what is read and remembers why reading stopped. The chunker
// takes a reader's own io.ErrUnexpectedEOF, which is what a broken upload
// gives, for the end of the file; the layouts must not hide it.
type source struct {
	ctx context.Context
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// AddSymlink stores a symbolic link with this target, verbatim.
func AddSymlink(ctx context.Context, p Putter, target string, prof Profile) (Entry, error) {
	b := newBatch(p)
	e, err := b.addSymlink(ctx, target, prof)
	if err != nil {
		return Entry{}, err
	}
	return e, fault.Wrap(b.flush(ctx), "store link %s", e.Cid)
}

func (b *batch) addSymlink(ctx context.Context, target string, prof Profile) (Entry, error) {
	if err := prof.check(); err != nil {
		return Entry{}, err
	}
	if target == "" || len(target) > maxTarget {
		return Entry{}, fault.New(fault.Invalid, "symbolic link: target of %d bytes, from 1 to %d", len(target), maxTarget)
	}
	data, err := unixfs.SymlinkData(target)
	if err != nil {
		return Entry{}, fault.Wrap(err, "symbolic link to %q", target)
	}
	size, c, err := b.sink(ctx).putNode(merkledag.NodeWithData(data), prof)
	if err != nil {
		return Entry{}, fault.Wrap(err, "symbolic link to %q", target)
	}
	return Entry{Cid: c, Size: int64(len(target)), TreeSize: size, Symlink: true, Target: target}, nil
}

// putNode gives a node its CID and stores it. The size is cumulative.
func (s sink) putNode(n *merkledag.ProtoNode, prof Profile) (uint64, cid.Cid, error) {
	if err := n.SetCidBuilder(prof.prefix()); err != nil {
		return 0, cid.Undef, err
	}
	size, err := n.Size()
	if err != nil {
		return 0, cid.Undef, err
	}
	return size, n.Cid(), s(n.Cid(), n.RawData())
}
