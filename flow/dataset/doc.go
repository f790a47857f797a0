// Package dataset turns datasets into pieces where they lie.
//
// It owns Dataset, a named set of sources with the rules by which they are cut;
// Source, where bytes are; Preparation, one run over a dataset (scan, pack,
// index); Chunk, the slice of a preparation that becomes one piece; and Name, by
// which a dataset's latest index is found. What a
// preparation found is not rows but catalogs: flat files sorted by path.
//
// It promises that CIDs are those of the whole tree however it was cut, that a
// second preparation packs only what is new or changed and has one root for
// all, that a file which cannot be read is skipped with a reason and never
// fails its chunk, and that a preparation goes on where it was after a kill, a
// pause or a change of worker.
//
// It refuses to keep a row for each file, to copy sources, and to know who
// stores a piece.
package dataset
