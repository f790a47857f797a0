// Package pack turns files into pieces: it reads each byte once and makes leaf
// CIDs, the CAR's layout, the piece commitment, the index and, when asked, the
// CAR itself in that one pass; and it serves a CAR that was never written from
// its index and the sources.
//
// It promises that a piece depends on the entries and the settings alone, not
// on the number of workers, on interruptions, or on whether the CAR is written;
// that the CIDs are those of the whole files wherever they were cut; that a file
// which fails, changes or vanishes is left out with a reason and nothing else is
// lost; that a run which was cut short goes on inside the piece; and that bytes
// which are not what was packed are never served. Memory is about 17 MiB a
// worker, 51 MiB of however many, at most 40 MiB to find duplicates, and 34 bytes for each 127 KiB of
// CAR.
//
// It refuses to know databases, networks and what a dataset is: entries come
// from the caller, and their bytes through an Opener.
package pack
