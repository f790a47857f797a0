package pack

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/firth-project/firth/base/sha256x"
)

// fill reads the leaves of a batch to where they stand in the CAR, hashes them
// all at once and writes their heads. Files that cannot be read get a reason;
// an error is one to end the run with.
func (p *packer) fill(ctx context.Context, b *batch) error {
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(max(p.job.Readers, 1))
	for i := range b.units {
		u := &b.units[i]
		if u.file.reason != "" || u.stream == nil && (u.leaves == 0 || u.abandoned.Load()) {
			continue
		}
		if p.job.Readers <= 1 {
			if err := p.readUnit(ctx, b, u); err != nil {
				return err
			}
			continue
		}
		readers.Go(func() error { return p.readUnit(ctx, b, u) })
	}
	if err := readers.Wait(); err != nil {
		return err
	}
	b.hash()
	return nil
}

// readUnit reads one unit. Of a file that is all in this batch nothing else is
// wanted, so it is checked and closed.
func (p *packer) readUnit(ctx context.Context, b *batch, u *unit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	planned := u.leaves
	if u.stream != nil {
		err = p.readStream(ctx, b, u)
	} else {
		err = p.readLeaves(b, u)
	}
	if !u.long && planned > 0 {
		if err == nil {
			err = u.opened.Check()
		}
		u.file.close()
	}
	if err == nil {
		return nil
	}
	if ended := u.fatal(ctx, err); ended != nil {
		return ended
	}
	u.reason = reasonOf(err)
	return nil
}

func (p *packer) readLeaves(b *batch, u *unit) error {
	in, err := u.file.open(p.ctx, p.job.Open)
	for i := 0; err == nil && i < u.leaves; i++ {
		s := b.leaves[u.at+i]
		err = u.readLeaf(in, u.leaf+int64(i), b.buf[s.pos+s.head:][:s.size])
	}
	return err
}

// hash makes the digests of all leaves that were read, and their heads.
func (b *batch) hash() {
	b.msgs = b.msgs[:0]
	for i := range b.units {
		u := &b.units[i]
		if u.reason != "" {
			continue
		}
		for _, s := range b.leaves[u.at : u.at+u.leaves] {
			b.msgs = append(b.msgs, b.buf[s.pos+s.head:][:s.size])
		}
	}
	if cap(b.sums) < len(b.leaves) {
		b.sums = make([][32]byte, max(len(b.leaves), 64))
	}
	b.sums = b.sums[:len(b.leaves)]
	sums := b.sums[:len(b.msgs)]
	sha256x.Sum(sums, b.msgs)
	if len(sums) < len(b.leaves) { // some units were not read
		b.spread(sums)
	}
	for i := range b.units {
		u := &b.units[i]
		if u.reason != "" {
			continue
		}
		for k, s := range b.leaves[u.at : u.at+u.leaves] {
			r := Record{Form: Raw, Size: s.size, Digest: b.sums[u.at+k]}
			r.AppendHead(b.buf[s.pos : s.pos : s.pos+s.head])
		}
	}
}

// spread moves the digests to the numbers of their leaves, from the last on.
func (b *batch) spread(sums [][32]byte) {
	for i := len(b.units) - 1; i >= 0; i-- {
		u := &b.units[i]
		if u.reason != "" {
			continue
		}
		for k := u.leaves - 1; k >= 0; k-- {
			b.sums[u.at+k] = sums[len(sums)-1]
			sums = sums[:len(sums)-1]
		}
	}
}
