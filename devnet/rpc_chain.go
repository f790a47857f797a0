package devnet

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// apiVersion is the version of the Lotus API served, 2.3.0 in its packing.
const apiVersion = 2<<16 | 3<<8

// chainMethods answer what the chain looks like. The devnet never reverts, so
// its finalized tipset is its head.
func chainMethods(l *Ledger) map[string]method {
	head := call0(func(context.Context) (*chain.TipSet, error) { return l.HeadTipSet(), nil })
	return map[string]method{
		"Version": fixed(chain.Version{
			Version: "1.36.0+firth.devnet", APIVersion: apiVersion, Agent: "firth",
			BlockDelay: uint64(chain.EpochDuration.Seconds()),
		}),
		"ChainHead":               head,
		"ChainGetFinalizedTipSet": head,
		"ChainGetGenesis": call0(func(context.Context) (*chain.TipSet, error) {
			return l.tipsets.genesis, nil // never changes
		}),
		"ChainGetTipSetByHeight": call1(func(_ context.Context, height abi.ChainEpoch) (*chain.TipSet, error) {
			return l.tipSetAt(height)
		}),
		"ChainGetTipSet": call1(func(_ context.Context, key chain.TipSetKey) (*chain.TipSet, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.tipsets.get(key)
		}),
		"ChainGetBlock":       call1(func(_ context.Context, c *cid.Cid) (*chain.BlockHeader, error) { return l.header(c) }),
		"ChainNotify":         {stream: l.notify},
		"StateNetworkName":    fixed(networkName),
		"StateNetworkVersion": fixed(networkVersion),
	}
}

func (l *Ledger) tipSetAt(height abi.ChainEpoch) (*chain.TipSet, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tipsets.at(height)
}

// header relies on every tipset having one block.
func (l *Ledger) header(c *cid.Cid) (*chain.BlockHeader, error) {
	if c == nil {
		return nil, fault.New(fault.Invalid, "block: a CID is needed")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ts, err := l.tipsets.get(chain.TipSetKey{*c})
	if err != nil {
		return nil, fault.New(fault.NotFound, "block %s not found", c)
	}
	return ts.Blocks[0], nil
}

// notify streams the head: first the current one, then each that is applied.
func (l *Ledger) notify(ctx context.Context, _ params) (func(emit func(v any) error), error) {
	changes, cancel := l.follow()
	return func(emit func(v any) error) {
		defer cancel()
		each(ctx, changes, func(c []chain.HeadChange) bool { return emit(c) == nil })
	}, nil
}

// each gives head changes to fn until it has enough, ctx ends, or the reader
// was too slow and the ledger let go of it.
func each(ctx context.Context, changes <-chan []chain.HeadChange, fn func([]chain.HeadChange) bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case c, ok := <-changes:
			if !ok || !fn(c) {
				return
			}
		}
	}
}
