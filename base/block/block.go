package block

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// MaxBlockBytes is the size of the largest block: with its CID it stays within
// the 8 MiB that CAR readers accept for a section.
const MaxBlockBytes = 8<<20 - 1<<10

// Options of a store. The zero value is a local store with the defaults.
type Options struct {
	Log *slog.Logger // nil: silent

	// SegmentBytes is the size at which a segment is closed and the next one
	// begun; 0 means 1 GiB. In a shared store it bounds what Compact joins.
	SegmentBytes int64

	// Shared, when set, is where the segments live: several processes may open
	// stores over it, each with a directory of its own for the index.
	Shared blob.Store

	// Temporary is for a store that nobody wants any more when the machine has
	// lost its power: nothing waits for the disk.
	Temporary bool
}

// Store is a block store. Make it with Open. All methods may be called at the
// same time. A missing block is both ipld.IsNotFound and fault.NotFound.
type Store struct {
	home home
	log  *slog.Logger
	lent sync.Pool // of *[]byte, for View
}

var (
	_ blockstore.Blockstore = (*Store)(nil)
	_ blockstore.Viewer     = (*Store)(nil)
)

// Bad is a block whose stored bytes do not have its digest, or cannot be read.
// The store treats it as missing, so that it can be put again.
type Bad struct {
	Cid     cid.Cid // raw codec
	Segment string  // file or object that holds the bad bytes
	Err     error
}

// CompactReport says what a compaction did.
type CompactReport struct {
	Segments   int   // removed
	Kept       int   // due, but kept because they could not be read to their end
	MovedBytes int64 // live sections written again
	FreedBytes int64 // of the segments removed, less MovedBytes
}

// Stats describes a store. In a shared store the numbers are what this process
// has seen so far.
type Stats struct {
	Blocks       int64 // live
	LiveBytes    int64 // their sections
	Segments     int
	SegmentBytes int64 // of all segments, live and dead
	IndexRuns    int
	IndexMemory  int64 // bytes held for sealed runs and, about, for the rest
}

// Open opens the store in dir, which it makes if need be. It rebuilds what a
// killed process left unfinished; the time that takes is bounded by the bytes
// written since the last checkpoint. A directory that another process holds is
// fault.Conflict.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 1 << 30
	}
	if o.SegmentBytes < 0 || o.SegmentBytes > maxSegmentBytes {
		return nil, fault.New(fault.Invalid, "block store %s: segments of %d bytes, at most %d", dir, o.SegmentBytes, int64(maxSegmentBytes))
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	var h home
	if o.Shared != nil {
		h, err = openShared(ctx, dir, lock, o)
	} else {
		fs := files(osFiles{dir: dir})
		if o.Temporary {
			fs = temporaryFiles{fs}
		}
		h, err = openLog(ctx, fs, lock, o.Log, o.tuning())
	}
	if err != nil {
		_ = lock.Close()
		return nil, fault.Wrap(err, "open block store %s", dir)
	}
	return &Store{home: h, log: o.Log}, nil
}

// Close writes a checkpoint, so that the next Open reads no segment, and lets
// the directory go. Calls under way end with fault.Unavailable.
func (s *Store) Close() error { return s.home.close() }

// Put stores one block durably. Many blocks are far cheaper in one PutMany.
func (s *Store) Put(ctx context.Context, b blocks.Block) error {
	return s.PutMany(ctx, []blocks.Block{b})
}

// PutMany stores blocks; when it returns without error all of them are durable,
// also those that were held before. Concurrent calls share one sync of the
// disk. The bytes are trusted to have their CID's digest: whoever made the CID
// has hashed them. After an error some of the blocks may be held.
func (s *Store) PutMany(ctx context.Context, bs []blocks.Block) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	items := make([]item, 0, len(bs))
	for _, b := range bs {
		c, data := b.Cid(), b.RawData()
		if !c.Defined() || len(data) > MaxBlockBytes {
			return fault.New(fault.Invalid, "put block %s: %d bytes, at most %d", c, len(data), MaxBlockBytes)
		}
		if _, ok := identity(c); ok {
			continue
		}
		if err := checkHash(c); err != nil {
			return err
		}
		items = append(items, newItem(c, data))
	}
	if len(items) == 0 {
		return nil
	}
	return s.home.put(ctx, items)
}

// Has reports whether the block is held.
func (s *Store) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if _, ok := identity(c); ok {
		return true, nil
	}
	_, ok, err := s.find(ctx, c)
	return ok, err
}

// GetSize returns the size of the block in bytes.
func (s *Store) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	if data, ok := identity(c); ok {
		return len(data), nil
	}
	e, ok, err := s.find(ctx, c)
	if err == nil && !ok {
		err = missing(c)
	}
	return int(e.size), err
}

// Get returns the block, its bytes in memory of their own.
func (s *Store) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	data, ok := identity(c)
	if !ok {
		var err error
		if data, err = s.load(ctx, c, func(n int) []byte { return make([]byte, n) }); err != nil {
			return nil, err
		}
	}
	return blocks.NewBlockWithCid(data, c)
}

// View calls fn with the block's bytes, which are valid until fn returns and
// must not be changed. It saves Get's allocation.
func (s *Store) View(ctx context.Context, c cid.Cid, fn func([]byte) error) error {
	if data, ok := identity(c); ok {
		return fn(data)
	}
	lent, _ := s.lent.Get().(*[]byte)
	if lent == nil {
		lent = new([]byte)
	}
	defer s.lent.Put(lent)
	data, err := s.load(ctx, c, func(n int) []byte {
		if cap(*lent) < n {
			*lent = make([]byte, n)
		}
		return (*lent)[:n]
	})
	if err != nil {
		return err
	}
	return fn(data)
}

// DeleteBlock makes the block missing, durably. A missing block is no error.
func (s *Store) DeleteBlock(ctx context.Context, c cid.Cid) error {
	return s.DeleteMany(ctx, []cid.Cid{c})
}

// DeleteMany is DeleteBlock for many, with one sync of the disk. The space
// comes back with Compact.
func (s *Store) DeleteMany(ctx context.Context, cids []cid.Cid) error {
	kept := make([]cid.Cid, 0, len(cids))
	for _, c := range cids {
		if _, ok := identity(c); !ok && c.Defined() {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return s.home.remove(ctx, kept)
}

// AllKeysChan sends the CID of every block, as CIDv1 with the raw codec, in the
// order of the index. It streams: memory does not grow with the store. The
// channel closes at the end, when ctx ends, and when the index cannot be read.
func (s *Store) AllKeysChan(ctx context.Context) (<-chan cid.Cid, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make(chan cid.Cid, 64)
	go func() {
		defer close(out)
		for f, err := range s.home.entries(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					s.log.Error("listing of keys ended early", "err", err)
				}
				return
			}
			select {
			case out <- f.cid:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// Compact writes the live blocks of segments that are less than half alive, or
// damaged, again and removes those segments. It may be killed at any moment,
// and runs beside readers and writers.
func (s *Store) Compact(ctx context.Context) (CompactReport, error) { return s.home.compact(ctx) }

// Stats describes the store as it is now.
func (s *Store) Stats() Stats { return s.home.stats() }

func missing(c cid.Cid) error {
	return fault.Mark(fault.NotFound, ipld.ErrNotFound{Cid: c})
}
