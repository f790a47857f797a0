package indexdag

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

const (
	// streams is how many files or groups of small files are got at once, and
	// how many windows of a large one.
	streams = 4
	// windowBytes is how much of a large file is asked for at a time; it holds
	// any section.
	windowBytes = maxSection + maxHead
	// maxStrikes is how often a place may give nothing, one time after another,
	// before it is left alone for good. It rests in between, from firstRest on
	// twice as long each time: some 13 seconds in all.
	maxStrikes = 8
	firstRest  = 100 * time.Millisecond
	// maxCuts is how often a window is gone on with after its connection was
	// cut, and how often all places are tried for one thing.
	maxCuts   = 64
	tailBytes = 8 << 20
)

// FetchOptions choose how files are got.
type FetchOptions struct {
	// Overwrite replaces what is in the way and is not the file of the index.
	// Directories are never replaced.
	Overwrite bool
	// Identities open what was encrypted.
	Identities []age.Identity
	// Progress, which may be nil, is told of bytes of files as they are got. It
	// is called from several goroutines.
	Progress func(bytes int64)
}

// Fetcher gets blocks and files from places, in the order they are given,
// which it trusts in nothing: a place that gave wrong bytes of a piece is not
// asked for that piece again, one that is gone not at all. It is also the
// Getter to open an index with. Methods may be called from several goroutines.
// Memory is at most 100 MiB beside what looking for scattered blocks takes (24
// bytes a block of the piece).
type Fetcher struct {
	places []Place
	o      FetchOptions

	mu      sync.Mutex
	strikes []int               // a place
	rests   []time.Time         // until when it is not asked, a place
	shunned map[cid.Cid][]error // why places are not asked for a piece, by place
	tables  map[tableKey]*sections
	looking sync.Mutex    // one piece at a time is looked through
	heavy   chan struct{} // large parts that are being got
}

type tableKey struct {
	place int
	piece cid.Cid
}

// NewFetcher returns a Fetcher over at least one place.
func NewFetcher(places []Place, o FetchOptions) (*Fetcher, error) {
	if len(places) == 0 {
		return nil, fault.New(fault.Invalid, "no place to get anything from; name a URL or a directory of CARs")
	}
	return &Fetcher{
		places: places, o: o, strikes: make([]int, len(places)), rests: make([]time.Time, len(places)),
		shunned: map[cid.Cid][]error{}, tables: map[tableKey]*sections{}, heavy: make(chan struct{}, 2),
	}, nil
}

// usable returns the places that may be asked for a piece, or, for cid.Undef,
// for a block; those that rest are among them.
func (f *Fetcher) usable(piece cid.Cid) (out []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.places {
		why := f.shunned[piece]
		if f.strikes[i] < maxStrikes && (why == nil || why[i] == nil) {
			out = append(out, i)
		}
	}
	return out
}

// anywhere tries the places that may be asked for a piece, or for a block, until
// one has it. Those that are Unavailable are tried again when they have rested.
func (f *Fetcher) anywhere(ctx context.Context, piece cid.Cid, try func(place int) error) error {
	errs := make([]error, len(f.places))
	for round := 0; ; round++ {
		left := slices.DeleteFunc(f.usable(piece), func(i int) bool { return errs[i] != nil && !fault.Is(errs[i], fault.Unavailable) })
		if len(left) == 0 || round == maxCuts {
			return f.nowhere(piece, errs)
		}
		var first time.Time
		for _, i := range left {
			if rest := f.resting(i); time.Now().Before(rest) {
				if first.IsZero() || rest.Before(first) {
					first = rest
				}
				continue
			}
			err := try(i)
			if err == nil || ctx.Err() != nil {
				return cmp.Or(err, ctx.Err())
			}
			errs[i], first = err, time.Now()
		}
		if err := until(ctx, first); err != nil {
			return err
		}
	}
}

func (f *Fetcher) resting(place int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rests[place]
}

func until(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// judge remembers how a place did. What it has not, or gave wrong, it is not
// asked for again.
func (f *Fetcher) judge(place int, piece cid.Cid, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.strikes[place], f.rests[place] = 0, time.Time{}
	case fault.Is(err, fault.Unavailable):
		if now := time.Now(); now.After(f.rests[place]) { // what fails side by side is one strike
			f.rests[place] = now.Add(firstRest << f.strikes[place])
			f.strikes[place]++
		}
	case piece.Defined():
		f.shun(place, piece, err)
	}
}

// shun is called with mu held.
func (f *Fetcher) shun(place int, piece cid.Cid, err error) {
	if f.shunned[piece] == nil {
		f.shunned[piece] = make([]error, len(f.places))
	}
	f.shunned[piece][place] = err
}

// wrong remembers that a place gave wrong bytes of a piece.
func (f *Fetcher) wrong(place int, piece cid.Cid, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shun(place, piece, err)
}

// nowhere is the error when no place is left for a piece or block.
func (f *Fetcher) nowhere(piece cid.Cid, errs []error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind, texts := fault.NotFound, []string{}
	for i, p := range f.places {
		var err error
		if why := f.shunned[piece]; why != nil {
			err = why[i]
		}
		if err == nil && i < len(errs) {
			err = errs[i]
		}
		if err == nil && f.strikes[i] >= maxStrikes {
			err = fault.New(fault.Unavailable, "gave nothing %d times", maxStrikes)
		}
		if err == nil {
			continue
		}
		if !fault.Is(err, fault.NotFound) {
			kind = fault.Unavailable
		}
		texts = append(texts, fmt.Sprintf("%s: %v", p, err))
	}
	if !piece.Defined() {
		return fault.New(kind, "%s", strings.Join(texts, "; "))
	}
	return fault.New(kind, "piece %s: %s", piece, strings.Join(texts, "; "))
}

// window reads length bytes of a piece from one place, the first of those that
// has all of them. It returns which.
func (f *Fetcher) window(ctx context.Context, piece cid.Cid, offset, length int64) (data []byte, place int, err error) {
	data = make([]byte, length)
	err = f.anywhere(ctx, piece, func(i int) error {
		place = i
		return f.windowFrom(ctx, i, piece, offset, data)
	})
	return data, place, err
}

// windowFrom fills data from one place. Where a connection is cut it goes on
// from there, as long as bytes come.
func (f *Fetcher) windowFrom(ctx context.Context, place int, piece cid.Cid, offset int64, data []byte) error {
	for at, cuts := 0, 0; ; cuts++ {
		n, err := readRange(ctx, f.places[place], piece, offset+int64(at), data[at:])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		at += n
		if at == len(data) {
			f.judge(place, piece, nil)
			return nil
		}
		if n > 0 && cuts < maxCuts && fault.Is(err, fault.Unavailable) {
			continue
		}
		f.judge(place, piece, err)
		return err
	}
}

// readRange reads until p is full. An end before that is NotFound: the bytes
// are not there.
func readRange(ctx context.Context, place Place, piece cid.Cid, offset int64, p []byte) (int, error) {
	body, err := place.Range(ctx, piece, offset, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		return n, fault.New(fault.NotFound, "ends at byte %d, where %d more should be", offset, len(p))
	case errors.Is(err, io.ErrUnexpectedEOF) && n > 0:
		return n, fault.New(fault.Unavailable, "broke off at byte %d", offset+int64(n))
	}
	return n, fault.New(fault.Unavailable, "broke off at byte %d: %w", offset+int64(n), err)
}

// Get returns a block whose bytes are those of its CID. It is NotFound when no
// place has it and Unavailable when one may have it another time.
func (f *Fetcher) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	return f.find(ctx, c, cid.Undef)
}

// find looks for a block at every place, in a piece as well when that is
// defined.
func (f *Fetcher) find(ctx context.Context, c, piece cid.Cid) (blocks.Block, error) {
	if data, ok := inline(c); ok {
		return blocks.NewBlockWithCid(data, c)
	}
	var data []byte
	err := f.anywhere(ctx, cid.Undef, func(i int) (err error) {
		data, err = f.findAt(ctx, i, c, piece)
		return err
	})
	if err != nil {
		return nil, err
	}
	return blocks.NewBlockWithCid(data, c)
}

// findAt looks for a block at one place. On a disk its piece is looked through
// first, over the network last.
func (f *Fetcher) findAt(ctx context.Context, place int, c, piece cid.Cid) ([]byte, error) {
	single := func() ([]byte, error) {
		data, err := f.places[place].Block(ctx, c)
		if err == nil {
			err = verify(c, data)
		}
		if ctx.Err() == nil {
			f.judge(place, cid.Undef, err)
		}
		return data, err
	}
	if !piece.Defined() {
		return single()
	}
	ways := []func() ([]byte, error){single, func() ([]byte, error) { return f.inPiece(ctx, place, c, piece) }}
	if _, local := f.places[place].(*carDirectory); local {
		slices.Reverse(ways)
	}
	data, err := ways[0]()
	if err != nil && ctx.Err() == nil {
		var other error
		if data, other = ways[1](); other == nil {
			return data, nil
		}
		if fault.Is(err, fault.NotFound) || fault.Is(other, fault.Unavailable) {
			err = other
		}
	}
	return data, err
}

// inPiece looks for a block in a piece: among its last bytes, then everywhere.
func (f *Fetcher) inPiece(ctx context.Context, place int, c, piece cid.Cid) ([]byte, error) {
	known, err := commp.FromCIDv2(piece)
	if err != nil {
		return nil, fault.New(fault.NotFound, "%w", err) // v1 does not tell how long it is
	}
	f.looking.Lock()
	defer f.looking.Unlock()
	key := tableKey{place, piece}
	f.mu.Lock()
	table, done := f.tables[key]
	f.mu.Unlock()
	size := int64(known.RawSize)
	if !done {
		tail := make([]byte, min(size, tailBytes))
		if err := f.windowFrom(ctx, place, piece, size-int64(len(tail)), tail); err != nil {
			return nil, err
		}
		if data, ok := inTail(tail, c); ok {
			return data, nil
		}
		if table, err = f.lookThrough(ctx, place, piece, size); err != nil {
			return nil, err
		}
		f.mu.Lock()
		f.tables[key] = table
		f.mu.Unlock()
	}
	for _, at := range table.of(c) {
		data := make([]byte, at.size)
		if err := f.windowFrom(ctx, place, piece, at.offset, data); err != nil {
			return nil, err
		}
		if err = verify(c, data); err == nil {
			return data, nil
		}
	}
	if err == nil {
		err = table.broken
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "piece %s has wrong bytes: %w", piece, err)
	}
	return nil, fault.New(fault.NotFound, "not in piece %s", piece)
}

// lookThrough lists the sections of a piece.
func (f *Fetcher) lookThrough(ctx context.Context, place int, piece cid.Cid, size int64) (*sections, error) {
	return scanSections(ctx, size, func(p []byte, at int64) (int, error) {
		if err := f.windowFrom(ctx, place, piece, at, p); err != nil {
			return 0, err
		}
		return len(p), nil
	})
}

var _ dag.Getter = (*Fetcher)(nil)
