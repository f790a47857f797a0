package block

import (
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// item is one change on its way into a segment: a block put, a block moved by
// compaction (from is set), a deletion (data is nil, flag dead), or a tombstone
// that compaction carries on (dead and rank set).
type item struct {
	key  key
	flag flag
	cid  cid.Cid
	data []byte
	rank uint64
	from *entry
}

func newItem(c cid.Cid, data []byte) item {
	it := item{cid: c, data: data}
	var d bool
	if it.key, d = keyOfCid(c); d {
		it.flag = derived
	}
	return it
}

// checkHash refuses what could be written but never be verified or read again.
func checkHash(c cid.Cid) error {
	if _, ok := plain(c); ok {
		return nil
	}
	p := c.Prefix()
	if c.ByteLen() > 128 {
		return fault.New(fault.Invalid, "put block %s: a CID of %d bytes, at most 128", c, c.ByteLen())
	}
	if _, err := mh.GetHasher(p.MhType); err != nil {
		return fault.New(fault.Invalid, "put block %s: unknown hash function 0x%x", c, p.MhType)
	}
	return nil
}

// found is a live entry with its CID.
type found struct {
	entry
	cid cid.Cid
}
