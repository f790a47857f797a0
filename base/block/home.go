package block

import (
	"context"
	"errors"
	"iter"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// home is where segments live: log on the local disk, shared in a blob.Store.
// It knows keys and items; CIDs, identity and the shape of errors are Store's.
type home interface {
	// put makes the items durable, skipping those already held.
	put(ctx context.Context, items []item) error
	// find returns the entry of a key; false when no live block has it.
	find(ctx context.Context, k key) (entry, bool, error)
	// read fills buf, which has the entry's size, with the block's bytes,
	// verified against c once a process. It returns errMoved when the entry is
	// out of date and *badBlock after the block was quarantined.
	read(ctx context.Context, e entry, c cid.Cid, buf []byte) error
	// remove makes the keys missing, durably.
	remove(ctx context.Context, cids []cid.Cid) error
	// entries yields every live entry with its CID.
	entries(ctx context.Context) iter.Seq2[found, error]
	compact(ctx context.Context) (CompactReport, error)
	quarantine(ctx context.Context, e entry, c cid.Cid, cause error) Bad
	stats() Stats
	close() error
}

// errMoved says that the caller of read should ask find again.
var errMoved = errors.New("the block has moved")

// badBlock says that the copy was bad, and is quarantined now.
type badBlock struct{ Bad }

func (b *badBlock) Error() string { return b.Err.Error() }

// attempts bounds how often a reader follows a block that moves. Each failed
// attempt means that a whole compaction went by.
const attempts = 16

func (s *Store) find(ctx context.Context, c cid.Cid) (entry, bool, error) {
	if err := ctx.Err(); err != nil {
		return entry{}, false, err
	}
	if !c.Defined() {
		return entry{}, false, nil
	}
	k, _ := keyOfCid(c)
	return s.home.find(ctx, k)
}

// load reads the verified bytes of a block into what alloc gives.
func (s *Store) load(ctx context.Context, c cid.Cid, alloc func(n int) []byte) ([]byte, error) {
	for range attempts {
		e, ok, err := s.find(ctx, c)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, missing(c)
		}
		buf := alloc(int(e.size))
		err = s.home.read(ctx, e, c, buf)
		if err == nil {
			return buf, nil
		}
		var bad *badBlock
		if !errors.Is(err, errMoved) && !errors.As(err, &bad) {
			return nil, fault.Wrap(err, "get block %s", c)
		}
	}
	return nil, fault.New(fault.Unavailable, "get block %s: it moved %d times while it was read", c, attempts)
}
