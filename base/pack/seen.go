package pack

import (
	"math/bits"
	"unsafe"

	"github.com/firth-project/firth/base/fault"
)

// seen finds the record of a block that is in the CAR already. It remembers
// records by 32 bits of their digest and asks the spool for the rest, in two
// generations of at most seenLimit records: when the younger is full it becomes
// the older, and what was the older is forgotten. So memory is at most 32 MiB,
// 40 while a table grows, whatever the piece; the last 1.5 million blocks are
// always known; and what is known depends on the records alone.
type seen struct {
	spool      *Spool
	young, old table
	limit      int // of a generation
}

const seenLimit = 3 << 19 // three quarters of a table of 16 MiB

func newSeen(s *Spool) *seen { return &seen{spool: s, limit: seenLimit} }

// restore learns all records of the spool that pick wants, in order.
func (s *seen) restore(pick func(Record) bool) error {
	s.close()
	for i := range s.spool.Records() {
		r, err := s.spool.At(i)
		if err != nil {
			return err
		}
		if pick(r) {
			if err := s.add(r, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// close forgets everything.
func (s *seen) close() {
	s.young.close()
	s.old.close()
}

// add remembers record i.
func (s *seen) add(r Record, i int64) error {
	if s.young.used >= s.limit {
		s.old.close()
		s.old, s.young = s.young, table{}
	}
	return s.young.add(fingerprint(r.Form, &r.Digest), uint32(i))
}

// find returns the number and the record of a block.
func (s *seen) find(form Form, digest *[32]byte) (Record, bool, error) {
	fp := fingerprint(form, digest)
	for _, t := range []*table{&s.young, &s.old} {
		for at := t.first(fp); ; at++ {
			n, ok := t.next(&at, fp)
			if !ok {
				break
			}
			r, err := s.spool.At(int64(n))
			if err != nil {
				return Record{}, false, err
			}
			if r.Form == form && r.Digest == *digest {
				return r, true, nil
			}
		}
	}
	return Record{}, false, nil
}

func fingerprint(form Form, digest *[32]byte) uint32 {
	return (uint32(digest[0])<<24 | uint32(digest[1])<<16 | uint32(digest[2])<<8 | uint32(digest[3])) ^ uint32(form)<<16
}

// table is an open-addressing hash table of record numbers. A slot holds the
// fingerprint above and the number, plus one, below; its place follows from the
// fingerprint, so that growing needs nothing else.
type table struct {
	slots []uint64 // a power of two; they are mem
	mem   []byte
	shift int // 32 - log2(len(slots))
	used  int
}

func (t *table) add(fp, number uint32) error {
	if t.used*4 >= len(t.slots)*3 {
		if err := t.grow(); err != nil {
			return err
		}
	}
	t.put(uint64(fp)<<32 | uint64(number) + 1)
	t.used++
	return nil
}

func (t *table) put(slot uint64) {
	mask := len(t.slots) - 1
	at := int(uint32(slot>>32) >> t.shift)
	for t.slots[at&mask] != 0 {
		at++
	}
	t.slots[at&mask] = slot
}

// grow doubles the table: to a page at first.
func (t *table) grow() error {
	before := *t
	size := max(2*len(before.slots), pageBytes/8)
	mem, err := newMemory(size * 8)
	if err != nil {
		return fault.New(fault.Exhausted, "pack: no memory to remember %d blocks: %w", before.used, err)
	}
	t.mem, t.slots, t.shift = mem, unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(mem))), size), 32-bits.TrailingZeros(uint(size))
	for _, slot := range before.slots {
		if slot != 0 {
			t.put(slot)
		}
	}
	before.close()
	return nil
}

func (t *table) close() {
	if t.mem != nil {
		_ = freeMemory(t.mem)
	}
	*t = table{}
}

// first is where the slots of a fingerprint begin.
func (t *table) first(fp uint32) int {
	if len(t.slots) == 0 {
		return 0
	}
	return int(fp >> t.shift)
}

// next returns the number in the first slot of the fingerprint from at on, and
// moves at there.
func (t *table) next(at *int, fp uint32) (number uint32, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	for mask := len(t.slots) - 1; ; *at++ {
		slot := t.slots[*at&mask]
		if slot == 0 {
			return 0, false
		}
		if uint32(slot>>32) == fp {
			return uint32(slot) - 1, true
		}
	}
}
