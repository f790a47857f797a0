package block

import (
	"context"
	"errors"
	"iter"
	"syscall"

	"github.com/ipfs/go-cid"
)

// Scrub reads and verifies every block, also those that were verified before,
// and yields the bad ones after quarantining them. An error ends it: the index
// or the shared store cannot be read, or ctx has ended.
func (s *Store) Scrub(ctx context.Context) iter.Seq2[Bad, error] {
	return func(yield func(Bad, error) bool) {
		var buf []byte
		for f, err := range s.home.entries(ctx) {
			if err != nil {
				yield(Bad{}, err)
				return
			}
			if int(f.size) > cap(buf) {
				buf = make([]byte, f.size)
			}
			bad, err := s.check(ctx, f.entry, f.cid, buf)
			if (bad != nil || err != nil) && !yield(value(bad), err) || err != nil {
				return
			}
		}
	}
}

func value(b *Bad) Bad {
	if b == nil {
		return Bad{}
	}
	return *b
}

// check verifies one block wherever it has moved to; nil when it is good or
// gone.
func (s *Store) check(ctx context.Context, e entry, c cid.Cid, buf []byte) (*Bad, error) {
	for range attempts {
		e.flag &^= verified
		err := s.home.read(ctx, e, c, buf[:e.size])
		var bad *badBlock
		switch {
		case err == nil:
			return nil, nil
		case errors.As(err, &bad):
			return &bad.Bad, nil
		case errors.Is(err, syscall.EIO):
			b := s.home.quarantine(ctx, e, c, err)
			return &b, nil
		case !errors.Is(err, errMoved):
			return nil, err
		}
		var ok bool
		if e, ok, err = s.home.find(ctx, e.key); err != nil || !ok {
			return nil, err
		}
	}
	return nil, nil
}
