package indexdag

import (
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// Limits on what is written and on what is read from outside.
const (
	maxPage    = 256 << 10 // bytes of a node we write
	maxName    = 1024      // bytes of one name; S3 keys are as long
	maxTarget  = 4096      // bytes of a link's target, Linux' PATH_MAX
	maxPath    = 64 << 10  // bytes of a whole path
	maxText    = 1024      // bytes of a header's texts
	maxRanges  = 1024      // ranges of a source
	maxHeight  = 8         // pages above one another; three hold 10^9 entries
	maxInline  = 16 << 10  // bytes of sources that stand in their entry
	pathsDeep  = dag.MaxDirectoryDepth
	formatOurs = 1
)

// Kind is what an Entry is.
type Kind uint8

// The kinds of entry.
const (
	File Kind = iota
	Dir
	Symlink
)

func (k Kind) String() string {
	if k > Symlink {
		return "unknown"
	}
	return [...]string{"file", "dir", "link"}[k]
}

// Entry is one file, directory or symbolic link of a dataset.
type Entry struct {
	Path    string // slash-separated, any bytes, "" for the root
	Kind    Kind
	Size    int64     // bytes of a file; of all files beneath a directory; of a link's target
	Cid     cid.Cid   // canonical UnixFS CID; of a directory it may be undefined
	ModTime time.Time // zero when unknown; kept to the nanosecond
	Target  string    // of a symbolic link, verbatim
	Files   int64     // files and links beneath a directory

	// Stored is how many bytes the sources hold of a file, where encryption or
	// compression made them another number than Size; else 0.
	Stored int64

	// Sources hold a file's bytes, in order of their offset and without gaps.
	// Two of the same offset and length are one as good as the other. Of an
	// Entry that was read they may stand elsewhere: ask Reader.Sources.
	Sources []Source

	link  cid.Cid // where the sources or a directory's entries stand, if not here
	below *page   // entries of a directory of version 1 that stand in its parent
}

// Name returns the last element of the path.
func (e Entry) Name() string { return e.Path[strings.LastIndexByte(e.Path, '/')+1:] }

// Key returns what the entry is sorted by in its directory: its name, of a
// directory with a slash behind.
func (e Entry) Key() string {
	if e.Kind == Dir {
		return e.Name() + "/"
	}
	return e.Name()
}

// stored is how many bytes the sources hold.
func (e Entry) stored() int64 {
	if e.Stored > 0 {
		return e.Stored
	}
	return e.Size
}

// Source is a place of a file's bytes, or of a part of them: a run of sections
// of the CAR of a piece.
type Source struct {
	Piece  cid.Cid // piece CID v2; undefined in indexes of version 1
	Cid    cid.Cid // root of the file, or of a readable file of the part, whose DAG is in the piece
	Path   string  // below the piece's own root; "" when it is the entry's own
	Offset int64   // bytes of the file, as it is stored, before what is here
	Length int64   // bytes of the file, as it is stored, that are here

	// Plain is set where an encrypted or compressed file was cut: what is here is
	// then encoded by itself, and these are the bytes of the file that it holds.
	Plain Range

	// CAR is where the sections of the part's blocks stand in the CAR of the
	// piece, nodes included, in any order. A block that is not there, because it
	// stands elsewhere once already, is looked for in the whole piece, which
	// takes longer.
	CAR []Range

	// Selector leads from Cid to the file, a number of a link a step; only
	// indexes of version 1 have it.
	Selector []int
}

// Range is a run of bytes.
type Range struct{ Offset, Length int64 }

// Piece is one of the pieces of a dataset.
type Piece struct {
	Cid  cid.Cid // piece CID v2
	Root cid.Cid // of its CAR
	Size int64   // bytes of its CAR
}

// Header is what an index says of the whole dataset.
type Header struct {
	Name    string
	Root    cid.Cid   // canonical UnixFS root
	Profile string    // import profile of the CIDs; "" when unknown
	Created time.Time // kept to the second

	// What was done to each file before it was packed, compression first: ""
	// or "zstd", "" or "age".
	Compression string
	Encryption  string

	Version int   // of the format; set by the Writer and the Reader
	Files   int64 // files and links; counted by the Writer
	Bytes   int64 // of files; counted by the Writer
}

// checkName refuses what no disk can hold as a name.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fault.New(fault.Invalid, "%.80q: is no name of a file", name)
	case len(name) > maxName:
		return fault.New(fault.Invalid, "name %.40q…: %d bytes, limit %d", name, len(name), maxName)
	}
	return nil
}

// checkPath judges a whole path by its names.
func checkPath(path string) error {
	if len(path) > maxPath {
		return fault.New(fault.Invalid, "path %.40q…: %d bytes, limit %d", path, len(path), maxPath)
	}
	depth := 0
	for name := range strings.SplitSeq(path, "/") {
		if err := checkName(name); err != nil {
			return fault.Wrap(err, "path %.200q", path)
		}
		if depth++; depth > pathsDeep {
			return fault.New(fault.Invalid, "path %.40q…: more than %d names deep", path, pathsDeep)
		}
	}
	return nil
}

// check judges an entry that is to be written.
func (e Entry) check() error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	switch {
	case e.Kind > Symlink:
		return fault.New(fault.Invalid, "%.200q: kind %d of entry is unknown", e.Path, e.Kind)
	case e.Kind == Dir:
		return nil
	case !e.Cid.Defined():
		return fault.New(fault.Invalid, "%.200q: no CID", e.Path)
	case e.Kind == Symlink && (e.Target == "" || len(e.Target) > maxTarget):
		return fault.New(fault.Invalid, "%.200q: link target of %d bytes, from 1 to %d", e.Path, len(e.Target), maxTarget)
	case e.Size < 0 || e.Stored < 0:
		return fault.New(fault.Invalid, "%.200q: of %d bytes", e.Path, min(e.Size, e.Stored))
	case e.Kind == Symlink && len(e.Sources) == 0:
		return nil
	}
	if err := covers(e.Sources, e.sourceSpan()); err != nil {
		return fault.Wrap(err, "%.200q", e.Path)
	}
	if err := coversPlain(e.Sources, e.Size); err != nil {
		return fault.Wrap(err, "%.200q", e.Path)
	}
	return nil
}

// sourceSpan is how many bytes the sources have to cover.
func (e Entry) sourceSpan() int64 {
	if e.Kind == Symlink {
		return int64(len(e.Target))
	}
	return e.stored()
}

// covers makes sure that sources hold all of size bytes, each byte in one
// source or in several of the same offset and length.
func covers(sources []Source, size int64) error {
	var last Source
	end := int64(0)
	for i, s := range sources {
		again := i > 0 && s.Offset == last.Offset && s.Length == last.Length
		if s.Length < 0 || len(s.CAR) > maxRanges || !s.Cid.Defined() {
			return fault.New(fault.Invalid, "source %d: %d bytes in %d ranges of the CAR, CID %s", i, s.Length, len(s.CAR), s.Cid)
		}
		if !again && (s.Offset != end || s.Length > size-end) {
			return fault.New(fault.Invalid, "source %d: bytes %d to %d, the next are %d of %d", i, s.Offset, s.Offset+s.Length, end, size)
		}
		if !again {
			end += s.Length
		}
		last = s
	}
	if end != size {
		return fault.New(fault.Invalid, "sources hold %d of %d bytes", end, size)
	}
	return nil
}

// coversPlain makes sure that what sources unpack to, each by itself, is all of
// size bytes, if any of them says so. The sources are known to cover the file
// as it is stored.
func coversPlain(sources []Source, size int64) error {
	if !slices.ContainsFunc(sources, Source.alone) {
		return nil
	}
	var last Source
	end := int64(0)
	for i, s := range sources {
		if i > 0 && s.Offset == last.Offset && s.Length == last.Length && s.Plain == last.Plain {
			continue
		}
		if !s.alone() || s.Plain.Offset != end || s.Plain.Length > size-end {
			return fault.New(fault.Invalid, "source %d: unpacks to bytes %d to %d, the next are %d of %d", i, s.Plain.Offset, s.Plain.Offset+s.Plain.Length, end, size)
		}
		end, last = end+s.Plain.Length, s
	}
	if end != size {
		return fault.New(fault.Invalid, "sources unpack to %d of %d bytes", end, size)
	}
	return nil
}

// alone reports whether what is here is encoded by itself.
func (s Source) alone() bool { return s.Plain.Length > 0 }
