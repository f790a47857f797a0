// Package piece makes pieces and streams their bytes.
//
// It owns Plan, an ordered set of DAG roots on its way to become pieces, and
// Piece, its result: a root, a CAR of known size and a piece commitment. A
// piece is its index: the CAR is a view of blocks and files that are elsewhere,
// laid out by 60 bytes a block, and can be read at any offset by any number of
// readers without ever having been written. What was packed elsewhere is adopted.
//
// It promises that equal plans give equal pieces, that the bytes at an offset
// never change, whatever became of the files, and that packing which dies
// anywhere starts over and ends the same, and an import goes on. Workers apart are
// believed as far as samples show that they choose last. A DAG that does not fit is cut between
// blocks into several pieces.
//
// It refuses to know where a plan came from or who stores a piece.
package piece
