package pack

import (
	"sync"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

// slots computes a piece's commitment from bytes that come in order but are
// hashed in any: whole slots from where they stand, slots that a batch border
// cuts from a copy. lay is for one goroutine at a time, hash for all.
type slots struct {
	tree  *commp.Tree
	first []byte // slot 0 once it is whole: the header is not known before the end
	edge  []byte // of the slot at hand what was laid down

	mu   sync.Mutex
	free [][]byte
}

// laid is what is to be hashed of the bytes of one lay.
type laid struct {
	content []byte
	off     int64
	whole   []byte // slots in content
	wholeAt int64
	full    []byte // the slot that content completed; nil for none
	fullAt  int64
}

func (s *slots) buffer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b[:0]
	}
	return make([]byte, 0, commp.SlotRaw)
}

// edgeAt copies the bytes of the slot that byte at of the CAR is in, up to
// there; content is about to be laid down at off and holds that byte or ends
// before it.
func (s *slots) edgeAt(at int64, content []byte, off int64) []byte {
	from := at - at%commp.SlotRaw
	if from >= off {
		return append([]byte(nil), content[from-off:at-off]...)
	}
	return append(append([]byte(nil), s.edge...), content[:at-off]...)
}

// lay takes the bytes that come next in the CAR, at off.
func (s *slots) lay(content []byte, off int64) laid {
	l := laid{content: content, off: off}
	if at := off % commp.SlotRaw; at != 0 {
		k := min(commp.SlotRaw-int(at), len(content))
		s.edge = append(s.edge, content[:k]...)
		content, off = content[k:], off+int64(k)
		if len(s.edge) == commp.SlotRaw {
			l.full, l.fullAt = s.edge, off-commp.SlotRaw
			s.edge = s.buffer()
		}
	}
	if l.full != nil && l.fullAt == 0 {
		s.first, l.full = l.full, nil
	}
	whole := len(content) / commp.SlotRaw * commp.SlotRaw
	l.whole, l.wholeAt = content[:whole], off
	s.edge = append(s.edge, content[whole:]...)
	return l
}

// hash hashes the slots of a lay.
func (s *slots) hash(l laid) error {
	if len(l.whole) > 0 {
		if err := s.tree.SetAt(l.wholeAt, l.whole); err != nil {
			return fault.Mark(fault.Internal, err)
		}
	}
	if l.full == nil {
		return nil
	}
	err := s.tree.SetAt(l.fullAt, l.full)
	s.mu.Lock()
	s.free = append(s.free, l.full)
	s.mu.Unlock()
	return fault.Mark(fault.Internal, err)
}

// restore goes back to where size bytes were laid down.
func (s *slots) restore(size int64, edge, first []byte) {
	s.edge = append(s.buffer(), edge...)
	if size < commp.SlotRaw {
		s.first = nil
	} else if first != nil {
		s.first = append(s.buffer(), first...)
	}
}

// finish sets the first and the last slot of a CAR of size bytes that begins
// with header, and returns the tree.
func (s *slots) finish(size int64, header []byte) (*commp.Tree, error) {
	if err := s.tree.Resize(size); err != nil {
		return nil, fault.Mark(fault.Internal, err)
	}
	first := s.first
	if first == nil {
		first = s.edge
	}
	copy(first, header)
	if err := s.tree.SetAt(0, first); err != nil {
		return nil, fault.Mark(fault.Internal, err)
	}
	if s.first != nil && len(s.edge) > 0 {
		if err := s.tree.SetAt(size-int64(len(s.edge)), s.edge); err != nil {
			return nil, fault.Mark(fault.Internal, err)
		}
	}
	return s.tree, nil
}
