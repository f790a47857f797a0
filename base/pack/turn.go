package pack

import (
	"context"
	"fmt"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
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

// move is a run of bytes of a batch: from pos in its buffer, or data.
type move struct {
	pos, n int
	data   []byte
}

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
			if fatal(ctx, err) {
				return fault.Wrap(err, "check %q", f.entry.Path)
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

func (p *packer) placeLeaves(b *batch, u *unit) error {
	f := u.file
	if f.builder == nil && f.stream == nil && f.to-f.from > 1 {
		var err error
		if f.builder, err = dag.NewFileBuilder(p.prof, f.entry.Size, f.from, f.to); err != nil {
			return err
		}
	}
	for i := range u.leaves {
		s, digest := b.leaves[u.at+i], &b.sums[u.at+i]
		leaf := u.leaf + int64(i)
		if err := p.placeLeaf(b, f, leaf, s, digest); err != nil {
			return err
		}
		if f.stream != nil {
			f.digests = append(f.digests, *digest)
		} else if err := f.grow(leaf, *digest); err != nil {
			return err
		}
	}
	return nil
}

// grow adds a leaf to the file's DAG.
func (f *file) grow(leaf int64, digest [32]byte) error {
	n := f.leafSize(leaf)
	l := dag.Link{Cid: leafCid(digest), Size: n, TreeSize: uint64(n)}
	if f.builder == nil {
		f.tops = []dag.Top{{Index: leaf, Link: l}}
		return nil
	}
	f.digests = append(f.digests, digest)
	err := f.builder.Leaf(l, func(b blocks.Block) error {
		f.nodes = append(f.nodes, b)
		return nil
	})
	if err == nil && leaf+1 == f.to {
		f.tops, err = f.builder.Finish()
	}
	return err
}

// placeLeaf gives a leaf its place, unless it has one.
func (p *packer) placeLeaf(b *batch, f *file, leaf int64, s section, digest *[32]byte) error {
	if !p.job.NoDedup {
		r, known, err := p.seen.find(Raw, digest)
		if err != nil {
			return err
		}
		if known {
			f.scattered, f.elsewhere = true, r
			return nil
		}
	}
	if f.source == 0 {
		var err error
		if f.source, err = p.spool.AddSource(f.entry.source()); err != nil {
			return err
		}
	}
	r := Record{Offset: p.at.Offset, Position: leaf * f.chunk, From: f.source, Form: Raw, Size: s.size, Digest: *digest}
	if !p.job.NoDedup {
		if err := p.seen.add(r, p.spool.Records()); err != nil {
			return err
		}
	}
	b.moves = appendMove(b.moves, s.pos, s.head+s.size)
	p.advance(f, int64(s.head+s.size))
	return p.spool.Add(r)
}

// placeNode gives a node its place, unless it has one.
func (p *packer) placeNode(b *batch, f *file, block blocks.Block) error {
	r, known, err := p.record(block)
	if err != nil {
		return err
	}
	if known {
		f.scattered, f.elsewhere = true, r
		return nil
	}
	data := append(r.AppendHead(nil), block.RawData()...)
	b.moves = append(b.moves, move{n: len(data), data: data})
	p.advance(f, int64(len(data)))
	return nil
}

// record adds a node to the spool at the offset at hand, or finds it there.
func (p *packer) record(block blocks.Block) (r Record, known bool, err error) {
	r, err = NewRecord(block.Cid(), p.at.Offset, len(block.RawData()))
	if err != nil {
		return r, false, err
	}
	if got, known, err := p.seen.find(r.Form, &r.Digest); known || err != nil {
		return got, known, err
	}
	if err := p.seen.add(r, p.spool.Records()); err != nil {
		return r, false, err
	}
	r, err = p.spool.AddNode(block, p.at.Offset)
	return r, false, err
}

// advance counts bytes that were laid down for a file.
func (p *packer) advance(f *file, n int64) {
	if f.last == 0 {
		f.first = p.at.Offset
	}
	p.at.Offset += n
	f.last = p.at.Offset
}

// done makes the outcome of a file that is in the CAR.
func (p *packer) done(f *file) error {
	out := Outcome{Tops: f.tops, CAROffset: f.first, CARLength: f.last - f.first, Scattered: f.scattered}
	if f.last == 0 && f.scattered {
		out.CAROffset, out.CARLength = f.elsewhere.Offset, f.elsewhere.Section()
	}
	kind := outcomeWhole
	switch {
	case f.entry.Kind == Directory:
		return p.outcomes.add(outcomeDirectory, Outcome{})
	case f.entry.Kind == Regular && f.entry.part():
		kind = outcomePart
	}
	if kind == outcomeWhole && len(f.tops) != 1 {
		return fault.New(fault.Internal, "file %q: has %d roots", f.entry.Path, len(f.tops))
	}
	p.at.Files++
	if f.entry.Kind == Regular {
		p.at.Bytes += f.entry.Length
	}
	return p.outcomes.add(kind, out)
}

// appendMove appends bytes of the buffer, to those before if they touch.
func appendMove(moves []move, pos, n int) []move {
	if k := len(moves) - 1; k >= 0 && moves[k].data == nil && moves[k].pos+moves[k].n == pos {
		moves[k].n += n
		return moves
	}
	return append(moves, move{pos: pos, n: n})
}

// arrange brings the bytes of a batch together in its buffer and returns them.
// As a rule they are where they were read to and only nodes are written into
// their gaps. Where leaves were left out, what is behind moves up: first what
// moves towards the beginning, from the beginning on, then what moves towards
// the end, from the end on, so that nothing runs over what is still to move.
func (b *batch) arrange(aligned bool) []byte {
	base := b.base
	if aligned {
		base = int(b.off % pageBytes)
	}
	to := base
	for i := range b.moves {
		m := &b.moves[i]
		if m.data == nil && to < m.pos {
			copy(b.buf[to:], b.buf[m.pos:m.pos+m.n])
			m.pos = to
		}
		to += m.n
	}
	end := to
	for i := len(b.moves) - 1; i >= 0; i-- {
		m := &b.moves[i]
		to -= m.n
		if m.data == nil && to > m.pos {
			copy(b.buf[to:to+m.n], b.buf[m.pos:])
		}
	}
	for _, m := range b.moves {
		copy(b.buf[to:], m.data)
		to += m.n
	}
	return b.buf[base:end]
}
