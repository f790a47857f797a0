package pack

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"strings"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// cursor is a place among the entries: before leaf Leaf and node Node of entry
// Entry, both 0 before the whole entry. Digest is of all entries before it, and
// of the entry itself when it is begun.
type cursor struct {
	Entry  int64  `json:"entry"`
	Leaf   int64  `json:"leaf,omitempty"` // number in the entry, from 0
	Node   int    `json:"node,omitempty"`
	Digest uint64 `json:"digest,string"`
}

// planner judges entries one after the other: their order, and whether they
// can be in one tree.
type planner struct {
	cursor
	last  Entry
	names []string // files that the path begins with, byte by byte
}

// clone copies what the next entry changes.
func (p planner) clone() *planner {
	p.names = append([]string(nil), p.names...)
	return &p
}

// next takes an entry. A reason to skip it is returned as such; an error says
// that the list itself is wrong.
func (p *planner) next(e Entry, prof dag.Profile) (reason string, err error) {
	if p.Entry > 0 && compareEntries(p.last, e) > 0 {
		return "", fault.New(fault.Invalid, "entries to pack: %q comes after %q, want byte order of paths", e.Path, p.last.Path)
	}
	if err := checkPart(e, prof); err != nil {
		return "", err
	}
	last := p.last
	p.Entry, p.last, p.Digest = p.Entry+1, e, digestEntry(p.Digest, e)
	for n := len(p.names); n > 0 && !strings.HasPrefix(e.Path, p.names[n-1]); n-- {
		p.names = p.names[:n-1]
	}
	if reason := badEntry(e); reason != "" {
		return reason, nil
	}
	if p.Entry > 1 && e.Kind == Directory && last.Kind == Directory && last.Path == e.Path {
		return "the path is in the list twice", nil
	}
	for _, name := range p.names {
		switch {
		case len(name) == len(e.Path) && follows(last, e):
			return "", nil
		case len(name) == len(e.Path):
			return "the path is in the list twice", nil
		case e.Path[len(name)] == '/':
			return "there is a file where its directory " + strconv.Quote(name) + " would be", nil
		}
	}
	if e.Kind != Directory {
		p.names = append(p.names, e.Path)
	}
	return "", nil
}

// follows reports whether e is a later part of the same file.
func follows(last, e Entry) bool {
	return e.Kind == Regular && last.Kind == Regular && last.Path == e.Path && e.part() && last.part() &&
		last.stream() == e.stream() && (last.Size == e.Size || e.stream()) &&
		last.ID == e.ID && last.Origin == e.Origin && last.end() <= e.Offset
}

// compareEntries orders entries by path, a directory's ending in a slash, and
// parts by their offset.
func compareEntries(a, b Entry) int {
	n := min(len(a.Path), len(b.Path))
	if c := strings.Compare(a.Path[:n], b.Path[:n]); c != 0 {
		return c
	}
	next := func(e Entry) int { // the byte behind the common beginning
		switch {
		case len(e.Path) > n:
			return int(e.Path[n])
		case e.Kind == Directory:
			return '/'
		}
		return -1
	}
	rest := func(e Entry) int { return len(e.Path) - n }
	return cmp.Or(cmp.Compare(next(a), next(b)), cmp.Compare(rest(a), rest(b)), cmp.Compare(a.Offset, b.Offset))
}

// checkPart refuses parts no canonical file can be made of.
func checkPart(e Entry, prof dag.Profile) error {
	chunk, end := int64(prof.ChunkSize), e.Offset+e.Length
	switch {
	case e.Kind > Directory:
		return fault.New(fault.Invalid, "entry %q: unknown kind %d", e.Path, e.Kind)
	case e.Kind != Regular:
		return nil
	case e.stream():
		if e.Length != -1 || e.Size < 0 || e.Offset < 0 || e.Span < 0 || e.Span == 0 && e.Offset > 0 || e.end() < e.Offset {
			return fault.New(fault.Invalid, "entry %q: what becomes of %d bytes from %d, up to %d", e.Path, e.Span, e.Offset, e.Size)
		}
		return nil
	case e.Span != 0 || e.Offset < 0 || e.Length < 0 || e.Size < 0 || end < e.Offset || end > e.Size || e.Length == 0 && e.Size != 0:
		return fault.New(fault.Invalid, "entry %q: %d bytes from %d of a file of %d", e.Path, e.Length, e.Offset, e.Size)
	case e.Offset%chunk != 0 || end%chunk != 0 && end != e.Size:
		return fault.New(fault.Invalid, "entry %q: bytes %d to %d are not whole leaves of %d", e.Path, e.Offset, end, chunk)
	}
	return nil
}

// Limits of what a directory of base/dag takes.
const (
	maxName   = 1024 // bytes
	maxTarget = 4096 // bytes
)

// badEntry says why no tree or no index can hold the entry, "" if they can.
func badEntry(e Entry) string {
	if strings.Count(e.Path, "/") >= dag.MaxDirectoryDepth {
		return "the path is too deep"
	}
	for name := range strings.SplitSeq(e.Path, "/") {
		switch {
		case name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0:
			return "the path has the step " + strconv.Quote(name) + ", which is no name"
		case len(name) > maxName:
			return "the path has a name that is too long"
		}
	}
	s := e.source()
	switch {
	case len(s.Path) > maxPath || len(s.Origin) > maxOrigin || len(s.ID) > maxID:
		return "the path or the identity is too long"
	case e.Kind == Symlink && (e.Target == "" || len(e.Target) > maxTarget):
		return "the symbolic link has no target, or one that is too long"
	}
	return ""
}

// digestEntry chains what the piece depends on.
func digestEntry(before uint64, e Entry) uint64 {
	h := fnv.New64a()
	var b [9 * 8]byte
	for i, n := range [...]uint64{before, uint64(e.Kind), uint64(e.Size), uint64(e.Offset),
		uint64(e.Length - e.Span), // there is a Span only where Length is below 0
		uint64(len(e.Origin)), uint64(len(e.Path)), uint64(len(e.At)), uint64(len(e.ID))} {
		binary.LittleEndian.PutUint64(b[i*8:], n)
	}
	_, _ = h.Write(b[:])
	for _, word := range [...]string{e.Origin, e.Path, e.At, e.ID, e.Target} {
		_, _ = h.Write([]byte(word))
	}
	return h.Sum64()
}

// symlinkBlock makes the node of a symbolic link.
func symlinkBlock(e Entry, prof dag.Profile) (blocks.Block, dag.Link, error) {
	var made keeper
	entry, err := dag.AddSymlink(context.Background(), &made, e.Target, prof)
	if err != nil {
		return nil, dag.Link{}, err
	}
	return made.blocks[0], dag.Link{Cid: entry.Cid, Size: entry.Size, TreeSize: entry.TreeSize}, nil
}

// keeper is a dag.Putter that keeps the blocks.
type keeper struct{ blocks []blocks.Block }

func (k *keeper) PutMany(_ context.Context, bs []blocks.Block) error {
	k.blocks = append(k.blocks, bs...)
	return nil
}
