package pack

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

const (
	defaultCheckpoint = 1 << 30
	// saveBytes is how far a run has to be behind its last checkpoint for another
	// one to be worth the sync.
	saveBytes = 64 << 20
)

// packer is a run. It works in stretches: the workers are let loose on the
// entries up to the next checkpoint, and between two stretches nothing moves,
// so that the state can be stored, or set back when a file changed.
type packer struct {
	ctx   context.Context // of the run: files stay open from stretch to stretch
	job   Job
	prof  dag.Profile
	limit int64 // bytes of CAR

	taker    taker
	spool    *Spool
	outcomes *outcomes
	seen     *seen
	slots    slots
	car      *car // nil where none is written
	batches  []batch

	at      point    // behind the last turn
	open    *file    // the one that at is in; nil for none
	handled int64    // bytes of CAR that turns had in hand, known ones too
	saved   struct { // the checkpoint on disk
		cursor
		handled int64
	}
	broken bool // a turn ended halfway: only the checkpoint is to be trusted

	mu     sync.Mutex
	failed error // behind a turn; then too
}

func newPacker(ctx context.Context, j Job) *packer {
	workers := j.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0) + 1
	}
	workers = min(workers, manyWorkers)
	p := &packer{ctx: ctx, job: j, prof: j.Profile, limit: int64(commp.MaxRawSize(uint64(j.MaxPadded))), batches: make([]batch, workers)}
	p.taker = taker{
		job: &p.job, prof: p.prof, aligned: j.Export != "",
		batch: share(batchBytes, leafBytes, workers), units: share(batchUnits, 1, workers),
	}
	return p
}

func (p *packer) aligned() bool { return p.car != nil }

// header is the CAR's header: of the same length for every root.
func header(root cid.Cid) []byte { return dag.CARHeader([]cid.Cid{root}) }

// close lets go of everything but the working directory.
func (p *packer) close() {
	p.taker.end()
	p.free()
	p.closeFiles()
}

// free gives the buffers back, and what is known of blocks.
func (p *packer) free() {
	for i := range p.batches {
		p.batches[i].free()
	}
	if p.seen != nil {
		p.seen.close()
	}
}

func (b *batch) free() {
	if b.buf != nil {
		_ = freeMemory(b.buf)
		b.buf = nil
	}
}

// closeFiles closes what is open in the working directory and for the CAR.
func (p *packer) closeFiles() {
	if p.spool != nil {
		_ = p.spool.Close()
	}
	if p.outcomes != nil {
		_ = p.outcomes.f.Close()
	}
	if p.car != nil {
		p.car.close(p.at.Offset, p.broken)
	}
	p.spool, p.outcomes, p.car = nil, nil, nil
}

// run takes up the working directory and packs what is left to pack.
func (p *packer) run(ctx context.Context) (Made, error) {
	made, done, err := p.recover()
	if err != nil || done {
		return made, err
	}
	if err := p.entries(ctx); err != nil {
		return Made{}, err
	}
	return p.finish(ctx)
}

// entries packs all entries, from checkpoint to checkpoint.
func (p *packer) entries(ctx context.Context) error {
	step := p.job.Checkpoint
	if step <= 0 {
		step = defaultCheckpoint
	}
	for {
		err := p.stretch(ctx, step)
		var c *changed
		switch {
		case errors.As(err, &c):
			if err := p.goBack(c); err != nil {
				return err
			}
			continue
		case err != nil:
			if !p.broken && p.failed == nil && p.at.Cursor != p.saved.cursor {
				_ = p.save(nil) // what is lost without it is work, and err is what counts
			}
			return err
		}
		if p.handled-p.saved.handled >= min(step, saveBytes) {
			if err := p.save(nil); err != nil {
				return err
			}
		}
		over, err := p.taker.over()
		if err != nil || over {
			return err
		}
	}
}

// stretch packs about step bytes of CAR.
func (p *packer) stretch(ctx context.Context, step int64) error {
	first := make(chan struct{})
	close(first)
	p.taker.turn, p.taker.room, p.taker.planned = first, step, p.at.Offset
	workers, ctx := errgroup.WithContext(ctx)
	for i := range p.batches {
		workers.Go(func() error { return p.work(ctx, &p.batches[i]) })
	}
	err := workers.Wait()
	if p.failed != nil {
		return p.failed
	}
	return err
}

// work takes batch after batch: reads and hashes beside the other workers,
// takes its turn, then computes the commitment and writes beside them again.
func (p *packer) work(ctx context.Context, b *batch) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := p.taker.take(b)
		if err != nil || !more {
			return err
		}
		if err := p.provide(b, max(b.size, p.taker.batch)); err != nil {
			return err
		}
		if err := p.fill(ctx, b); err != nil {
			return err
		}
		select {
		case <-b.turn:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := ctx.Err(); err != nil { // a turn before may have failed
			return err
		}
		if err := p.turn(ctx, b); err != nil {
			return err
		}
		close(b.done)
		if err := p.commit(b.laid); err != nil {
			return err
		}
	}
}

// provide gives a batch a buffer for n bytes of CAR, wherever in a page they
// begin, unless it has one.
func (p *packer) provide(b *batch, n int) error {
	n = (n/pageBytes + 2) * pageBytes
	if len(b.buf) >= n {
		return nil
	}
	b.free()
	buf, err := newMemory(n)
	if err != nil {
		return fault.New(fault.Exhausted, "pack: no memory for a buffer of %d bytes: %w; use fewer workers", n, err)
	}
	b.buf = buf
	return nil
}

// commit hashes and writes what a turn has laid down. It is not interrupted: a
// turn counts only with it.
func (p *packer) commit(l laid) error {
	err := p.slots.hash(l)
	if err == nil && p.car != nil {
		err = p.car.write(l.content, l.off)
	}
	if err != nil {
		p.mu.Lock()
		p.failed = firstErr(p.failed, err)
		p.mu.Unlock()
	}
	return err
}

// goBack sets the run back to where a file began, leaves the file out, and has
// the entries behind it taken again.
func (p *packer) goBack(c *changed) error {
	f := c.file
	if p.saved.Entry == f.number && p.saved.Leaf > 0 {
		// the checkpoint on disk refers to what is cut off now
		if err := p.store(state{Point: f.start, Edge: f.startEdge, First: p.firstSlot(f.start.Offset)}); err != nil {
			return err
		}
		p.saved.cursor = f.start.Cursor
	}
	p.taker.end()
	if err := p.rewind(f.start, f.startEdge, nil); err != nil {
		return err
	}
	p.broken = false
	if err := p.drop(f, c.reason); err != nil {
		return err
	}
	p.at.Cursor = f.after.cursor
	p.taker.planner = *f.after.clone()
	p.taker.begin()
	return nil
}

// rewind makes everything be as it was at a point.
func (p *packer) rewind(to point, edge, first []byte) error {
	if err := p.spool.Truncate(to.Spool); err != nil {
		return err
	}
	if err := p.outcomes.truncate(to.Outcomes); err != nil {
		return err
	}
	p.slots.restore(to.Offset, edge, first)
	p.at, p.open = to, nil
	return p.seen.restore(func(r Record) bool { return !p.job.NoDedup || r.From == FromIndex })
}

// firstSlot is slot 0 where size bytes are laid down, nil if it is not whole.
func (p *packer) firstSlot(size int64) []byte {
	if size < commp.SlotRaw {
		return nil
	}
	return p.slots.first
}
