package dag

import (
	"bytes"
	"context"
	"slices"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// Walk visits each block below root once, children before parents and in the
// order of their links: leaves in source order, a file's nodes after their
// leaves, a directory after what is in it. That is the order of blocks in our
// CARs. The data are valid during the call of visit and not to be changed. One
// block is read at a time, none ahead; a node with links is read twice where
// keeping it until its children are done would hold more than 4 MiB.
//
// Identity CIDs are their own blocks: they are followed, not visited. Links of
// raw, dag-pb, dag-cbor and dag-json blocks are known, other codecs are
// Invalid, and so is a DAG deeper than MaxDepth. A missing block is NotFound
// and named. An error of visit ends the walk and comes back unchanged.
func Walk(ctx context.Context, g Getter, root cid.Cid, visit func(c cid.Cid, data []byte) error) error {
	return NewWalker(g).Walk(ctx, root, visit)
}

// Complete reports whether every block below root is there; if not, the error
// is NotFound and names the first absent one in Walk's order. Where g is a
// Sizer, leaves of codec raw are asked for, not read.
func Complete(ctx context.Context, g Getter, root cid.Cid) error {
	return NewWalker(g).Sizes(ctx, root, func(cid.Cid, int) error { return nil })
}

// Walker walks one root after another, visiting a block they share once. A
// block counts as the same under CIDv0 and CIDv1. It remembers about 60 bytes
// a block and is of no use after an error.
type Walker struct {
	g    Getter
	seen map[seenKey]struct{}
	odd  map[string]struct{} // CIDs that are not 32 bytes of SHA2-256

	path    []level
	pending int // links in path
	kept    int // bytes of data in path
}

type seenKey struct {
	codec  uint64
	digest [32]byte
}

// level is a node whose children are being walked.
type level struct {
	c        cid.Cid
	children []cid.Cid
	next     int
	data     []byte // nil when it was not kept
	size     int
}

// NewWalker returns a Walker that has seen nothing.
func NewWalker(g Getter) *Walker {
	return &Walker{g: g, seen: map[seenKey]struct{}{}, odd: map[string]struct{}{}}
}

// Walk is the function Walk, without the blocks seen before.
func (w *Walker) Walk(ctx context.Context, root cid.Cid, visit func(c cid.Cid, data []byte) error) error {
	leaf := func(c cid.Cid) error {
		data, err := fetch(ctx, w.g, c)
		if err != nil {
			return err
		}
		return visit(c, data)
	}
	inner := func(l level) (err error) {
		if l.data == nil {
			if l.data, err = fetch(ctx, w.g, l.c); err != nil {
				return err
			}
		}
		return visit(l.c, l.data)
	}
	return w.walk(ctx, root, leaf, inner)
}

// Sizes is Walk with the length of each block for its bytes. Where the Getter
// is a Sizer, leaves of codec raw are asked for, not read: a plan of a CAR
// needs no file content.
func (w *Walker) Sizes(ctx context.Context, root cid.Cid, visit func(c cid.Cid, size int) error) error {
	sizer, ok := w.g.(Sizer)
	leaf := func(c cid.Cid) error {
		if !ok {
			data, err := fetch(ctx, w.g, c)
			if err != nil {
				return err
			}
			return visit(c, len(data))
		}
		size, err := sizer.GetSize(ctx, c)
		if err != nil {
			return missing(c, err)
		}
		if size > MaxBlockSize {
			return tooBig(c, size)
		}
		return visit(c, size)
	}
	return w.walk(ctx, root, leaf, func(l level) error { return visit(l.c, l.size) })
}

// walk calls leaf for codec raw and inner for every other block.
func (w *Walker) walk(ctx context.Context, root cid.Cid, leaf func(cid.Cid) error, inner func(level) error) error {
	w.path, w.pending, w.kept = w.path[:0], 0, 0
	if err := w.enter(ctx, root, leaf); err != nil {
		return err
	}
	for len(w.path) > 0 {
		top := &w.path[len(w.path)-1]
		if top.next < len(top.children) {
			c := top.children[top.next]
			top.next++
			if err := w.enter(ctx, c, leaf); err != nil {
				return err
			}
			continue
		}
		done := *top
		w.path = w.path[:len(w.path)-1]
		w.pending -= len(done.children)
		w.kept -= len(done.data)
		if isIdentity(done.c) {
			continue
		}
		if err := inner(done); err != nil {
			return err
		}
	}
	return nil
}

// enter visits a leaf at once and puts a node with links on the path.
func (w *Walker) enter(ctx context.Context, c cid.Cid, leaf func(cid.Cid) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !w.first(c) {
		return nil
	}
	if c.Type() == cid.Raw {
		if isIdentity(c) {
			return nil
		}
		return leaf(c)
	}
	if len(w.path) == MaxDepth {
		return fault.New(fault.Invalid, "block %s: more than %d blocks below the root", c, MaxDepth)
	}
	data, err := fetch(ctx, w.g, c)
	if err != nil {
		return err
	}
	l := level{c: c, size: len(data)}
	if l.children, err = children(c, data); err != nil {
		return err
	}
	if w.pending += len(l.children); w.pending > maxPendingLinks {
		return fault.New(fault.Invalid, "block %s: more than %d links on the way to it", c, maxPendingLinks)
	}
	if w.kept+len(data) <= MaxBlockSize || len(l.children) == 0 {
		l.data = data
		w.kept += len(data)
	}
	w.path = append(w.path, l)
	return nil
}

// first reports whether c was not entered before, and remembers it.
func (w *Walker) first(c cid.Cid) bool {
	p := c.Prefix()
	if p.MhType != mh.SHA2_256 || p.MhLength != 32 {
		_, seen := w.odd[c.KeyString()]
		w.odd[c.KeyString()] = struct{}{}
		return !seen
	}
	key := seenKey{codec: p.Codec}
	hash := c.Hash()
	copy(key.digest[:], hash[len(hash)-32:])
	_, seen := w.seen[key]
	w.seen[key] = struct{}{}
	return !seen
}

// Children returns what a block links to, in its order; a raw leaf links to
// nothing and is not read. Identity CIDs, which are no blocks, are left out.
func Children(ctx context.Context, g Getter, c cid.Cid) ([]cid.Cid, error) {
	if c.Type() == cid.Raw {
		return nil, nil
	}
	data, err := fetch(ctx, g, c)
	if err != nil {
		return nil, err
	}
	all, err := children(c, data)
	return slices.DeleteFunc(all, isIdentity), err
}

// children returns the links of a block, in its order.
func children(c cid.Cid, block []byte) ([]cid.Cid, error) {
	var out []cid.Cid
	var err error
	switch c.Type() {
	case cid.Raw:
		return nil, nil
	case cid.DagProtobuf:
		var n *merkledag.ProtoNode
		if n, err = merkledag.DecodeProtobuf(block); err == nil {
			out = make([]cid.Cid, len(n.Links()))
			for i, l := range n.Links() {
				out[i] = l.Cid
			}
		}
	case cid.DagCBOR:
		out, err = cborLinks(block)
	case cid.DagJSON:
		out, err = jsonLinks(block)
	default:
		return nil, fault.New(fault.Invalid, "block %s: codec %#x, its links are unknown", c, c.Type())
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "block %s: not codec %#x: %w", c, c.Type(), err)
	}
	return out, nil
}

func jsonLinks(block []byte) ([]cid.Cid, error) {
	nb := basicnode.Prototype.Any.NewBuilder()
	if err := dagjson.Decode(nb, bytes.NewReader(block)); err != nil {
		return nil, err
	}
	links, err := traversal.SelectLinks(nb.Build())
	if err != nil {
		return nil, err
	}
	var out []cid.Cid
	for _, l := range links {
		if cl, ok := l.(cidlink.Link); ok {
			out = append(out, cl.Cid)
		}
	}
	return out, nil
}
