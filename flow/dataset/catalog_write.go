package dataset

import (
	"encoding/binary"
	"io"
	"math/bits"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// CatalogWriter writes a catalog as its records come. It holds one block and
// the index.
type CatalogWriter struct {
	w      io.Writer
	order  order
	at     int64 // bytes written
	blocks []blockEntry
	counts Counts

	buf     []byte // the block's header and payload
	records int    // in it
	first   string // key
	path    []byte // of the record before in the block
	last    []byte // key
}

// NewCatalogWriter begins a catalog in path order. What is written is whole
// when Close has returned.
func NewCatalogWriter(w io.Writer) *CatalogWriter { return newCatalogWriter(w, byPath) }

func newCatalogWriter(w io.Writer, o order) *CatalogWriter {
	return &CatalogWriter{w: w, order: o}
}

// Add takes the next record. One that is not behind the last is Invalid and
// names both, a path twice is Conflict; the catalog goes on without it.
func (w *CatalogWriter) Add(r Record) error {
	if err := r.check(); err != nil {
		return err
	}
	key := w.order.keyOf(r)
	if err := w.begin(key, r.Path); err != nil {
		return err
	}
	buf, err := appendRecord(w.buf, r, w.path)
	if err != nil {
		return err
	}
	w.buf, w.path, w.last = buf, append(w.path[:0], r.Path...), append(w.last[:0], key...)
	return w.added(r)
}

// addBody is Add for a record as another catalog has it: what stands behind its
// path, of which r need only say what is counted.
func (w *CatalogWriter) addBody(key, path, body []byte, r Record) error {
	if err := w.begin(string(key), string(path)); err != nil {
		return err
	}
	shared := 0
	for shared < min(len(w.path), len(path)) && w.path[shared] == path[shared] {
		shared++
	}
	rest := path[shared:]
	n := uvarintSize(uint64(shared)) + uvarintSize(uint64(len(rest))) + len(rest) + len(body)
	b := binary.AppendUvarint(w.buf, uint64(n))
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(shared)), uint64(len(rest)))
	w.buf = append(append(b, rest...), body...)
	w.path, w.last = append(w.path[:0], path...), append(w.last[:0], key...)
	return w.added(r)
}

// begin sees to it that a record belongs behind the last one, and has a block
// to go to.
func (w *CatalogWriter) begin(key, path string) error {
	switch {
	case key == string(w.last):
		return fault.New(fault.Conflict, "catalog: %.200q comes twice", path)
	case key < string(w.last):
		return fault.New(fault.Invalid, "catalog: %.200q comes after %.200q, out of order", key, w.last)
	}
	if w.records == 0 {
		w.buf = append(w.buf[:0], make([]byte, blockHeader)...)
		w.path, w.first = w.path[:0], strings.Clone(key)
	}
	return nil
}

// added counts a record, and ends the block if it is full.
func (w *CatalogWriter) added(r Record) error {
	w.records++
	w.counts.add(r)
	if len(w.buf) < blockHeader+blockPayload {
		return nil
	}
	return w.Flush()
}

func uvarintSize(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// Flush ends the block, so that ResumeCatalog finds all records added so far.
func (w *CatalogWriter) Flush() error {
	if w.at == 0 {
		if err := w.write(headerOf(w.order)); err != nil {
			return err
		}
	}
	if w.records == 0 {
		return nil
	}
	sealBlock(w.buf, w.records, uint32(len(w.blocks)))
	at := w.at
	if err := w.write(w.buf); err != nil {
		return err
	}
	w.blocks = append(w.blocks, blockEntry{offset: at, length: int64(len(w.buf)), records: w.records, key: w.first})
	w.buf, w.records = w.buf[:0], 0
	return nil
}

func (w *CatalogWriter) write(b []byte) error {
	n, err := w.w.Write(b)
	w.at += int64(n)
	return fault.Wrap(err, "write catalog, at byte %d", w.at)
}

// Counts returns what the records added so far make together.
func (w *CatalogWriter) Counts() Counts { return w.counts }

// Close ends the catalog. It does not close what is written to.
func (w *CatalogWriter) Close() error {
	if err := w.Flush(); err != nil {
		return err
	}
	offset, index, before := w.at, make([]byte, blockHeader), ""
	for _, e := range w.blocks {
		shared := sharedPrefix(before, e.key)
		index = binary.AppendUvarint(index, uint64(e.length))
		index = binary.AppendUvarint(index, uint64(e.records))
		index = binary.AppendUvarint(index, uint64(shared))
		index = appendText(index, e.key[shared:])
		before = e.key
	}
	if int64(len(index)) > indexNumber {
		return fault.New(fault.Exhausted, "catalog: %d records are more than one index can hold", w.counts.Records)
	}
	sealBlock(index, len(w.blocks), indexNumber)
	if err := w.write(index); err != nil {
		return err
	}
	return w.write(footerOf(w.order, offset, int64(len(index)), w.counts, len(w.blocks)))
}
