package dataset

import "iter"

// Change is what became of a path from one preparation to the next.
type Change uint8

// The changes.
const (
	Same    Change = iota // the version that was packed before
	Changed               // another version, or one that was not packed before
	New
	Gone
)

// Difference is one path of two catalogs.
type Difference struct {
	Change   Change
	Old, New Record // the one that is not there is zero
}

// Differences joins the records of an earlier and a later preparation by path.
func Differences(old, now iter.Seq2[Record, error]) iter.Seq2[Difference, error] {
	return func(func(Difference, error) bool) {}
}

// Merge yields the records of two lists in one order; of two at one path the
// first list's comes first.
func Merge(a, b iter.Seq2[Record, error]) iter.Seq2[Record, error] {
	return func(func(Record, error) bool) {}
}
