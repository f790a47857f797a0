package piece

import (
	"container/list"
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/firth-project/firth/base/blob"
)

// The copies that are kept while nobody reads them: of so many bytes together,
// which is an index of eight million blocks and some of ordinary ones, and so
// many files.
const (
	idleIndexBytes = 1 << 30
	idleIndexes    = 256
)

// indexes are copies of the indexes that stand in a blob store of another
// machine. Each is fetched once however many read it at once, and those that
// were read last are kept, so that a provider who takes a piece in a hundred
// ranges does not have its index fetched a hundred times. The files have no
// names: they go with the process. Each use asks the store whether the copy is
// still what stands there.
type indexes struct {
	blobs blob.Store
	most  int64 // bytes of idle ones

	mu   sync.Mutex
	held map[string]*indexCopy
	idle list.List // of *indexCopy, the one read last in front
	size int64     // bytes of the idle ones
}

// indexCopy is one of them. All but what ready guards is indexes.mu's.
type indexCopy struct {
	of      blob.Info
	readers int
	place   *list.Element // among the idle
	gone    bool          // from held: whoever reads it last closes it

	ready chan struct{} // closed when the rest is set
	file  *os.File
	size  int64
	err   error
}

func newIndexes(blobs blob.Store) *indexes {
	return &indexes{blobs: blobs, most: idleIndexBytes, held: map[string]*indexCopy{}}
}

// open returns the copy of an index. It is given back with release, once.
func (x *indexes) open(ctx context.Context, key string) (f *os.File, size int64, release func() error, err error) {
	info, err := x.blobs.Stat(ctx, key)
	if err != nil {
		return nil, 0, nil, err
	}
	for {
		c, mine := x.take(info)
		if mine {
			c.file, c.size, c.err = x.fetch(ctx, key)
			close(c.ready)
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			x.give(c)
			return nil, 0, nil, ctx.Err()
		}
		if c.err == nil {
			return c.file, c.size, func() error { x.give(c); return nil }, nil
		}
		x.drop(c)
		x.give(c)
		if mine || !errors.Is(c.err, context.Canceled) && !errors.Is(c.err, context.DeadlineExceeded) {
			return nil, 0, nil, c.err
		}
		// Whoever fetched it went away.
	}
}

// take joins those who read an index; mine says that the caller has to fetch it.
func (x *indexes) take(info blob.Info) (c *indexCopy, mine bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c = x.held[info.Key]
	if c != nil && (c.of.Size != info.Size || !c.of.ModTime.Equal(info.ModTime)) {
		x.remove(c)
		c = nil
	}
	if mine = c == nil; mine {
		c = &indexCopy{of: info, ready: make(chan struct{})}
		x.held[info.Key] = c
	}
	c.readers++
	if c.place != nil {
		x.idle.Remove(c.place)
		c.place, x.size = nil, x.size-c.size
	}
	return c, mine
}

// give leaves an index; those that nobody reads make room for it.
func (x *indexes) give(c *indexCopy) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.readers--; c.readers > 0 {
		return
	}
	if c.gone {
		c.close()
		return
	}
	c.place, x.size = x.idle.PushFront(c), x.size+c.size
	for x.size > x.most || x.idle.Len() > idleIndexes {
		x.remove(x.idle.Back().Value.(*indexCopy))
	}
}

// drop has an index fetched again by whoever comes next.
func (x *indexes) drop(c *indexCopy) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(c)
}

func (x *indexes) remove(c *indexCopy) {
	if c.gone {
		return
	}
	delete(x.held, c.of.Key)
	c.gone = true
	if c.place != nil {
		x.idle.Remove(c.place)
		c.place, x.size = nil, x.size-c.size
	}
	if c.readers == 0 {
		c.close()
	}
}

func (c *indexCopy) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
}

// fetch copies a blob into a file without a name.
func (x *indexes) fetch(ctx context.Context, key string) (f *os.File, size int64, err error) {
	in, err := x.blobs.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	if f, err = unnamed(); err != nil {
		return nil, 0, err
	}
	if size, err = io.Copy(f, in); err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// unnamed makes a file that goes with its descriptor.
func unnamed() (*os.File, error) {
	f, err := os.CreateTemp("", "firth-index-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
