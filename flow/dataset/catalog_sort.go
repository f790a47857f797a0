package dataset

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"io"
	"os"
	"slices"

	"github.com/firth-project/firth/base/fault"
)

// What sorting holds: records of one run, or a piece of every run.
const (
	sortMemory = 16 << 20
	maxRuns    = 4096 // each is read in pieces of 4 KiB at least
)

// WriteNames writes the records of a catalog to w as a second catalog, in order
// of their names in lower case and then of their paths, without the nodes of
// split files: the list that Find looks names up in. It sorts runs of 16 MiB in
// a file in dir, which is gone afterwards and holds about what the catalog
// does, and merges them; memory is those 16 MiB.
func WriteNames(ctx context.Context, w io.Writer, c *Catalog, dir string) error {
	f, err := os.CreateTemp(dir, "names-*")
	if err != nil {
		return fault.Wrap(err, "sort names")
	}
	defer f.Close()
	defer os.Remove(f.Name())
	_ = os.Remove(f.Name()) // where an open file can go, a kill leaves none
	s := sorter{f: f, memory: sortMemory}
	if n := len(c.blocks); n > 0 {
		s.entries = make([]byte, 0, min(int64(s.memory), 4*c.blocks[n-1].end()))
	}
	for r, err := range c.From("") {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = s.add(r)
		}
		if err != nil {
			return fault.Wrap(err, "sort names")
		}
	}
	return fault.Wrap(s.merge(ctx, newCatalogWriter(w, byName)), "sort names")
}

// sorter gathers records into sorted runs. An entry is the length of its key,
// the key, and the record as a block's first one.
type sorter struct {
	f      *os.File
	memory int
	at     int64
	runs   []*io.SectionReader

	entry   []byte
	entries []byte
	starts  []uint32 // of each entry
}

func (s *sorter) add(r Record) error {
	r.Parts = slices.Clone(r.Parts)
	for i := range r.Parts {
		r.Parts[i].Tops = nil
	}
	b, err := appendRecord(appendText(s.entry[:0], byName.keyOf(r)), r, "")
	if err != nil {
		return err
	}
	s.entry = b
	if len(s.entries)+len(b)+4*len(s.starts) > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.starts = append(s.starts, uint32(len(s.entries)))
	s.entries = append(s.entries, b...)
	return nil
}

func entryKey(b []byte) []byte {
	n, used := binary.Uvarint(b)
	return b[used : used+int(n)]
}

// spill writes what was gathered as a run.
func (s *sorter) spill() error {
	if len(s.starts) == 0 {
		return nil
	}
	if len(s.runs) == maxRuns {
		return fault.New(fault.Exhausted, "more than %d runs of %d bytes", maxRuns, s.memory)
	}
	slices.SortFunc(s.starts, func(i, j uint32) int {
		return bytes.Compare(entryKey(s.entries[i:]), entryKey(s.entries[j:]))
	})
	w := bufio.NewWriterSize(s.f, 64<<10)
	for _, start := range s.starts {
		if _, err := w.Write(s.entries[start:][:entrySize(s.entries[start:])]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.runs = append(s.runs, io.NewSectionReader(s.f, s.at, int64(len(s.entries))))
	s.at += int64(len(s.entries))
	s.entries, s.starts = s.entries[:0], s.starts[:0]
	return nil
}

func entrySize(b []byte) int {
	key, used := binary.Uvarint(b)
	at := used + int(key)
	record, used := binary.Uvarint(b[at:])
	return at + used + int(record)
}

// merge adds the records of all runs in order.
func (s *sorter) merge(ctx context.Context, w *CatalogWriter) error {
	if err := s.spill(); err != nil {
		return err
	}
	s.entries, s.starts = nil, nil
	var h runs
	for _, section := range s.runs {
		size := min(256<<10, max(4<<10, s.memory/len(s.runs)))
		r := &run{r: bufio.NewReaderSize(section, size)}
		if err := r.next(); err != nil {
			return err
		}
		h = append(h, r)
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := cursor{rest: decoder{b: h[0].record}}
		if !c.next() {
			return errRecord
		}
		r, err := c.record()
		if err == nil {
			err = w.Add(r)
		}
		if err == nil {
			err = h[0].next()
		}
		switch {
		case err == io.EOF:
			heap.Pop(&h)
		case err != nil:
			return err
		default:
			heap.Fix(&h, 0)
		}
	}
	return w.Close()
}

// run is a sorted run at its first entry not taken.
type run struct {
	r           *bufio.Reader
	key, record []byte // record has its length before it
}

// next steps on; io.EOF is the end.
func (r *run) next() error {
	n, err := binary.ReadUvarint(r.r)
	if err == nil {
		r.key, err = r.read(r.key[:0], n)
	} else if err == io.EOF {
		return io.EOF
	}
	if err == nil {
		n, err = binary.ReadUvarint(r.r)
	}
	if err == nil {
		r.record, err = r.read(binary.AppendUvarint(r.record[:0], n), n)
	}
	if err != nil {
		return fault.New(fault.Internal, "read a sorted run: %w", err)
	}
	return nil
}

// read appends n bytes.
func (r *run) read(b []byte, n uint64) ([]byte, error) {
	if n > maxRecord {
		return b, errRecord
	}
	at := len(b)
	b = slices.Grow(b, int(n))[:at+int(n)]
	_, err := io.ReadFull(r.r, b[at:])
	return b, err
}

// runs is a heap.
type runs []*run

func (h runs) Len() int           { return len(h) }
func (h runs) Less(i, j int) bool { return bytes.Compare(h[i].key, h[j].key) < 0 }
func (h runs) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's and never called.
func (h *runs) Push(x any) { *h = append(*h, x.(*run)) }

// Pop takes the last run.
func (h *runs) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
