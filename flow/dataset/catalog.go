package dataset

import (
	"cmp"
	"math"
	"path"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// Limits of a Record.
const (
	MaxPath   = 64 << 10 // bytes of a path
	maxText   = 64 << 10 // bytes of an ID, a target or a reason
	maxRecord = 16 << 20 // bytes written: about 250,000 parts
	maxLevel  = 64       // levels of a file's DAG
)

// FileKind is what stands at a path.
type FileKind uint8

// The kinds, as catalogs write them.
const (
	KindFile FileKind = iota
	KindLink
	KindDirectory
	kinds
)

func (k FileKind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return [...]string{"file", "link", "directory"}[k]
}

// FileState is what a preparation has done about a path.
type FileState uint8

// The states, as catalogs write them.
const (
	FilePending FileState = iota // seen by the scan
	FilePacked                   // in the parts its record names
	FileSkipped                  // left out; Reason says why
	FileCarried                  // unchanged since an earlier preparation, whose parts these are
	fileStates
)

func (s FileState) String() string {
	if s >= fileStates {
		return "unknown"
	}
	return [...]string{"pending", "packed", "skipped", "carried"}[s]
}

// Record is one file, link or directory of a preparation.
type Record struct {
	Path     string // slash-separated names of arbitrary bytes but zero; no slash at the end
	Kind     FileKind
	State    FileState
	Size     int64  // bytes of content; length of a link's target
	Modified int64  // nanoseconds since 1970, as the source says
	ID       string // identity of the version the scan saw (source.Item.ID)
	Source   int64  // number of the source it comes from
	Target   string // where a link points
	Reason   string // why it was skipped

	CID      cid.Cid // canonical root; undefined until it is known
	TreeSize uint64  // bytes of all its blocks (Tsize)
	Parts    []Part  // in order of Offset
}

// Part is where a run of a file's bytes was packed.
type Part struct {
	Piece          int64 // number of the piece; of the chunk as long as there is none
	Offset, Length int64 // of the bytes in the file
	CID            cid.Cid
	Tops           []dag.Top // nodes of a split file, until JoinFile has joined them; of an encoded one the root of this part's stream, for good
	CAROffset      int64     // of the first section with these bytes
	CARLength      int64     // bytes of the sections
}

// Entry is the record as the directory entry it becomes.
func (r Record) Entry() dag.Entry {
	return dag.Entry{Name: path.Base(r.Path), Cid: r.CID, Size: r.Size, TreeSize: r.TreeSize,
		Dir: r.Kind == KindDirectory, Symlink: r.Kind == KindLink, Target: r.Target}
}

// key is the path, with a slash behind that of a directory, so that everything
// below a directory follows it.
func (r Record) key() string { return byPath.keyOf(r) }

// Compare is the order of a catalog: the byte order of whole paths, a
// directory's with a slash behind it.
func (r Record) Compare(other Record) int { return cmp.Compare(r.key(), other.key()) }

// same reports whether a record describes the version that was packed before.
func (r Record) same(before Record) bool {
	if r.Kind == KindDirectory {
		return true
	}
	return (before.State == FilePacked || before.State == FileCarried) &&
		r.Kind == before.Kind && r.Size == before.Size && r.Modified == before.Modified && r.ID == before.ID &&
		r.Source == before.Source && r.Target == before.Target
}

// check refuses a record no catalog may hold.
func (r Record) check() error {
	switch {
	case r.Path == "" || len(r.Path) > MaxPath:
		return fault.New(fault.Invalid, "catalog: path %.80q of %d bytes, from 1 to %d", r.Path, len(r.Path), MaxPath)
	case strings.HasSuffix(r.Path, "/") || strings.IndexByte(r.Path, 0) >= 0:
		return fault.New(fault.Invalid, "catalog: path %.200q: ends with a slash or holds a zero byte", r.Path)
	case r.Kind >= kinds || r.State >= fileStates:
		return fault.New(fault.Invalid, "catalog: %.200q: kind %d, state %d", r.Path, r.Kind, r.State)
	case r.Size < 0 || r.Source < 0:
		return fault.New(fault.Invalid, "catalog: %.200q: size %d, source %d, neither below 0", r.Path, r.Size, r.Source)
	case len(r.ID) > maxText || len(r.Target) > maxText || len(r.Reason) > maxText:
		return fault.New(fault.Invalid, "catalog: %.200q: identity, target or reason above %d bytes", r.Path, maxText)
	}
	for _, p := range r.Parts {
		if p.Piece < 0 || p.Offset < 0 || p.Length < 0 || p.CAROffset < 0 || p.CARLength < 0 {
			return fault.New(fault.Invalid, "catalog: %.200q: part %d+%d with a number below 0", r.Path, p.Offset, p.Length)
		}
		for _, t := range p.Tops {
			if t.Level < 0 || t.Level > maxLevel || t.Index < 0 || t.Size < 0 {
				return fault.New(fault.Invalid, "catalog: %.200q: part %d+%d has node %d of level %d", r.Path, p.Offset, p.Length, t.Index, t.Level)
			}
		}
	}
	return nil
}

// Counts sums up a catalog. Directories count by kind alone.
type Counts struct {
	Records, Files, Links, Directories int64
	Bytes                              int64 // content of files
	Pending, Packed, Skipped, Carried  int64 // files and links by state
	PackedBytes, SkippedBytes          int64 // content of files by state, carried ones being neither
	CarriedBytes                       int64
}

func (c *Counts) add(r Record) {
	c.Records++
	bytes := int64(0)
	switch r.Kind {
	case KindDirectory:
		c.Directories++
		return
	case KindLink:
		c.Links++
	case KindFile:
		c.Files++
		bytes = r.Size
	}
	add(&c.Bytes, bytes)
	switch r.State {
	case FilePending:
		c.Pending++
	case FilePacked:
		c.Packed++
		add(&c.PackedBytes, bytes)
	case FileSkipped:
		c.Skipped++
		add(&c.SkippedBytes, bytes)
	case FileCarried:
		c.Carried++
		add(&c.CarriedBytes, bytes)
	}
}

// add keeps a sum at the greatest number once it is there: sparse files may
// claim any size.
func add(sum *int64, n int64) { *sum += min(n, math.MaxInt64-*sum) }
