package pack

import (
	"context"
	"fmt"

	"github.com/firth-project/firth/base/fault"
)

// point is a place in the CAR with all that belongs to it. It is stored, as
// JSON, in checkpoints.
type point struct {
	Cursor   cursor `json:"cursor"`
	Offset   int64  `json:"offset"` // in the CAR
	Spool    Mark   `json:"spool"`
	Outcomes int64  `json:"outcomes"` // bytes of them
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
	Skipped  int64  `json:"skipped"`
}

// changed says that a file which has leaves in the CAR cannot be finished: the
// run has to go back to where the file began.
type changed struct {
	file   *file
	reason string
}

func (c *changed) Error() string { return fmt.Sprintf("%q: %s", c.file.entry.Path, c.reason) }

// turn gives a batch its place in the CAR. Turns come in the order of the
// batches, one at a time; what is in the CAR, and where, is decided here and
// nowhere else.
func (p *packer) turn(ctx context.Context, b *batch) error {
	p.broken = true
	b.off, b.moves = p.at.Offset, b.moves[:0]
	var begins *file // that begins here and is not done
	for i := range b.units {
		u := &b.units[i]
		if err := p.settle(ctx, b, u); err != nil {
			return err
		}
		if u.begins() && u.begun {
			begins = u.file
		}
	}
	if p.at.Offset > p.limit {
		return fault.New(fault.Invalid, "piece of %d padded bytes: holds %d bytes of CAR, the entries need more; pack fewer of them or a larger piece",
			p.job.MaxPadded, p.limit)
	}
	content := b.arrange(p.aligned())
	if begins != nil {
		begins.startEdge = p.slots.edgeAt(begins.start.Offset, content, b.off)
	}
	b.laid = p.slots.lay(content, b.off)
	if short := int64(b.size - len(content)); short != 0 {
		p.taker.shrink(short)
	}
	p.handled += int64(b.size)
	p.at.Cursor = b.end
	p.open = nil
	if u := &b.units[len(b.units)-1]; !u.ends && !u.dropped {
		p.open = u.file
	} else if !u.ends {
		p.at.Cursor = u.after.cursor
	}
	p.broken = false
	if p.job.Progress != nil {
		p.job.Progress(p.at.Cursor.Entry, p.at.Bytes)
	}
	return nil
}

// settle decides about one unit.
func (p *packer) settle(ctx context.Context, b *batch, u *unit) error {
	f := u.file
	if f.long && u.ends {
		defer f.close()
	}
	if f.dropped {
		return nil
	}
	if f.reason != "" {
		u.reason = f.reason
	}
	if u.reason == "" && f.long && (u.lastLeaf() || f.stream != nil && u.ends) {
		if err := f.opened.Check(); err != nil {
			if ended := f.fatal(ctx, err); ended != nil {
				return ended
			}
			u.reason = reasonOf(err)
		}
	}
	if u.reason != "" {
		if f.begun {
			return &changed{f, u.reason}
		}
		return p.drop(f, u.reason)
	}
	if u.begins() && (f.long || f.stream != nil && !u.ends) {
		f.start = p.here(f.before)
		f.begun = true
	}
	if err := p.placeLeaves(b, u); err != nil {
		return err
	}
	nodes := f.nodes
	if f.stream == nil {
		nodes = nodes[u.node : u.node+u.nodes]
	} else if u.ends {
		if err := f.growStream(p.prof); err != nil {
			return err
		}
		nodes = f.nodes
	}
	for _, block := range nodes {
		if err := p.placeNode(b, f, block); err != nil {
			return err
		}
	}
	if u.ends {
		return p.done(f)
	}
	return nil
}

// here is the point that the turn is at.
func (p *packer) here(c cursor) point {
	at := p.at
	at.Cursor, at.Spool, at.Outcomes = c, p.spool.Mark(), p.outcomes.size()
	return at
}

// drop makes a file's outcome that it is skipped.
func (p *packer) drop(f *file, reason string) error {
	f.dropped = true
	f.abandoned.Store(true)
	p.at.Skipped++
	return p.outcomes.add(outcomeSkipped, Outcome{Skipped: reason})
}
