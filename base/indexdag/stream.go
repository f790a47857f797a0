package indexdag

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// stream reads the sections of a run of a CAR in order, each checked against
// its own CID, while the windows ahead are got side by side.
type stream struct {
	f     *Fetcher
	ctx   context.Context
	piece cid.Cid
	end   int64 // of the run

	buf   []byte // what was got and not yet read
	at    int64  // offset of buf
	marks []mark // who gave it

	ahead  []*pending
	next   int64 // offset of the next window to ask for
	asking context.Context
	stop   context.CancelFunc
}

// mark says that the bytes up to an offset, and from that of the mark before,
// came from one place.
type mark struct {
	end   int64
	place int
}

// pending is a window that is being got.
type pending struct {
	done  chan struct{}
	off   int64
	data  []byte
	place int
	err   error
}

func (f *Fetcher) stream(ctx context.Context, piece cid.Cid, r Range) *stream {
	s := &stream{f: f, ctx: ctx, piece: piece, end: r.Offset + r.Length}
	s.restart(r.Offset)
	return s
}

// restart drops what was got and begins again at an offset.
func (s *stream) restart(at int64) {
	s.close()
	s.buf, s.at, s.next, s.marks, s.ahead = s.buf[:0], at, at, s.marks[:0], nil
}

// close ends the windows that are being got.
func (s *stream) close() {
	if s.stop != nil {
		s.stop()
		for _, p := range s.ahead {
			<-p.done
		}
	}
	s.stop = nil
}

// need makes buf hold n bytes, or all there are left of the run.
func (s *stream) need(n int) error {
	for len(s.buf) < n && s.at+int64(len(s.buf)) < s.end {
		s.ask()
		p := s.ahead[0]
		<-p.done
		if p.err != nil {
			return p.err
		}
		s.ahead = s.ahead[1:]
		s.buf = append(s.buf, p.data...)
		s.marks = append(s.marks, mark{p.off + int64(len(p.data)), p.place})
	}
	return nil
}

// ask keeps windows coming.
func (s *stream) ask() {
	if s.stop == nil {
		s.asking, s.stop = context.WithCancel(s.ctx)
	}
	ctx := s.asking
	for len(s.ahead) < streams && s.next < s.end {
		p := &pending{done: make(chan struct{}), off: s.next}
		length := min(windowBytes, s.end-s.next)
		go func() {
			defer close(p.done)
			p.data, p.place, p.err = s.f.window(ctx, s.piece, p.off, length)
		}()
		s.ahead, s.next = append(s.ahead, p), s.next+length
	}
}

// section returns the next section; the data are valid until the next call. At
// the end c is undefined. Wrong bytes are asked for elsewhere, without a word;
// an error says that no place is left.
func (s *stream) section() (c cid.Cid, data []byte, err error) {
	for {
		if err := s.need(maxHead); err != nil {
			return cid.Undef, nil, err
		}
		if len(s.buf) == 0 {
			return cid.Undef, nil, nil
		}
		c, head, size, _, err := parseSection(s.buf[:min(len(s.buf), maxHead)])
		whole := head + size
		if err == nil && s.at+int64(whole) > s.end {
			err = fault.New(fault.Invalid, "section of a CAR: ends behind the run it is in")
		}
		if err == nil {
			if err := s.need(whole); err != nil {
				return cid.Undef, nil, err
			}
			if err = verify(c, s.buf[head:whole]); err == nil {
				return c, s.advance(whole)[head:], nil
			}
			if s.alone() {
				s.advance(whole)
				continue
			}
		} else {
			whole = min(len(s.buf), maxHead)
		}
		s.blame(whole, err)
	}
}

// advance takes n bytes off the buffer.
func (s *stream) advance(n int) []byte {
	taken := s.buf[:n]
	s.buf, s.at = s.buf[n:], s.at+int64(n)
	for len(s.marks) > 0 && s.marks[0].end <= s.at {
		s.marks = s.marks[1:]
	}
	return taken
}

// alone reports whether there is one place left to ask: what it has wrong is
// passed over then, for the sake of the rest.
func (s *stream) alone() bool { return len(s.f.usable(s.piece)) == 1 }

// blame begins again where wrong bytes are. When they came from one window its
// place is not asked again; when from two, they will come from one now.
func (s *stream) blame(n int, err error) {
	if last := s.at + int64(n); len(s.marks) > 0 && s.marks[0].end >= last {
		s.f.wrong(s.marks[0].place, s.piece, fault.New(fault.Unavailable, "wrong bytes at %d: %w", s.at, err))
	}
	s.restart(s.at)
}
