package piece

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// margin is the memory before a window for the section that began in the last
// one: the largest block, its CID and its length.
const margin = dag.MaxBlockSize + 512

// Buffers is the memory that scans share: so many windows of a CAR, of whole
// slots each. A scan needs one to go on and holds more to hash side by side.
type Buffers struct {
	slots int
	made  chan struct{}
	free  chan []byte
}

// NewBuffers returns n buffers of so many slots and 2 MiB each, made when they
// are first needed.
func NewBuffers(n, slots int) *Buffers {
	return &Buffers{slots: slots, made: make(chan struct{}, n), free: make(chan []byte, n)}
}

func (b *Buffers) window() int { return b.slots * commp.SlotRaw }

func (b *Buffers) take(ctx context.Context) ([]byte, error) {
	select {
	case buf := <-b.free:
		return buf, nil
	default:
	}
	select {
	case buf := <-b.free:
		return buf, nil
	case b.made <- struct{}{}:
		return make([]byte, margin+b.window()), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *Buffers) give(buf []byte) { b.free <- buf }

// scanning is what a scan is told.
type scanning struct {
	buffers  *Buffers
	want     cid.Cid          // root that is wanted; undefined is any
	limit    int64            // bytes of a CAR
	hint     int64            // bytes of the stream; -1 is unknown
	padding  bool             // a whole piece is taken, with the zeros behind its CAR
	copy     io.Writer        // takes the CAR, if it is not nil
	progress func(done int64) // of the CAR, if it is not nil

	keep  func(context.Context, *stretch) error // takes the parts, if it is not nil
	every pace
	clock func() time.Time // for parts
}

// scanned is a CAR that was read once: all that its index is made of. Close it.
type scanned struct {
	header []byte
	root   cid.Cid
	at     int64  // where the CAR begins in the stream: behind the head of a CARv2
	size   int64  // bytes of the CAR
	padded uint64 // size of the piece that the stream is, zeros and all; else 0
	tree   *commp.Tree
	spool  *pack.Spool
}

func (s *scanned) Close() error { return s.spool.Close() }

// scan is one pass over a CAR, or the rest of one: the stream is read and cut into sections by one
// goroutine, the digests and the commitment are computed by as many as there are
// buffers. Memory is the buffers, one block, and 32 bytes for each 127 KiB;
// records are spooled to a file without a name.
type scan struct {
	scanning
	scanned
	in    *bufio.Reader
	begun bool  // the header is read
	inner int64 // bytes of the CAR where it is the data of a CARv2, else 0
	roots []cid.Cid
	found bool // the wanted root
	skip  int  // bytes read that are cut already, or the header
	from  uint32
	next  int64 // where the next section begins in the CAR
	count int   // of sections
	carry []byte
	links *links // if the root has to be found

	keptTo, keptRecords int64 // what the parts have
	keptAt, notBefore   time.Time

	working sync.WaitGroup
	mu      sync.Mutex
	failed  *dag.CARError // the first in the CAR
	wrong   error
}

// run reads a CAR, version 1 or 2, to its end; r begins at the scan's offset. The
// error is fault.Invalid for what is no CAR or none that an index can describe;
// errors of r keep their kind.
func (s *scan) run(ctx context.Context, r io.Reader) error {
	s.in = bufio.NewReaderSize(r, 64<<10)
	if s.keep != nil {
		s.keptAt = s.clock()
	}
	if s.begun {
		s.bound()
	} else if err := s.begin(); err != nil {
		return err
	}
	err := s.windows(ctx)
	s.working.Wait()
	if s.failed != nil { // it comes before what ended the reading
		return fault.Mark(fault.Invalid, s.failed)
	}
	if err = errors.Join(err, s.wrong); err != nil {
		return err
	}
	s.root, err = s.chooseRoot()
	return err
}

// unnamedSpool returns a spool whose files go with their descriptors.
func unnamedSpool() (*pack.Spool, error) {
	dir, err := os.MkdirTemp("", "firth-scan-*")
	if err != nil {
		return nil, err
	}
	s, err := pack.OpenSpool(dir, pack.Mark{})
	if removed := os.RemoveAll(dir); err == nil && removed != nil {
		_ = s.Close()
		err = removed
	}
	return s, err
}

// windows reads the CAR to its end.
func (s *scan) windows(ctx context.Context) error {
	if s.tree == nil {
		s.tree = commp.NewTree(0)
	}
	for {
		buf, err := s.buffers.take(ctx)
		if err != nil {
			return err
		}
		last, err := s.window(ctx, buf)
		if err != nil || last {
			return err
		}
		if s.keep != nil && s.due() {
			if err := s.keepUp(ctx); err != nil {
				return err
			}
		}
	}
}

// window reads and hashes one window. The buffer is given back whatever comes.
func (s *scan) window(ctx context.Context, buf []byte) (last bool, err error) {
	handed := false
	defer func() {
		if !handed {
			s.buffers.give(buf)
		}
	}()
	n, err := io.ReadFull(s.in, buf[margin:])
	last = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !last {
		return false, fault.Wrap(err, "read CAR at byte %d", s.size)
	}
	off, raw := s.size, buf[margin:margin+n]
	if s.size += int64(n); s.size > s.limit {
		return false, tooLarge(s.size, s.limit)
	}
	begin := margin - copy(buf[margin-len(s.carry):], s.carry)
	sections, rest, err := s.cut(buf[begin:margin+n], last)
	if err != nil {
		return false, err
	}
	if len(rest) > 0 && rest[0] == 0 {
		if err := s.pad(ctx, rest); err != nil {
			return false, err
		}
		raw, rest, last = raw[:s.size-off], nil, true
	}
	if err := s.room(last); err != nil {
		return false, err
	}
	s.carry = append(s.carry[:0], rest...)
	if s.copy != nil {
		if _, err := s.copy.Write(raw); err != nil {
			return false, err
		}
	}
	handed = true
	s.working.Go(func() {
		defer s.buffers.give(buf)
		s.hash(off, raw, sections)
	})
	if s.progress != nil {
		s.progress(s.size)
	}
	return last, errors.Join(ctx.Err(), s.broke())
}

func tooLarge(size, limit int64) error {
	return fault.New(fault.Invalid, "CAR of %d bytes or more does not fit into a piece, limit %d; raise piece.max_size", size, limit)
}

// room makes the tree large enough for what was read: at once where the size
// is known, else by doubling; nobody may hash into it meanwhile.
func (s *scan) room(last bool) error {
	want, has := s.size, s.tree.RawSize()
	switch {
	case last && want != has:
	case last || want <= has:
		return nil
	default:
		want = max(want, 2*has, (s.hint+commp.SlotRaw-1)/commp.SlotRaw*commp.SlotRaw)
		want -= want % commp.SlotRaw
		want = min(want, commp.MaxTreeRaw)
	}
	s.working.Wait()
	return fault.Mark(fault.Internal, s.tree.Resize(want))
}

// broke tells the reader that going on is of no use.
func (s *scan) broke() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	return s.wrong
}
