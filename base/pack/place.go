package pack

import (
	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

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
	case f.entry.Kind == Regular && f.entry.part() && f.stream == nil:
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
