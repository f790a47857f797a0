package devnet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

// heldPiece is a verified piece on disk: a CARv1, at base in its file.
type heldPiece struct {
	path           string
	base, size     int64 // bytes
	fileSize       int64
	cid            cid.Cid     // v1, padded to the deal's piece size
	natural        commp.Piece // as the data alone has it
	blocks         map[string]blockAt
	deals, indexed int // why it is kept; how many of them are announced
}

// blockAt is where in the file the bytes of a block stand.
type blockAt struct {
	off  int64
	size int32
}

// shelf holds the pieces of one provider, each once however many deals are
// about it, and is the block store of what is in them. Blocks are read from
// disk, one at a time; only their places are in memory.
type shelf struct {
	dir string

	mu     sync.RWMutex
	pieces map[cid.Cid]*heldPiece // by v1, as dealt
}

func newShelf(dir string) *shelf { return &shelf{dir: dir, pieces: map[cid.Cid]*heldPiece{}} }

// add takes over the file of a piece on behalf of one deal.
func (s *shelf) add(h *heldPiece, announce bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.pieces[h.cid]; ok {
		if err := os.Remove(h.path); err != nil {
			return fault.Wrap(err, "remove second copy")
		}
		h = have
	} else {
		path := filepath.Join(s.dir, h.cid.String()+".car")
		if err := os.Rename(h.path, path); err != nil {
			return fault.Wrap(err, "shelve piece")
		}
		h.path = path
		s.pieces[h.cid] = h
	}
	h.deals++
	if announce {
		h.indexed++
	}
	return nil
}

// drop ends one deal's interest in a piece. The last one takes the file away;
// who has it open can read on.
func (s *shelf) drop(c cid.Cid, announced bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.pieces[c]
	if !ok {
		return nil
	}
	h.deals--
	if announced {
		h.indexed--
	}
	if h.deals > 0 {
		return nil
	}
	delete(s.pieces, c)
	return fault.Wrap(os.Remove(h.path), "remove piece")
}

// piece finds a piece by either version of its CID, padded to the deal's size
// or not. NotFound when it is not held.
func (s *shelf) piece(c cid.Cid) (*heldPiece, error) {
	v1, raw := c, uint64(0)
	if version, err := commp.Version(c); err != nil {
		return nil, fault.New(fault.Invalid, "%s is not a piece CID: %w", c, err)
	} else if version == 2 {
		p, err := commp.FromCIDv2(c)
		if err != nil {
			return nil, fault.Mark(fault.Invalid, err)
		}
		v1, raw = p.CIDv1, p.RawSize
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.pieces {
		if (h.cid == v1 || h.natural.CIDv1 == v1) && (raw == 0 || raw == uint64(h.size)) {
			return h, nil
		}
	}
	return nil, fault.New(fault.NotFound, "piece %s is not held here", c)
}

// announces reports whether an indexer would know that the CID, of a piece or
// of a block, is to be had here.
func (s *shelf) announces(c cid.Cid) bool {
	if h, err := s.piece(c); err == nil {
		return h.indexed > 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.pieces {
		if _, ok := h.blocks[string(c.Hash())]; ok && h.indexed > 0 {
			return true
		}
	}
	return false
}

// find looks a block up in every piece.
func (s *shelf) find(c cid.Cid) (path string, at blockAt, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.pieces {
		if at, ok := h.blocks[string(c.Hash())]; ok {
			return h.path, at, nil
		}
	}
	return "", blockAt{}, ipld.ErrNotFound{Cid: c}
}

var _ blockstore.Blockstore = (*shelf)(nil)

// Get implements boxo's Blockstore.
func (s *shelf) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	path, at, err := s.find(c)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) { // dropped a moment ago
		return nil, ipld.ErrNotFound{Cid: c}
	}
	if err != nil {
		return nil, fault.Wrap(err, "read block %s", c)
	}
	defer file.Close()
	data := make([]byte, at.size)
	if _, err := file.ReadAt(data, at.off); err != nil {
		return nil, fault.Wrap(err, "read block %s", c)
	}
	return blocks.NewBlockWithCid(data, c)
}

// Has implements boxo's Blockstore.
func (s *shelf) Has(_ context.Context, c cid.Cid) (bool, error) {
	_, _, err := s.find(c)
	return err == nil, nil
}

// GetSize implements boxo's Blockstore.
func (s *shelf) GetSize(_ context.Context, c cid.Cid) (int, error) {
	_, at, err := s.find(c)
	return int(at.size), err
}

var errReadOnly = fault.New(fault.Forbidden, "pieces are not written block by block")

// Put refuses: pieces come by deals.
func (s *shelf) Put(context.Context, blocks.Block) error { return errReadOnly }

// PutMany refuses: pieces come by deals.
func (s *shelf) PutMany(context.Context, []blocks.Block) error { return errReadOnly }

// DeleteBlock refuses: pieces go with their deals.
func (s *shelf) DeleteBlock(context.Context, cid.Cid) error { return errReadOnly }

// AllKeysChan implements boxo's Blockstore, with codec raw throughout.
func (s *shelf) AllKeysChan(ctx context.Context) (<-chan cid.Cid, error) {
	s.mu.RLock()
	var keys []cid.Cid
	for _, h := range s.pieces {
		for hash := range h.blocks {
			keys = append(keys, cid.NewCidV1(cid.Raw, []byte(hash)))
		}
	}
	s.mu.RUnlock()
	out := make(chan cid.Cid)
	go func() {
		defer close(out)
		for _, c := range keys {
			select {
			case out <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
