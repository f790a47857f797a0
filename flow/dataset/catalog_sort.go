package dataset

import (
	"bufio"
	"bytes"
	"cmp"
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
	sortMemory = 8 << 20
	maxRuns    = 4096 // each is read in pieces of 4 KiB at least
)

// WriteNames writes the records of a catalog to w as a second catalog, in order
// of their names in lower case and then of their paths, without the nodes of
// split files: the list that Find looks names up in. It sorts runs of 8 MiB in
// a file in dir, which is gone afterwards and holds about what the catalog
// does, and merges them; memory is those 8 MiB.
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
		s.entries = make([]byte, 0, min(int64(s.memory), 2*c.blocks[n-1].end()))
	}
	err = c.scan("", func(_ []byte, at *cursor) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		return true, s.add(at)
	})
	if err != nil {
		return fault.Wrap(err, "sort names")
	}
	return fault.Wrap(s.merge(ctx, newCatalogWriter(w, byName)), "sort names")
}

// sorter gathers records into sorted runs. An entry is the length of its key,
// the key, the length of what stands behind the record's path, and that.
type sorter struct {
	f      *os.File
	memory int
	at     int64
	runs   []*io.SectionReader

	key     []byte
	entry   []byte
	entries []byte
	starts  []start
}

// start is where an entry begins, with the first bytes of its key, which most
// often tell it from another.
type start struct {
	key uint64
	at  uint32
}

const startBytes = 16

// add takes the record at a cursor: as it stands unless it has nodes of a split
// file.
func (s *sorter) add(at *cursor) error {
	body := at.body.b
	if !at.bare() {
		r, err := at.record()
		if err != nil {
			return err
		}
		for i := range r.Parts {
			r.Parts[i].Tops = nil
		}
		if body, err = appendBody(nil, r); err != nil {
			return err
		}
	}
	s.key = byName.appendKey(s.key[:0], at.path, at.kind())
	s.entry = append(binary.AppendUvarint(s.entry[:0], uint64(len(s.key))), s.key...)
	s.entry = append(binary.AppendUvarint(s.entry, uint64(len(body))), body...)
	if len(s.entries)+len(s.entry)+startBytes*(len(s.starts)+1) > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	var first [8]byte
	copy(first[:], s.key)
	s.starts = append(s.starts, start{binary.BigEndian.Uint64(first[:]), uint32(len(s.entries))})
	s.entries = append(s.entries, s.entry...)
	return nil
}

// sort puts the entries in hand in order.
func (s *sorter) sort() {
	slices.SortFunc(s.starts, func(a, b start) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		i, _ := s.take(a)
		j, _ := s.take(b)
		return bytes.Compare(i, j)
	})
}

// take returns the key and the record of an entry in hand.
func (s *sorter) take(at start) (key, body []byte) {
	b := s.entries[at.at:]
	n, used := binary.Uvarint(b)
	key, b = b[used:used+int(n)], b[used+int(n):]
	n, used = binary.Uvarint(b)
	return key, b[used : used+int(n)]
}

// spill writes what was gathered as a run.
func (s *sorter) spill() error {
	if len(s.starts) == 0 {
		return nil
	}
	if len(s.runs) == maxRuns {
		return fault.New(fault.Exhausted, "more than %d runs of %d bytes", maxRuns, s.memory)
	}
	s.sort()
	w := bufio.NewWriterSize(s.f, 64<<10)
	for _, start := range s.starts {
		_, body := s.take(start) // the entry ends where its body does
		end := cap(s.entries) - cap(body) + len(body)
		if _, err := w.Write(s.entries[start.at:end]); err != nil {
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

// merge adds the records of all runs in order. One run needs no file.
func (s *sorter) merge(ctx context.Context, w *CatalogWriter) error {
	if len(s.runs) == 0 {
		s.sort()
		for _, start := range s.starts {
			key, body := s.take(start)
			if err := addNamed(w, key, body); err != nil {
				return err
			}
		}
		return w.Close()
	}
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
		err := addNamed(w, h[0].key, h[0].body)
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

// addNamed adds a record in order of names: its key ends with its path.
func addNamed(w *CatalogWriter, key, body []byte) error {
	at := cursor{path: key[bytes.IndexByte(key, 0)+1:], body: decoder{b: body}}
	if len(body) == 0 {
		return errRecord
	}
	rest := decoder{b: body[1:]}
	return w.addBody(key, at.path, body, Record{Kind: at.kind(), State: at.state(), Size: rest.amount()})
}

// run is a sorted run at its first entry not taken.
type run struct {
	r         *bufio.Reader
	key, body []byte
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
		r.body, err = r.read(r.body[:0], n)
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
