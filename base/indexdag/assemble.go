package indexdag

import (
	"context"
	"errors"
	"io"
	"os"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// small is how many bytes of a CAR are read at once and kept whole.
const small = 8 << 20

// span is how many bytes of its CAR a source says to read.
func (s Source) span() (n int64) {
	for _, r := range s.CAR {
		n += r.Length
		if n < 0 || r.Length < 0 || r.Offset < 0 {
			return 1 << 62
		}
	}
	return n
}

// part gets the bytes of a source to their place in a file of total bytes. The
// file may grow beyond that meanwhile.
func (f *Fetcher) part(ctx context.Context, s Source, out *os.File, total int64) error {
	var err error
	switch n := s.span(); {
	case len(s.Selector) > 0:
		s.Cid, err = f.selected(ctx, s)
		if err == nil {
			err = f.copyPart(ctx, f.within(s.Piece, nil), s, out)
		}
	case n <= small:
		var held map[cid.Cid][]byte
		if held, err = f.hold(ctx, s.Piece, s.CAR); err == nil {
			err = f.copyPart(ctx, f.within(s.Piece, held), s, out)
		}
	default:
		err = f.large(ctx, s, out, total)
	}
	return fault.Wrap(err, "bytes %d to %d", s.Offset, s.Offset+s.Length)
}

// within is a Getter over blocks at hand, behind which the piece is.
func (f *Fetcher) within(piece cid.Cid, held map[cid.Cid][]byte) getter {
	return func(ctx context.Context, c cid.Cid) (blocks.Block, error) {
		if data, ok := held[c]; ok {
			return blocks.NewBlockWithCid(data, c)
		}
		return f.find(ctx, c, piece)
	}
}

type getter func(ctx context.Context, c cid.Cid) (blocks.Block, error)

func (g getter) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) { return g(ctx, c) }

// selected follows the way of an index of version 1 from the root of a CAR.
func (f *Fetcher) selected(ctx context.Context, s Source) (cid.Cid, error) {
	at := s.Cid
	for _, i := range s.Selector {
		below, err := dag.Children(ctx, f.within(s.Piece, nil), at)
		if err != nil {
			return cid.Undef, err
		}
		if i >= len(below) {
			return cid.Undef, fault.New(fault.Invalid, "block %s: has %d links, the index says to follow number %d", at, len(below), i)
		}
		at = below[i]
	}
	return at, nil
}

// hold reads runs of a CAR that are not large and returns their blocks. What
// is broken is asked for elsewhere; what no place has whole is left out.
func (f *Fetcher) hold(ctx context.Context, piece cid.Cid, runs []Range) (map[cid.Cid][]byte, error) {
	held := map[cid.Cid][]byte{}
	for _, r := range runs {
		s := f.stream(ctx, piece, r)
		for {
			c, data, err := s.section()
			if err != nil || !c.Defined() {
				break // what is missing is looked for, and its absence told, by who wants it
			}
			held[c] = append([]byte(nil), data...)
		}
		s.close()
	}
	return held, ctx.Err()
}

// copyPart writes the file that a source names to its place.
func (f *Fetcher) copyPart(ctx context.Context, g dag.Getter, s Source, out *os.File) error {
	r, size, err := dag.OpenFile(ctx, g, s.Cid)
	if err != nil {
		return err
	}
	defer r.Close()
	if size != s.Length {
		return fault.New(fault.Invalid, "file %s: has %d bytes, the index says %d", s.Cid, size, s.Length)
	}
	_, err = io.Copy(f.counting(io.NewOffsetWriter(out, s.Offset)), r)
	return diskError(err)
}

// counting tells the progress of what is written.
func (f *Fetcher) counting(w io.Writer) io.Writer {
	if f.o.Progress == nil {
		return w
	}
	return progressing{w, f.o.Progress}
}

type progressing struct {
	w    io.Writer
	tell func(int64)
}

func (p progressing) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.tell(int64(n))
	return n, err
}

// assembly is a large part that is being got: leaves go to the file as they
// come, where they will be if each comes once and in order, as is the rule;
// nodes are kept. What each leaf is and where it went is remembered, 56 bytes
// a leaf of commonly 1 MiB.
type assembly struct {
	s       Source
	out     *os.File
	total   int64 // bytes of the whole file
	leaves  []leaf
	written int64
	nodes   map[cid.Cid][]byte
	kept    int64 // bytes of nodes
}

type leaf struct {
	c    cid.Cid
	at   int64 // in the file
	size int
}

// take takes a section. What cannot be of the file is passed over.
func (a *assembly) take(c cid.Cid, data []byte) error {
	n := int64(len(data))
	switch {
	case c.Type() == cid.Raw && a.written+n <= a.s.Length && int64(len(a.leaves)) <= a.s.Length>>10+4096:
		if _, err := a.out.WriteAt(data, a.s.Offset+a.written); err != nil {
			return diskError(err)
		}
		a.leaves = append(a.leaves, leaf{c, a.s.Offset + a.written, len(data)})
		a.written += n
	case c.Type() == cid.DagProtobuf && a.kept+n <= a.s.Length>>7+maxSection:
		a.nodes[c] = append([]byte(nil), data...)
		a.kept += n
	}
	return nil
}

// large gets a part whose blocks are too many to be kept.
func (f *Fetcher) large(ctx context.Context, s Source, out *os.File, total int64) error {
	f.heavy <- struct{}{}
	defer func() { <-f.heavy }()
	a := &assembly{s: s, out: out, total: total, nodes: map[cid.Cid][]byte{}}
	var broken error
	for _, r := range s.CAR {
		if err := f.takeAll(ctx, a, r); err != nil {
			if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
				return err
			}
			broken = err
		}
	}
	nodes := f.within(s.Piece, a.nodes)
	regular, err := a.regular(ctx, nodes)
	if err == nil && !regular {
		err = f.scattered(ctx, a, nodes)
	}
	if err != nil && broken != nil {
		return errors.Join(broken, err)
	}
	return err
}

func (f *Fetcher) takeAll(ctx context.Context, a *assembly, r Range) error {
	s := f.stream(ctx, a.s.Piece, r)
	defer s.close()
	for {
		c, data, err := s.section()
		if err != nil || !c.Defined() {
			return err
		}
		before := a.written
		if err := a.take(c, data); err != nil {
			return err
		}
		if f.o.Progress != nil {
			f.o.Progress(a.written - before)
		}
	}
}

// regular reports whether what was written is the file: its leaves, in the
// order of its DAG.
func (a *assembly) regular(ctx context.Context, g dag.Getter) (bool, error) {
	e, err := dag.Stat(ctx, g, a.s.Cid)
	if err != nil {
		return false, err
	}
	if e.Dir || e.Symlink || e.Size != a.s.Length {
		return false, fault.New(fault.Invalid, "%s: is no file of %d bytes, as the index says", a.s.Cid, a.s.Length)
	}
	next := 0
	var below func(c cid.Cid, depth int) (bool, error)
	below = func(c cid.Cid, depth int) (bool, error) {
		if c.Type() == cid.Raw {
			ok := next < len(a.leaves) && a.leaves[next].c == c
			next++
			return ok, nil
		}
		children, err := dag.Children(ctx, g, c)
		if err != nil || len(children) == 0 || depth == 64 {
			return false, err
		}
		for _, c := range children {
			if ok, err := below(c, depth+1); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	ok, err := below(a.s.Cid, 0)
	return ok && next == len(a.leaves) && a.written == a.s.Length, err
}

// scattered puts a part together again whose leaves are not all where they
// were looked for: equal blocks are kept once in a piece. It does so behind the
// end of the file, from where the part is copied to its place.
func (f *Fetcher) scattered(ctx context.Context, a *assembly, nodes getter) error {
	at := make(map[cid.Cid]leaf, len(a.leaves))
	for _, l := range a.leaves {
		at[l.c] = l
	}
	var last blocks.Block // runs of equal leaves are what files have most
	both := getter(func(ctx context.Context, c cid.Cid) (b blocks.Block, err error) {
		if last != nil && last.Cid() == c {
			return last, nil
		}
		if l, ok := at[c]; ok {
			data := make([]byte, l.size)
			if _, err := a.out.ReadAt(data, l.at); err != nil {
				return nil, diskError(err)
			}
			return blocks.NewBlockWithCid(data, c)
		}
		if b, err = nodes(ctx, c); err == nil && c.Type() == cid.Raw {
			last = b
		}
		return b, err
	})
	r, size, err := dag.OpenFile(ctx, both, a.s.Cid)
	if err != nil {
		return err
	}
	defer r.Close()
	behind := a.total + a.s.Offset
	if _, err := io.Copy(io.NewOffsetWriter(a.out, behind), r); err != nil {
		return diskError(err)
	}
	_, err = io.Copy(io.NewOffsetWriter(a.out, a.s.Offset), io.NewSectionReader(a.out, behind, size))
	return diskError(err)
}
