package dag

import (
	"encoding/binary"
	"sort"
	"strings"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// DirectoryWriter makes the directories of a tree whose entries come in byte
// order of their whole paths, where a directory counts as "name/": all of a
// directory comes together, so it is made as soon as something behind it
// comes. The root is the one a Tree gives. Missing parents are made. Its
// memory is the entries of the directories that are open: a name, its CID and
// 20 bytes each (about 80 for common names), and 16 more while a directory is
// sharded.
type DirectoryWriter struct {
	prof Profile
	emit func(blocks.Block) error
	last string   // what was added last, with a directory's slash
	at   string   // path of the innermost directory that is open
	open []opened // the root first
}

// opened is a directory that may still get entries.
type opened struct {
	name      string
	estimated int // bytes, as the profile counts
	entries   packed
}

// NewDirectoryWriter begins an empty tree. emit is called with every directory
// node once, children before parents; a node that two directories share comes
// again. After an error of emit the writer is of no use.
func NewDirectoryWriter(prof Profile, emit func(blocks.Block) error) *DirectoryWriter {
	w := &DirectoryWriter{prof: prof, emit: emit}
	w.push("")
	return w
}

func (w *DirectoryWriter) push(name string) {
	w.open = append(w.open, opened{name: name, estimated: estimateEmpty(w.prof)})
}

// Add puts an entry at path; its Cid, TreeSize and Dir count. One that is not
// behind the last is Invalid; one that is there already, or is below what is
// no directory, is Conflict. An entry that is a directory is taken whole.
func (w *DirectoryWriter) Add(path string, e Entry) error {
	slash := strings.LastIndexByte(path, '/')
	near := !e.Dir && slash != 0 && path[:max(slash, 0)] == w.at && path > w.last
	if depth := len(w.open); !near || depth == 0 || depth > MaxDirectoryDepth {
		return w.addApart(path, e)
	}
	if err := checkName(path[slash+1:]); err != nil {
		return fault.Wrap(err, "path %.200q", path)
	}
	if err := checkEntry(path, e); err != nil {
		return err
	}
	w.last, e.Name = path, path[slash+1:]
	return w.open[len(w.open)-1].add(e, w.prof)
}

func checkEntry(path string, e Entry) error {
	if !e.Cid.Defined() || e.Cid.ByteLen() > maxName {
		return fault.New(fault.Invalid, "%.200q: its CID has %d bytes, from 1 to %d", path, e.Cid.ByteLen(), maxName)
	}
	return nil
}

// addApart is Add for an entry that is not a file in the same directory as the
// one before.
func (w *DirectoryWriter) addApart(path string, e Entry) error {
	names, err := splitPath(path)
	if err != nil {
		return err
	}
	if err := checkEntry(path, e); err != nil {
		return err
	}
	key, last := path, len(names)-1
	if e.Dir {
		key += "/"
	}
	if err := w.descend(path, key, names[:last]); err != nil {
		return err
	}
	in := &w.open[len(w.open)-1]
	if e.Dir && in.entries.holds(names[last]) {
		return fault.New(fault.Conflict, "%.200q: a file and a directory", path)
	}
	e.Name = names[last]
	return in.add(e, w.prof)
}

// Mkdir makes the directory at path, which may stay empty. It comes before
// what is in it.
func (w *DirectoryWriter) Mkdir(path string) error {
	names, err := splitPath(path)
	if err != nil {
		return err
	}
	return w.descend(path, path+"/", names)
}

// descend closes the directories that are complete and opens those of names.
func (w *DirectoryWriter) descend(path, key string, names []string) error {
	switch {
	case len(w.open) == 0:
		return fault.New(fault.Invalid, "%.200q: the tree is finished", path)
	case key > w.last:
	case strings.TrimSuffix(w.last, "/") == path || strings.HasPrefix(w.last, path+"/"):
		return fault.New(fault.Conflict, "%.200q: already in the tree", path)
	default:
		return fault.New(fault.Invalid, "%.200q: comes after %.200q, out of order", key, w.last)
	}
	shared := 0
	for shared < len(names) && shared+1 < len(w.open) && w.open[shared+1].name == names[shared] {
		shared++
	}
	for len(w.open) > shared+1 {
		if err := w.close(); err != nil {
			return err
		}
	}
	for _, name := range names[shared:] {
		if w.open[len(w.open)-1].entries.holds(name) {
			return fault.New(fault.Conflict, "%.200q: %.200q is not a directory", path, name)
		}
		w.push(name)
	}
	w.last, w.at = key, strings.Join(names, "/")
	return nil
}

// close makes the innermost directory and puts it into the one above.
func (w *DirectoryWriter) close() error {
	top := len(w.open) - 1
	name := w.open[top].name
	e, err := w.make(w.open[top])
	if err != nil {
		return fault.Wrap(err, "%.200q", name)
	}
	e.Name = name
	w.open = w.open[:top]
	return w.open[top-1].add(e, w.prof)
}

func (w *DirectoryWriter) make(in opened) (Entry, error) {
	if err := w.prof.check(); err != nil {
		return Entry{}, err
	}
	return emitted(w.emit).putDirectory(&in.entries, in.estimated, w.prof)
}

// Finish makes what is open and returns the root. Nothing can be added
// afterwards.
func (w *DirectoryWriter) Finish() (Entry, error) {
	for len(w.open) > 1 {
		if err := w.close(); err != nil {
			return Entry{}, err
		}
	}
	if len(w.open) == 0 {
		return Entry{}, fault.New(fault.Invalid, "directories: finished twice")
	}
	root := w.open[0]
	w.open = nil
	return w.make(root)
}

func (o *opened) add(e Entry, prof Profile) error {
	o.estimated += estimateEntry(e, prof)
	return o.entries.add(e)
}

// packed is a listing in as few bytes as it takes. An entry is the name's
// length, the name, whether it is a directory, the CID's length, the CID, and
// the tree size. They are in order of their names, a directory's with a slash.
type packed struct {
	pages [][]byte
	at    []uint32 // page and offset of each entry
}

const packedPage = 1 << 16

func (p *packed) add(e Entry) error {
	var room [256]byte
	b := binary.AppendUvarint(room[:0], uint64(len(e.Name)))
	b = append(b, e.Name...)
	dir := byte(0)
	if e.Dir {
		dir = 1
	}
	b = binary.AppendUvarint(append(b, dir), uint64(e.Cid.ByteLen()))
	b = binary.AppendUvarint(append(b, e.Cid.KeyString()...), e.TreeSize)
	last := len(p.pages) - 1
	if last < 0 || len(p.pages[last])+len(b) > packedPage {
		if last++; last == packedPage {
			return fault.New(fault.Exhausted, "directory of %d entries: no room for more", len(p.at))
		}
		p.pages = append(p.pages, nil)
		if last > 0 {
			p.pages[last] = make([]byte, 0, packedPage)
		}
	}
	p.at = append(p.at, uint32(last)<<16|uint32(len(p.pages[last])))
	p.pages[last] = append(p.pages[last], b...)
	return nil
}

func (p *packed) count() int { return len(p.at) }

// name returns an entry's name and what follows it.
func (p *packed) name(i int) (name, rest []byte) {
	b := p.pages[p.at[i]>>16][p.at[i]&(packedPage-1):]
	n, used := binary.Uvarint(b)
	b = b[used:]
	return b[:n], b[n:]
}

func (p *packed) entry(i int) Entry {
	name, b := p.name(i)
	n, used := binary.Uvarint(b[1:])
	c := b[1+used:]
	size, _ := binary.Uvarint(c[n:])
	id, err := cid.Cast(c[:n])
	if err != nil {
		panic(err) // add wrote a CID there
	}
	return Entry{Name: string(name), Dir: b[0] == 1, Cid: id, TreeSize: size}
}

// holds reports whether a name is taken, by a file or by the last entry.
func (p *packed) holds(name string) bool {
	key := func(i int) string {
		n, rest := p.name(i)
		if rest[0] == 1 {
			return string(n) + "/"
		}
		return string(n)
	}
	i := sort.Search(len(p.at), func(i int) bool { return key(i) >= name })
	if i < len(p.at) && key(i) == name {
		return true
	}
	return len(p.at) > 0 && key(len(p.at)-1) == name+"/"
}
