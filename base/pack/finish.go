package pack

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// tail lays nodes behind the entries.
type tail struct {
	p    *packer
	b    *batch
	off  int64 // in the CAR, of the first byte in the buffer
	base int
	n    int // bytes in the buffer
}

func (p *packer) newTail() (*tail, error) {
	for i := range p.batches[1:] { // nobody else needs one any more
		p.batches[1+i].free()
	}
	t := &tail{p: p, b: &p.batches[0]}
	if err := p.provide(t.b, batchBytes); err != nil {
		return nil, err
	}
	t.begin()
	return t, nil
}

func (t *tail) begin() {
	t.off, t.base, t.n = t.p.at.Offset, 0, 0
	if t.p.aligned() {
		t.base = int(t.off % pageBytes)
	}
}

// put lays down a block unless the CAR has it. The error is ErrFull when there
// is no room.
func (t *tail) put(b blocks.Block) error {
	if len(b.RawData()) > dag.MaxBlockSize {
		return fault.New(fault.Invalid, "block %s: %d bytes, limit %d", b.Cid(), len(b.RawData()), dag.MaxBlockSize)
	}
	r, err := NewRecord(b.Cid(), t.p.at.Offset, len(b.RawData()))
	if err != nil {
		return err
	}
	size := r.Section()
	if t.p.at.Offset+size > t.p.limit {
		_, known, err := t.p.seen.find(r.Form, &r.Digest)
		if err == nil && !known {
			err = ErrFull
		}
		return err
	}
	if t.n+int(size) > batchBytes {
		if err := t.flush(); err != nil {
			return err
		}
	}
	r, known, err := t.p.record(b)
	if err != nil || known {
		return err
	}
	out := r.AppendHead(t.b.buf[:t.base+t.n])
	t.n = len(append(out, b.RawData()...)) - t.base
	t.p.at.Offset += size
	return nil
}

func (t *tail) flush() error {
	err := t.p.commit(t.p.slots.lay(t.b.buf[t.base:t.base+t.n], t.off))
	t.begin()
	return err
}

// finish lays the directories and the tail behind the files, writes the header
// and the index, and gives the CAR its name.
func (p *packer) finish(ctx context.Context) (Made, error) {
	p.taker.end()
	if err := p.outcomes.flush(); err != nil {
		return Made{}, p.dirError(err)
	}
	t, err := p.newTail()
	if err != nil {
		return Made{}, err
	}
	p.broken = true
	root, err := p.root(ctx, t.put)
	if errors.Is(err, ErrFull) {
		err = fault.New(fault.Invalid, "piece of %d padded bytes: no room for its directories behind %d bytes of files; pack fewer or take a larger piece", p.job.MaxPadded, p.at.Offset)
	}
	if err != nil {
		return Made{}, err
	}
	if p.job.Tail != nil {
		if err := p.job.Tail(ctx, p.outcomes.each, t.put); err != nil {
			return Made{}, err
		}
	}
	if err := t.flush(); err != nil {
		return Made{}, err
	}
	p.free()
	return p.seal(ctx, root.Cid)
}

// seal makes everything durable, and only then visible.
func (p *packer) seal(ctx context.Context, root cid.Cid) (Made, error) {
	size, head := p.at.Offset, header(root)
	tree, err := p.slots.finish(size, head)
	if err != nil {
		return Made{}, err
	}
	piece, err := tree.PiecePadded(max(commp.PaddedSize(uint64(size)), uint64(p.job.MinPadded)))
	if err != nil {
		return Made{}, fault.Mark(fault.Internal, err)
	}
	if err := p.writeIndex(ctx, head, size, tree); err != nil {
		return Made{}, err
	}
	d := &finished{
		Piece: piece.CIDv2.String(), Root: root.String(), CARSize: size, Blocks: p.spool.Records(),
		Files: p.at.Files, Bytes: p.at.Bytes, Skipped: p.at.Skipped, Outcomes: p.outcomes.size(),
	}
	if p.car != nil {
		if err := p.car.seal(head, size); err != nil {
			return Made{}, err
		}
		d.CAR = filepath.Join(p.job.Export, d.Piece+".car")
	}
	if err := p.save(d); err != nil {
		return Made{}, err
	}
	made, ok, err := p.complete(d)
	if err == nil && !ok {
		err = fault.New(fault.Internal, "the CAR or the index vanished")
	}
	return made, err
}

func (p *packer) writeIndex(ctx context.Context, head []byte, size int64, tree *commp.Tree) error {
	name := filepath.Join(p.job.Dir, indexFile)
	f, err := os.Create(name + ".tmp")
	if err != nil {
		return p.dirError(err)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = p.spool.WriteIndex(ctx, w, head, size, tree)
	if err == nil {
		err = w.Flush()
	}
	if err == nil && !p.job.Temporary {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return p.dirError(err)
	}
	return p.dirError(os.Rename(f.Name(), name))
}
