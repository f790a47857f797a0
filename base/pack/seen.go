package pack

// seen finds the record of a block that is in the CAR already. It remembers
// records by 32 bits of their digest and asks the spool for the rest, in two
// generations of at most seenLimit records: when the younger is full it becomes
// the older, and what was the older is forgotten. So memory is at most 32 MiB
// whatever the piece, the last 1.5 million blocks are always known, and what is
// known depends on the records alone.
type seen struct {
	spool      *Spool
	young, old table
	limit      int // of a generation
}

const seenLimit = 3 << 19 // three quarters of a table of 16 MiB

func newSeen(s *Spool) *seen { return &seen{spool: s, limit: seenLimit} }

// restore learns all records of the spool that pick wants, in order.
func (s *seen) restore(pick func(Record) bool) error {
	s.young, s.old = table{}, table{}
	for i := range s.spool.Records() {
		r, err := s.spool.At(i)
		if err != nil {
			return err
		}
		if pick(r) {
			s.add(r, i)
		}
	}
	return nil
}

// add remembers record i.
func (s *seen) add(r Record, i int64) {
	if s.young.used >= s.limit {
		s.old, s.young = s.young, table{}
	}
	s.young.add(fingerprint(r.Form, &r.Digest), uint32(i))
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
	slots []uint64 // a power of two
	shift int      // 32 - log2(len(slots))
	used  int
}

func (t *table) add(fp, number uint32) {
	if t.used*4 >= len(t.slots)*3 {
		t.grow()
	}
	t.put(uint64(fp)<<32 | uint64(number) + 1)
	t.used++
}

func (t *table) put(slot uint64) {
	mask := len(t.slots) - 1
	at := int(uint32(slot>>32) >> t.shift)
	for t.slots[at&mask] != 0 {
		at++
	}
	t.slots[at&mask] = slot
}

func (t *table) grow() {
	before := t.slots
	size := max(2*len(before), 1<<10)
	t.slots, t.shift = make([]uint64, size), 32
	for n := size; n > 1; n >>= 1 {
		t.shift--
	}
	for _, slot := range before {
		if slot != 0 {
			t.put(slot)
		}
	}
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
