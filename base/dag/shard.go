package dag

import (
	"context"
	"math/bits"
	"strconv"

	"github.com/ipfs/go-cid"
	"github.com/spaolacci/murmur3"

	"github.com/firth-project/firth/base/fault"
)

// trail is the hash bits that lead to a shard.
type trail struct {
	bits uint64 // the first used bits of the hash, right-aligned
	used int
}

// below returns the trail of a slot in a shard of this width; ok is false
// where the 64 bits of the hash are spent.
func (t trail) below(slot, width int) (trail, bool) {
	n := bits.TrailingZeros(uint(width))
	if t.used+n > 64 {
		return trail{}, false
	}
	return trail{t.bits<<n | uint64(slot), t.used + n}, true
}

// leads reports whether a name belongs on the trail.
func (t trail) leads(name string) bool {
	return murmur3.Sum64([]byte(name))>>(64-t.used) == t.bits
}

// slotName splits a shard's link name into its slot and the entry's name, ""
// for a shard below.
func (n *node) slotName(link string) (slot int, name string, err error) {
	digits := len(strconv.FormatUint(uint64(n.width-1), 16))
	if len(link) >= digits {
		v, perr := strconv.ParseUint(link[:digits], 16, 16)
		if perr == nil && v < uint64(n.width) {
			return int(v), link[digits:], nil
		}
	}
	return 0, "", fault.New(fault.Invalid, "shard %s: link name %.80q has no slot number", n.c, link)
}

// values calls yield for each entry below a shard, in slot order. Every name
// must hash to where it stands and no shard below may be empty; so no shard
// can be used twice, and a few blocks cannot pretend to be endless.
func (n *node) values(ctx context.Context, g Getter, at trail, yield func(Entry) bool) (more bool, err error) {
	for _, l := range n.links {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		slot, name, err := n.slotName(l.Name)
		if err != nil {
			return false, err
		}
		next, ok := at.below(slot, n.width)
		if !ok {
			return false, fault.New(fault.Invalid, "shard %s: deeper than its hash", n.c)
		}
		if name != "" {
			if !next.leads(name) {
				return false, fault.New(fault.Invalid, "shard %s: name %.80q stands in the wrong slot", n.c, name)
			}
			if !yield(Entry{Name: name, Cid: l.Cid, TreeSize: l.Size}) {
				return false, nil
			}
			continue
		}
		sub, err := n.child(ctx, g, l.Cid)
		if err != nil {
			return false, err
		}
		if more, err = sub.values(ctx, g, next, yield); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// child loads a shard below.
func (n *node) child(ctx context.Context, g Getter, c cid.Cid) (*node, error) {
	sub, err := load(ctx, g, c)
	if err != nil {
		return nil, err
	}
	if sub.kind != shardDirectory || sub.width != n.width || len(sub.links) == 0 {
		return nil, fault.New(fault.Invalid, "shard %s: %s below it is no shard of %d slots with entries", n.c, c, n.width)
	}
	return sub, nil
}

// lookup finds a name below a shard by following its hash.
func (n *node) lookup(ctx context.Context, g Getter, name string) (Entry, bool, error) {
	at := trail{}
	for {
		down := false
		for _, l := range n.links {
			slot, found, err := n.slotName(l.Name)
			if err != nil {
				return Entry{}, false, err
			}
			if found == name {
				return Entry{Name: name, Cid: l.Cid, TreeSize: l.Size}, true, nil
			}
			next, ok := at.below(slot, n.width)
			if found != "" || !ok || !next.leads(name) {
				continue
			}
			if n, err = n.child(ctx, g, l.Cid); err != nil {
				return Entry{}, false, err
			}
			at, down = next, true
			break
		}
		if !down {
			return Entry{}, false, nil
		}
	}
}
