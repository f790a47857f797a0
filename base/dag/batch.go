package dag

import (
	"context"
	"sync"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// Limits of one PutMany: whichever is met first.
const (
	batchBytes  = 8 << 20
	batchBlocks = 8192
)

// batch gathers blocks on their way to a Putter. It may be used by several
// goroutines. Blocks of a PutMany that went wrong stay and are tried again
// with the next one, so one caller's cancelled context loses nobody's blocks.
type batch struct {
	p Putter

	mu     sync.Mutex
	blocks []blocks.Block
	bytes  int
}

func newBatch(p Putter) *batch { return &batch{p: p} }

// sink takes each block that is made.
type sink func(c cid.Cid, data []byte) error

func (b *batch) sink(ctx context.Context) sink {
	return func(c cid.Cid, data []byte) error { return b.put(ctx, c, data) }
}

func (b *batch) put(ctx context.Context, c cid.Cid, data []byte) error {
	blk, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes+len(data) > batchBytes || len(b.blocks) == batchBlocks {
		if err := b.flushLocked(ctx); err != nil {
			return err
		}
	}
	b.blocks = append(b.blocks, blk)
	b.bytes += len(data)
	return nil
}

func (b *batch) flush(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.flushLocked(ctx)
}

func (b *batch) flushLocked(ctx context.Context) error {
	if len(b.blocks) == 0 {
		return nil
	}
	if err := b.p.PutMany(ctx, b.blocks); err != nil {
		return err
	}
	b.blocks, b.bytes = nil, 0 // the Putter may keep the old slice
	return nil
}

// adder is the part of a DAG service that boxo's file layouts call: Add. The
// context is the caller's, since the layouts pass none on.
type adder struct {
	ipld.DAGService
	ctx context.Context
	b   *batch
}

func (a adder) Add(_ context.Context, n ipld.Node) error {
	return a.b.put(a.ctx, n.Cid(), n.RawData())
}
