package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// file is an entry on its way through the pipeline.
type file struct {
	entry  Entry
	number int64
	chunk  int64 // bytes of a leaf
	// The entry's leaves, as numbers in the whole file, and the sections of the
	// nodes that follow them, as sizes in the CAR.
	from, to int64
	sections []int
	reason   string   // why it is not even opened
	before   cursor   // the place before the entry
	after    *planner // the planner when it had taken the entry; of files that several batches have a part in
	long     bool     // its leaves are in several batches

	abandoned atomic.Bool // nobody needs the rest of it
	stream    *stream     // of an entry whose length is not known

	once   sync.Once
	opened File
	failed error // to open it

	placing
}

// placing is what turns know of a file; only they touch it.
type placing struct {
	dropped   bool // it has its outcome, and nothing of it stays
	begun     bool // leaves of it are in the CAR
	start     point
	startEdge []byte // bytes of the slot in which start is
	source    uint32 // Record.From
	builder   *dag.FileBuilder
	digests   [][32]byte     // of the leaves so far, if there are several
	nodes     []blocks.Block // to follow the leaves
	tops      []dag.Top
	first     int64 // CAR offset of what was laid down for the file; 0 for nothing
	last      int64 // and where it ends
	scattered bool
	elsewhere Record // the last block that was in the CAR already
}

// plan works out what a regular file or a part of one becomes.
func (f *file) plan(prof dag.Profile) (err error) {
	e := &f.entry
	f.chunk = int64(prof.ChunkSize)
	if e.stream() {
		return f.planStream(prof)
	}
	f.from = e.Offset / f.chunk
	f.to = max(f.from+1, (e.Offset+e.Length+f.chunk-1)/f.chunk)
	if f.to-f.from > 1 {
		f.sections, err = f.nodeSections(prof)
	}
	return err
}

// nodeSections works out how long the sections of a file's nodes will be: they
// depend on the sizes of its leaves alone.
func (f *file) nodeSections(prof dag.Profile) ([]int, error) {
	b, err := dag.NewFileBuilder(prof, f.entry.Size, f.from, f.to)
	if err != nil {
		return nil, err
	}
	var sections []int
	emit := func(b blocks.Block) error {
		r := Record{Form: DagPB, Size: len(b.RawData())}
		sections = append(sections, int(r.Section()))
		return nil
	}
	any := leafCid([32]byte{})
	for leaf := f.from; leaf < f.to; leaf++ {
		n := f.leafSize(leaf)
		if err := b.Leaf(dag.Link{Cid: any, Size: n, TreeSize: uint64(n)}, emit); err != nil {
			return nil, err
		}
	}
	return sections, nil
}

// leafSize is the number of bytes in a leaf.
func (f *file) leafSize(leaf int64) int64 { return min(f.chunk, f.entry.Size-leaf*f.chunk) }

func leafCid(digest [32]byte) cid.Cid {
	hash := append([]byte{mh.SHA2_256, 32}, digest[:]...)
	return cid.NewCidV1(cid.Raw, hash)
}

// open opens the file once, for whichever worker comes first.
func (f *file) open(ctx context.Context, o Opener) (File, error) {
	f.once.Do(func() { f.opened, f.failed = o.Open(ctx, f.entry.source()) })
	return f.opened, f.failed
}

// close lets go of the file. Nobody reads it any more.
func (f *file) close() {
	if f.opened != nil {
		_ = f.opened.Close() // it was read only
		f.opened = nil
	}
}

// readLeaf fills b with a leaf.
func (f *file) readLeaf(in File, leaf int64, b []byte) error {
	n, err := in.ReadAt(b, leaf*f.chunk)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("changed while it was read: ends at byte %d of %d", leaf*f.chunk+int64(n), f.entry.Size)
	}
	return err
}

// fatal returns what to end the run with when a source gave an error; nil where
// the file is to be skipped for it.
func (f *file) fatal(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fault.Is(err, fault.Unavailable):
		return fault.Wrap(err, "read %q", f.entry.Path)
	}
	return nil
}

// maxReason bounds the text of an outcome, in bytes.
const maxReason = 4 << 10

// reasonOf makes an error the reason of an outcome.
func reasonOf(err error) string {
	text := err.Error()
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
