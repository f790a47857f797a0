package pack

import (
	"context"
	"io"
	"iter"

	"github.com/firth-project/firth/base/dag"
)

// Kind is what an Entry is.
type Kind uint8

// The kinds of entries.
const (
	Regular   Kind = iota // a file, or a part of one
	Symlink               // a symbolic link; it is not followed
	Directory             // one that shall be there even with nothing in it
)

// Entry is a file, a part of one, a link or a directory that goes into a piece.
type Entry struct {
	Origin string // place of the bytes: Source.Origin
	Path   string // in the dataset, names separated by slashes, any bytes
	At     string // path in the origin: Source.Path; "" if it is Path
	ID     string // identity of the version that is meant: Source.ID
	Kind   Kind
	Size   int64 // bytes of the whole file
	// Offset and Length are the part of the file, in bytes: whole leaves of the
	// profile's chunk size, save the file's last. 0 and Size are the whole file.
	//
	// A Length of -1 is a file that is changed on its way, compressed or
	// encrypted: Size is the most it can come to and its File must be a Streamer.
	// Made of a part of the file, it is the Span bytes from Offset on, and stands
	// in the piece as a file of its own. The index cannot bring its bytes back, so
	// such files need Job.Export.
	Offset, Length int64
	Span           int64
	Target         string // of a Symlink
}

// part reports whether the entry is less than a whole file.
func (e Entry) part() bool {
	return e.Span > 0 || e.Length >= 0 && (e.Offset != 0 || e.Length != e.Size)
}

// end is the byte of the file that the entry ends before.
func (e Entry) end() int64 { return e.Offset + max(e.Length, e.Span) }

// stream reports whether the length is not known before the end.
func (e Entry) stream() bool { return e.Kind == Regular && e.Length < 0 }

// source is what the index says of where the entry's bytes are.
func (e Entry) source() Source {
	s := Source{Origin: e.Origin, Path: e.At, ID: e.ID, Size: e.Size}
	if s.Path == "" {
		s.Path = e.Path
	}
	return s
}

// Opener opens the files of entries. A file that is not the version which
// Source.ID names, and any other error, makes the entry's outcome Skipped with
// the error's text as the reason; fault.Unavailable fails the run instead, which
// may be tried again and goes on where it was. Open may be called from several
// goroutines.
type Opener interface {
	Open(ctx context.Context, s Source) (File, error)
}

// Streamer is a File whose bytes come from the first to the last, once, and
// only then tell how many they are. An interrupted run reads it from the
// beginning.
type Streamer interface {
	File
	// Stream returns what the span bytes of the file from an offset on become, or
	// all of them if span is 0. It is called once; ReadAt is not called then.
	Stream(offset, span int64) io.Reader
}

// Outcome is what became of an entry.
type Outcome struct {
	Entry   int64  // its number, from 0
	Skipped string // why it is not in the piece; "" if it is
	// Link is the file or symbolic link; of a part that is no stream, and of a
	// directory, it is zero.
	Link dag.Link
	// Tops are the finished nodes of the file that are in the piece: of a whole
	// file the root alone, of a part what dag.JoinFile wants.
	Tops []dag.Top
	// CAROffset and CARLength are the run of sections that were laid down for the
	// entry: leaves, then the nodes above them. Where equal blocks are kept once,
	// a block of the entry may be elsewhere; Scattered says that one is. An entry
	// all of whose blocks are elsewhere has the section of its last one.
	CAROffset, CARLength int64
	Scattered            bool
}

// Outcomes yields the outcomes of a run's entries in order.
type Outcomes = iter.Seq2[Outcome, error]
