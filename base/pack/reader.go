package pack

import (
	"context"
	"io"
	"io/fs"
	"sync"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
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

// Reader reads a CAR that need not exist, at any offset. What it reads from a
// source is hashed before it is handed out: bytes that are not those that were
// packed are an error that names the file, never wrong bytes.
//
// It holds 4 MiB at most while it jumps, and reads no more than the slots or the
// blocks that are asked for; reading on, it takes up to 16 MiB at a time, hashed
// side by side. Its methods may be called from any number of goroutines and wait
// for each other.
type Reader struct {
	ctx     context.Context
	index   *Index
	bytes   Bytes
	windows *Windows
	close   func() error
	spoiled func(r Record, err error) // if it is set, see Verify

	mu      sync.Mutex
	pos     int64
	held    window
	reach   int       // bytes the next window may have, if it is where the last one ends
	filled  time.Time // when held was made
	slow    bool      // whoever takes the bytes
	closed  bool
	files   openFiles
	filling filling
	block   []byte // memory of a window of 4 MiB at most
	wide    []byte // memory of a larger one, from windows
}

// window is a stretch of the CAR in memory: whole sections, or the header, or
// slots of the commitment, wherever they cut sections.
type window struct {
	offset int64
	bytes  []byte
	next   int64 // number of the record behind it
	cut    bool  // slots: there is no record right behind it
}

func (w window) end() int64 { return w.offset + int64(len(w.bytes)) }

// NewReader returns a reader of the CAR that x describes. It ends with ctx;
// Close calls closeIndex, which may be nil. Without windows there is no bound on
// how many readers take 16 MiB.
func NewReader(ctx context.Context, x *Index, b Bytes, windows *Windows, closeIndex func() error) *Reader {
	return &Reader{ctx: ctx, index: x, bytes: b, windows: windows, close: closeIndex}
}

// Size is the length of the CAR in bytes.
func (r *Reader) Size() int64 { return r.index.carSize }

// Index is what the reader reads by.
func (r *Reader) Index() *Index { return r.index }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pace()
	n, err := r.readAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt. It leaves the place of Read and Seek alone.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "read at %d: before the beginning", off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readAt(p, off)
}

func (r *Reader) readAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		if off >= r.index.carSize {
			return n, io.EOF
		}
		if err := r.hold(off, int64(len(p)-n)); err != nil {
			return n, err
		}
		copied := copy(p[n:], r.held.bytes[off-r.held.offset:])
		n += copied
		off += int64(copied)
	}
	return n, nil
}

// WriteTo streams the rest of the CAR without a copy; io.Copy finds it.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.copyTo(w, r.index.carSize-r.pos)
}

// CopyN streams the next n bytes, or those up to the end, without a copy, and
// reads none behind them but of the same block.
func (r *Reader) CopyN(w io.Writer, n int64) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.copyTo(w, min(n, r.index.carSize-r.pos))
}

// writeSize is how much is written at once, so that whoever times writes can
// tell slow from standing.
const writeSize = 256 << 10

func (r *Reader) copyTo(w io.Writer, left int64) (total int64, err error) {
	for left > 0 {
		if err := r.hold(r.pos, left); err != nil {
			return total, err
		}
		b := r.held.bytes[r.pos-r.held.offset:]
		n, err := w.Write(b[:min(int64(len(b)), left, writeSize)])
		total, left = total+int64(n), left-int64(n)
		r.pos += int64(n)
		if err != nil {
			return total, err
		}
		r.pace()
	}
	return total, nil
}

// keepWindow is how long a window of 16 MiB is kept.
const keepWindow = time.Second

// pace looks at how fast the bytes are taken. Below 16 MiB a second a reader has
// no use for a window: it gives its place to one that has, and what is left in
// the window is read once more.
func (r *Reader) pace() {
	if len(r.held.bytes) == 0 {
		return
	}
	taken, took := r.pos-r.held.offset, time.Since(r.filled)
	r.slow = took > keepWindow/16 && took.Seconds()*windowSize > keepWindow.Seconds()*float64(taken)
	if took > keepWindow {
		r.narrow()
	}
}

// narrow gives a window of 16 MiB back, if there is one.
func (r *Reader) narrow() {
	if r.wide != nil {
		r.windows.give(r.wide)
		r.wide, r.held = nil, window{}
	}
}

// Seek implements io.Seeker.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.index.carSize
	}
	if offset < 0 {
		return 0, fault.New(fault.Invalid, "seek to %d: before the beginning", offset)
	}
	r.pos = offset
	return offset, nil
}

// Close gives everything back. Whoever still reads gets fs.ErrClosed.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files.close()
	if r.closed {
		return fs.ErrClosed
	}
	r.closed = true
	r.narrow()
	r.held, r.block = window{}, nil
	if r.close == nil {
		return nil
	}
	return r.close()
}
