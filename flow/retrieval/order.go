package retrieval

import (
	"bytes"
	"context"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// maxPending bounds the links that wait their turn, about 40 bytes each.
const maxPending = 4 << 20

// order is a walk through a DAG, depth first from its root, in the order of
// links: what is next, and what was seen. It can begin again from the root and
// still knows what it had seen before.
type order struct {
	root  cid.Cid
	stack []cid.Cid      // what is still to come, the next one last
	seen  map[string]int // by CID: the latest round that saw it
	round int
}

func newOrder(root cid.Cid) *order { return &order{root: root, seen: map[string]int{}} }

// begin starts a round from the root.
func (o *order) begin() {
	o.round++
	o.stack = append(o.stack[:0], o.root)
}

// next takes what is next and was not seen in this round. An identity CID has
// no block of its own: what it links to comes next.
func (o *order) next(ctx context.Context) (c cid.Cid, ok bool, err error) {
	for len(o.stack) > 0 {
		c = o.pop()
		if o.seen[c.KeyString()] == o.round {
			continue
		}
		if c.Prefix().MhType != mh.IDENTITY {
			return c, true, nil
		}
		if err := o.follow(ctx, c, nil); err != nil {
			return c, false, err
		}
	}
	return cid.Undef, false, nil
}

func (o *order) pop() cid.Cid {
	c := o.stack[len(o.stack)-1]
	o.stack = o.stack[:len(o.stack)-1]
	return c
}

// new reports whether no round saw the block.
func (o *order) new(c cid.Cid) bool { return o.seen[c.KeyString()] == 0 }

// follow marks a block as seen and puts what it links to next. b may be nil for
// an identity CID, which carries its bytes.
func (o *order) follow(ctx context.Context, c cid.Cid, b blocks.Block) error {
	o.seen[c.KeyString()] = o.round
	links, err := dag.Children(ctx, only{b}, c)
	if err != nil {
		return err
	}
	if len(o.stack)+len(links) > maxPending {
		return fault.New(fault.Invalid, "block %s: more than %d links wait to be followed", c, maxPending)
	}
	for i := len(links) - 1; i >= 0; i-- {
		o.stack = append(o.stack, links[i])
	}
	return nil
}

// take accepts the next block of a stream in this order, with or without the
// repetitions that CARs may have (IPIP-412, dups). It returns the CID the DAG
// has for it; first is false for one that some round saw.
func (o *order) take(ctx context.Context, b blocks.Block) (c cid.Cid, first bool, err error) {
	for len(o.stack) > 0 {
		want := o.pop()
		if sameBlock(want, b.Cid()) {
			first = o.new(want)
			return want, first, o.follow(ctx, want, b)
		}
		switch {
		case o.seen[want.KeyString()] == o.round: // not repeated here
		case want.Prefix().MhType == mh.IDENTITY:
			if err := o.follow(ctx, want, nil); err != nil {
				return want, false, err
			}
		default:
			return want, false, fault.New(fault.Invalid, "came block %s where %s was next", b.Cid(), want)
		}
	}
	return b.Cid(), false, fault.New(fault.Invalid, "came block %s after the DAG was complete", b.Cid())
}

// sameBlock reports whether two CIDs name one block: CIDv0 and CIDv1 do.
func sameBlock(a, b cid.Cid) bool {
	return a.Type() == b.Type() && bytes.Equal(a.Hash(), b.Hash())
}

// only is a getter of one block.
type only struct{ b blocks.Block }

func (g only) Get(context.Context, cid.Cid) (blocks.Block, error) { return g.b, nil }

// Walk hands the DAG below root to visit in the order of Fetch, from a getter
// that is trusted. A missing block is NotFound and named.
func Walk(ctx context.Context, g dag.Getter, root cid.Cid, visit func(blocks.Block) error) error {
	o := newOrder(root)
	o.begin()
	for {
		c, more, err := o.next(ctx)
		if err != nil || !more {
			return err
		}
		b, err := g.Get(ctx, c)
		if err != nil {
			return fault.Wrap(err, "block %s", c)
		}
		if err := o.follow(ctx, c, b); err != nil {
			return err
		}
		if err := visit(b); err != nil {
			return err
		}
	}
}
