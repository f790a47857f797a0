package indexdag

import (
	"iter"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
)

// WriterOptions choose what a Writer does besides.
type WriterOptions struct {
	// Directory tells the canonical CID of a directory when all that is in it
	// was added; undefined leaves it out. May be nil.
	Directory func(path string) cid.Cid
}

// Writer makes an index DAG of entries that come in byte order of their whole
// paths, a directory's being "name/".
type Writer struct {
	emit func(blocks.Block) error
	o    WriterOptions
}

// NewWriter begins an empty index and calls emit with every node, children
// before parents.
func NewWriter(emit func(blocks.Block) error, o WriterOptions) *Writer {
	return &Writer{emit: emit, o: o}
}

// Add takes the next entry. Parents that were not added are made.
func (w *Writer) Add(e Entry) error { return e.check() }

// Finish takes the pieces of the dataset and returns the root of the index.
func (w *Writer) Finish(h Header, pieces iter.Seq2[Piece, error]) (cid.Cid, error) {
	return cid.Undef, nil
}
