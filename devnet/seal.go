package devnet

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/mk12"
)

// Timers says how many epochs each step of a deal takes once the one before is
// done. Below one is the default.
type Timers struct {
	Publish abi.ChainEpoch // data verified → PublishStorageDeals sent; 1
	Confirm abi.ChainEpoch // sent → confirmed; 1
	Add     abi.ChainEpoch // confirmed → in a sector, retrievable, announced; 1
	Seal    abi.ChainEpoch // in a sector → proven, active on chain; 2
	Finish  abi.ChainEpoch // proven → the provider is done with the deal; 2
	Slash   abi.ChainEpoch // active → terminated, where the fault is set; 1
}

func (t Timers) withDefaults() Timers {
	for value, normal := range map[*abi.ChainEpoch]abi.ChainEpoch{
		&t.Publish: 1, &t.Confirm: 1, &t.Add: 1, &t.Seal: 2, &t.Finish: 2, &t.Slash: 1,
	} {
		if *value < 1 {
			*value = normal
		}
	}
	return t
}

// sealing are Lotus' names of the states a sector goes through, in equal parts
// of Timers.Seal; short timers skip some.
var sealing = [...]string{"AddPiece", "PreCommit1", "PreCommit2", "WaitSeed", "Committing", "FinalizeSector", proving}

const (
	proving    = "Proving"
	terminated = "Removed"
	noSector   = "deal not found" // what Boost says before a sector holds the deal
)

// The steps of a deal after its data was verified. Each runs on the goroutine
// that moves the chain, so what happens at which epoch depends on nothing but
// the epoch the data arrived in.

// verified puts a deal whose data is good in the queue of the next publish
// message: what is verified before it leaves is in one batch.
func (p *provider) verified(a *agreement) {
	p.mu.Lock()
	a.checkpoint = mk12.Transferred
	first := len(p.queue) == 0
	p.queue = append(p.queue, a)
	p.mu.Unlock()
	if first {
		p.later(p.timers.Publish, p.publish)
	}
}

func (p *provider) publish() {
	if p.park(NeverPublish, p.publish) {
		return
	}
	p.mu.Lock()
	batch := p.queue
	p.queue = nil
	p.mu.Unlock()
	batch = slices.DeleteFunc(batch, p.expired)
	if len(batch) == 0 {
		return
	}
	if p.publishBatch(batch) != nil && len(batch) > 1 {
		// One bad proposal spoils a message, so each gets its own.
		for _, a := range batch {
			if err := p.publishBatch([]*agreement{a}); err != nil {
				p.fail(a, fmt.Errorf("recoverable error to publish deal %s: %w", a.params.DealUUID, err))
			}
		}
	}
}

// publishBatch sends one message. With a single deal in it the error is that
// deal's end.
func (p *provider) publishBatch(batch []*agreement) error {
	proposals := make([]mk12.ClientDealProposal, len(batch))
	for i, a := range batch {
		proposals[i] = a.params.ClientDealProposal
	}
	msg, ids, err := p.ledger.Publish(p.ctx, p.id, proposals)
	if err != nil {
		return err
	}
	p.mu.Lock()
	for _, a := range batch {
		a.checkpoint, a.publish = mk12.Published, &msg
	}
	p.mu.Unlock()
	p.log.Info("deals published", "message", msg, "deals", ids)
	p.later(p.timers.Confirm, func() { p.confirm(batch, ids) })
	return nil
}

func (p *provider) confirm(batch []*agreement, ids []abi.DealID) {
	p.mu.Lock()
	for i, a := range batch {
		a.checkpoint, a.chainID = mk12.PublishConfirmed, ids[i]
	}
	p.mu.Unlock()
	for _, a := range batch {
		p.later(p.timers.Add, func() { p.addPiece(a) })
	}
}

// addPiece puts the piece into a sector of its own. From here on it can be
// retrieved.
func (p *provider) addPiece(a *agreement) {
	if p.expired(a) {
		return
	}
	if err := p.held.add(a.piece, !a.params.SkipIPNIAnnounce); err != nil {
		p.fail(a, fmt.Errorf("failed to add piece: %w", err))
		return
	}
	p.mu.Lock()
	a.checkpoint, a.sector, a.shelved = mk12.AddedPiece, p.nextSector, true
	p.nextSector++
	p.mu.Unlock()
	p.seal(a, 0)
}

// seal shows the state of the sector so many epochs after the piece was added.
func (p *provider) seal(a *agreement, passed abi.ChainEpoch) {
	state := sealing[passed*abi.ChainEpoch(len(sealing)-1)/p.timers.Seal]
	p.mu.Lock()
	a.sealing = state
	if passed > 0 {
		a.checkpoint = mk12.IndexedAndAnnounced
	}
	p.mu.Unlock()
	if passed == p.timers.Seal {
		p.prove(a)
		return
	}
	p.later(1, func() { p.seal(a, passed+1) })
}

// prove makes the deal active on chain.
func (p *provider) prove(a *agreement) {
	if err := p.ledger.Activate(a.sector, a.chainID); err != nil {
		p.fail(a, fmt.Errorf("failed to prove sector %d: %w", a.sector, err))
		return
	}
	p.log.Info("deal active", "deal", a.chainID, "piece", a.params.ClientDealProposal.Proposal.PieceCID)
	p.mu.Lock()
	a.active = true
	slash := p.faults.Has(Slash)
	p.mu.Unlock()
	if a.params.RemoveUnsealedCopy {
		p.unshelve(a)
	}
	if slash {
		p.later(p.timers.Slash, func() { p.slash(a) })
	}
	p.later(p.timers.Finish, func() { p.finish(a) })
	end := a.params.ClientDealProposal.Proposal.EndEpoch
	p.ledger.After(int64(end-p.ledger.Head()), func() { p.end(a) })
}

func (p *provider) finish(a *agreement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.active {
		a.checkpoint = mk12.Complete
	}
}

// end lets go of a deal that has run its time.
func (p *provider) end(a *agreement) {
	p.mu.Lock()
	a.active = false
	p.mu.Unlock()
	p.unshelve(a)
}

// slash loses the deal's sector, if the fault still stands.
func (p *provider) slash(a *agreement) {
	p.mu.Lock()
	lost := a.active && p.faults.Has(Slash)
	if lost {
		a.active, a.sealing = false, terminated
	}
	p.mu.Unlock()
	if !lost {
		return
	}
	if err := p.ledger.Slash(a.chainID); err != nil {
		p.log.Warn("deal not slashed", "deal", a.chainID, "err", err)
	}
	p.unshelve(a)
}

// expired fails a deal that can no longer be proven in time.
func (p *provider) expired(a *agreement) bool {
	start, head := a.params.ClientDealProposal.Proposal.StartEpoch, p.ledger.Head()
	if head <= start {
		return false
	}
	p.fail(a, fmt.Errorf("deal proposal must be proven on chain by deal proposal start epoch %d, but it has expired: current chain height: %d", start, head))
	return true
}

// fail ends a deal with the error its client will see, and removes its data.
func (p *provider) fail(a *agreement, err error) {
	p.mu.Lock()
	a.checkpoint, a.failure, a.active = mk12.Complete, err.Error(), false
	piece := a.piece
	shelved := a.shelved
	p.mu.Unlock()
	p.log.Info("deal failed", "uuid", a.params.DealUUID, "reason", err)
	switch {
	case shelved:
		p.unshelve(a)
	case piece != nil:
		p.remove(piece.path)
	}
}

func (p *provider) unshelve(a *agreement) {
	p.mu.Lock()
	shelved := a.shelved
	a.shelved = false
	p.mu.Unlock()
	if !shelved {
		return
	}
	if err := p.held.drop(a.piece.cid, !a.params.SkipIPNIAnnounce); err != nil {
		p.log.Warn("piece not dropped", "piece", a.piece.cid, "err", err)
	}
}

func (p *provider) remove(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.log.Warn("file not removed", "path", path, "err", err)
	}
}

// later runs a step so many epochs from now, ten times as many on a slow
// provider, and not before a provider that vanished is back.
func (p *provider) later(epochs abi.ChainEpoch, step func()) {
	if p.fault().Has(Slow) {
		epochs *= slowness
	}
	p.ledger.After(int64(epochs), func() {
		if !p.park(Vanish, step) {
			step()
		}
	})
}

// park keeps a step for when the fault is taken away, if it is there.
func (p *provider) park(f Fault, step func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.faults.Has(f) {
		return false
	}
	p.parked = append(p.parked, step)
	return true
}
