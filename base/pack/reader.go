package pack

import (
	"context"
	"io"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
)

// File is an open file that blocks are read from. ReadAt may be called from
// several goroutines.
type File interface {
	io.ReaderAt
	// Check returns an error unless the file is still the version that was
	// opened.
	Check() error
	Close() error
}

// Bytes is where the bytes of a CAR are that are not in its index.
type Bytes interface {
	// Block returns a block from the block store, its digest verified.
	Block(ctx context.Context, c cid.Cid) (blocks.Block, error)
	// Open opens a source if it is still the version that Source.ID names; if it
	// is not, the error is fault.Conflict, if it is gone fault.NotFound.
	Open(ctx context.Context, s Source) (File, error)
}
