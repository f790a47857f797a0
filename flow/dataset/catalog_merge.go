package dataset

import (
	"iter"
)

// Change is what became of a path from one preparation to the next.
type Change uint8

// The changes.
const (
	Same    Change = iota // the version that was packed before
	Changed               // another version, or one that was not packed before
	Added                 // was not there before
	Gone                  // is not there any more
)

func (c Change) String() string {
	return [...]string{"same", "changed", "added", "gone"}[c&3]
}

// Difference is one path of two catalogs. The record that is not there is zero.
type Difference struct {
	Change   Change
	Old, New Record
}

// Differences joins the records of an earlier preparation and of what a scan
// finds now by path, in order. A path is the same when it was packed and has
// the same kind, source, size, time, identity and target. Both lists are read
// once and side by side. It ends after an error.
func Differences(old, now iter.Seq2[Record, error]) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		err := joinLists(old, now, func(a, b *Record) bool {
			switch {
			case b == nil:
				return yield(Difference{Change: Gone, Old: *a}, nil)
			case a == nil:
				return yield(Difference{Change: Added, New: *b}, nil)
			case b.same(*a):
				return yield(Difference{Change: Same, Old: *a, New: *b}, nil)
			}
			return yield(Difference{Change: Changed, Old: *a, New: *b}, nil)
		})
		if err != nil {
			yield(Difference{}, err)
		}
	}
}

// Merge yields the records of two lists in one order; where both have a path,
// the first list's record and then the other's. It ends after an error.
func Merge(a, b iter.Seq2[Record, error]) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := joinLists(a, b, func(x, y *Record) bool {
			return (x == nil || yield(*x, nil)) && (y == nil || yield(*y, nil))
		})
		if err != nil {
			yield(Record{}, err)
		}
	}
}

// joinLists calls visit for each key of two lists, with nil for a list without it,
// until it returns false.
func joinLists(a, b iter.Seq2[Record, error], visit func(a, b *Record) bool) error {
	left, stopLeft := pull(a)
	defer stopLeft()
	right, stopRight := pull(b)
	defer stopRight()
	x, err := left()
	y, failed := right()
	for err == nil && failed == nil && (x != nil || y != nil) {
		order := 0
		switch {
		case x == nil:
			order = 1
		case y == nil:
			order = -1
		default:
			order = x.Compare(*y)
		}
		takeX, takeY := x, y
		if order > 0 {
			takeX = nil
		}
		if order < 0 {
			takeY = nil
		}
		if !visit(takeX, takeY) {
			return nil
		}
		if takeX != nil {
			x, err = left()
		}
		if takeY != nil {
			y, failed = right()
		}
	}
	if err != nil {
		return err
	}
	return failed
}

// pull hands out one record a call, nil at the end.
func pull(seq iter.Seq2[Record, error]) (next func() (*Record, error), stop func()) {
	raw, stop := iter.Pull2(seq)
	return func() (*Record, error) {
		r, err, more := raw()
		if !more || err != nil {
			return nil, err
		}
		return &r, nil
	}, stop
}
