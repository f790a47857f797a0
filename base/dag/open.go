package dag

import (
	"context"
	"io"
	"sort"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// OpenFile opens a UnixFS file and returns its size in bytes. Reading fetches
// one block at a time under ctx and holds one leaf and the nodes above it;
// seeking costs nothing until the next read. The reader is also an
// io.WriterTo. What is no file, or a file whose nodes disagree about sizes, is
// Invalid; a missing block is NotFound and named.
func OpenFile(ctx context.Context, g Getter, c cid.Cid) (io.ReadSeekCloser, int64, error) {
	n, err := load(ctx, g, c)
	if err != nil {
		return nil, 0, fault.Wrap(err, "open file")
	}
	if n.kind != fileNode {
		return nil, 0, fault.New(fault.Invalid, "open file: %s is not a file", c)
	}
	return newFile(ctx, g, n), n.size, nil
}

// file reads leaves left to right by a path of nodes from the root.
type file struct {
	ctx    context.Context
	g      Getter
	root   *node
	pos    int64
	path   []span
	leaf   span
	closed bool
}

// span is a node with the offset its content starts at.
type span struct {
	n     *node
	start int64
	ends  []int64 // offset behind each child, filled when the span is entered
}

func (s span) holds(pos int64) bool { return s.n != nil && pos >= s.start && pos < s.start+s.n.size }

func newFile(ctx context.Context, g Getter, root *node) *file {
	return &file{ctx: ctx, g: g, root: root}
}

func (f *file) Read(p []byte) (int, error) {
	b, err := f.ahead()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	n := copy(p, b)
	f.pos += int64(n)
	return n, nil
}

// WriteTo writes from the current position to the end without copying.
func (f *file) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		b, err := f.ahead()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(b)
		f.pos, total = f.pos+int64(n), total+int64(n)
		if err != nil {
			return total, err
		}
	}
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.root.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return f.pos, fault.New(fault.Invalid, "file %s: seek to %d", f.root.c, offset)
	}
	f.pos = offset
	return offset, nil
}

// Close frees what is held; reading afterwards is an error.
func (f *file) Close() error {
	f.path, f.leaf, f.closed = nil, span{}, true
	return nil
}

// ahead returns the content from the position to the end of its block.
func (f *file) ahead() ([]byte, error) {
	switch {
	case f.closed:
		return nil, fault.New(fault.Invalid, "file %s: closed", f.root.c)
	case f.pos >= f.root.size:
		return nil, io.EOF
	}
	if at := f.pos - f.leaf.start; f.leaf.holds(f.pos) && at < int64(len(f.leaf.n.data)) {
		return f.leaf.n.data[at:], nil
	}
	if err := f.descend(); err != nil {
		return nil, fault.Wrap(err, "read file %s at %d", f.root.c, f.pos)
	}
	return f.leaf.n.data[f.pos-f.leaf.start:], nil
}

// descend makes leaf the node whose own data hold the position. Children of
// size 0 are never entered, so each level comes closer to a byte.
func (f *file) descend() error {
	for len(f.path) > 0 && !f.path[len(f.path)-1].holds(f.pos) {
		f.path = f.path[:len(f.path)-1]
	}
	if len(f.path) == 0 {
		f.path = append(f.path, enter(f.root, 0))
	}
	for {
		top := f.path[len(f.path)-1]
		if f.pos < top.start+int64(len(top.n.data)) {
			f.leaf = top
			return nil
		}
		if len(f.path) == maxFileDepth {
			return fault.New(fault.Invalid, "file node %s: more than %d nodes deep", top.n.c, maxFileDepth)
		}
		i := sort.Search(len(top.ends), func(i int) bool { return top.ends[i] > f.pos })
		sub, err := load(f.ctx, f.g, top.n.links[i].Cid)
		if err != nil {
			return err
		}
		if sub.kind != fileNode || sub.size != int64(top.n.sizes[i]) {
			return fault.New(fault.Invalid, "file node %s: %s below it does not hold %d bytes of a file", top.n.c, sub.c, top.n.sizes[i])
		}
		next := enter(sub, top.ends[i]-sub.size)
		if len(sub.links) == 0 {
			f.leaf = next
			return nil
		}
		f.path = append(f.path, next)
	}
}

func enter(n *node, start int64) span {
	s := span{n: n, start: start, ends: make([]int64, len(n.sizes))}
	at := start + int64(len(n.data))
	for i, size := range n.sizes {
		at += int64(size)
		s.ends[i] = at
	}
	return s
}
