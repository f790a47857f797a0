package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/ipfs/boxo/datastore/dshelp"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	flatfs "github.com/ipfs/go-ds-flatfs"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/block"
)

// subject is a store under test.
type subject struct {
	name  string
	put   func(ctx context.Context, bs []blocks.Block) error
	get   func(ctx context.Context, c cid.Cid) (int, error) // size of what was read
	close func() error
}

// subjects opens all stores; ours is the first.
func subjects(ctx context.Context, dir string) ([]subject, error) {
	ours, err := openOurs(ctx, filepath.Join(dir, "firth"))
	if err != nil {
		return nil, err
	}
	flat, err := openFlatfs(filepath.Join(dir, "flatfs"))
	if err != nil {
		return nil, err
	}
	bad, err := openBadger(filepath.Join(dir, "badger"))
	if err != nil {
		return nil, err
	}
	return []subject{ours, flat, bad}, nil
}

func openOurs(ctx context.Context, dir string) (subject, error) {
	s, err := block.Open(ctx, dir, block.Options{})
	if err != nil {
		return subject{}, err
	}
	return subject{
		name: "firth, synced", put: s.PutMany, close: s.Close,
		get: func(ctx context.Context, c cid.Cid) (int, error) {
			b, err := s.Get(ctx, c)
			if err != nil {
				return 0, err
			}
			return len(b.RawData()), nil
		},
	}, nil
}

// openFlatfs opens Kubo's default: next-to-last/2 shards, no sync.
func openFlatfs(dir string) (subject, error) {
	d, err := flatfs.CreateOrOpen(dir, flatfs.NextToLast(2), false)
	if err != nil {
		return subject{}, err
	}
	put := func(ctx context.Context, bs []blocks.Block) error {
		batch, err := d.Batch(ctx)
		if err != nil {
			return err
		}
		for _, b := range bs {
			if err := batch.Put(ctx, dshelp.MultihashToDsKey(b.Cid().Hash()), b.RawData()); err != nil {
				return err
			}
		}
		return batch.Commit(ctx)
	}
	get := func(ctx context.Context, c cid.Cid) (int, error) {
		data, err := d.Get(ctx, dshelp.MultihashToDsKey(c.Hash()))
		return len(data), err
	}
	return subject{name: "flatfs v0.6.1, no sync", put: put, get: get, close: d.Close}, nil
}

// openBadger opens badger with its defaults, which do not sync.
func openBadger(dir string) (subject, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return subject{}, err
	}
	put := func(_ context.Context, bs []blocks.Block) error {
		wb := db.NewWriteBatch()
		defer wb.Cancel()
		for _, b := range bs {
			if err := wb.Set(b.Cid().Hash(), b.RawData()); err != nil {
				return err
			}
		}
		return wb.Flush()
	}
	get := func(_ context.Context, c cid.Cid) (n int, err error) {
		err = db.View(func(txn *badger.Txn) error {
			item, err := txn.Get(c.Hash())
			if err != nil {
				return err
			}
			data, err := item.ValueCopy(nil)
			n = len(data)
			return err
		})
		return n, err
	}
	return subject{name: "badger v4.9.6, no sync", put: put, get: get, close: db.Close}, nil
}

// blocksOf makes the blocks of one round, which no other round has.
func blocksOf(round uint64, l load) []blocks.Block {
	rng := rand.NewChaCha8([32]byte{1 + byte(round), byte(l.size >> 10)})
	out := make([]blocks.Block, l.batch*l.batches)
	for i := range out {
		data := make([]byte, l.size)
		_, _ = rng.Read(data) // never fails
		c, err := cid.V1Builder{Codec: cid.Raw, MhType: mh.SHA2_256}.Sum(data)
		if err != nil {
			panic(err) // SHA-256 is always there
		}
		out[i], err = blocks.NewBlockWithCid(data, c)
		if err != nil {
			panic(err)
		}
	}
	return out
}
