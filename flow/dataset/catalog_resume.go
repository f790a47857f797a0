package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/firth-project/firth/base/fault"
)

// CatalogFile is what ResumeCatalog needs of an *os.File.
type CatalogFile interface {
	io.ReaderAt
	io.WriteSeeker
	Truncate(size int64) error
}

// ResumeCatalog continues the catalog that f holds up to any byte, in path
// order: what is behind the last whole block (an end, too) is cut off. It
// returns the last record kept, with an empty path when there is none. A file
// that is something else is Invalid and left alone.
func ResumeCatalog(f CatalogFile) (*CatalogWriter, Record, error) {
	w := NewCatalogWriter(f)
	header := make([]byte, catalogHeader)
	n, err := f.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, Record{}, fault.Wrap(err, "resume catalog")
	}
	if !bytes.HasPrefix(headerOf(byPath), header[:n]) {
		return nil, Record{}, fault.New(fault.Invalid, "resume catalog: the file is no list of paths")
	}
	var last Record
	if n == catalogHeader {
		w.at = catalogHeader
		for {
			b, records, err := readBlockAt(f, w.at, uint32(len(w.blocks)))
			if errors.Is(err, io.EOF) || errors.Is(err, errDamaged) {
				break
			}
			if err != nil {
				return nil, Record{}, fault.Wrap(err, "resume catalog")
			}
			if last, err = w.retake(b, records); err != nil {
				return nil, Record{}, fault.Wrap(err, "resume catalog")
			}
		}
	}
	if err := f.Truncate(w.at); err != nil {
		return nil, Record{}, fault.Wrap(err, "resume catalog")
	}
	_, err = f.Seek(w.at, io.SeekStart)
	return w, last, fault.Wrap(err, "resume catalog")
}

// readBlockAt reads a block that may not be there.
func readBlockAt(r io.ReaderAt, off int64, number uint32) (b []byte, records int, err error) {
	head := make([]byte, blockHeader)
	if _, err := r.ReadAt(head, off); err != nil {
		return nil, 0, err
	}
	size := binary.LittleEndian.Uint32(head)
	if size > maxPayload {
		return nil, 0, errDamaged
	}
	b = make([]byte, blockHeader+int(size))
	if n, err := r.ReadAt(b, off); n < len(b) {
		return nil, 0, err
	}
	records, err = openBlock(b, number)
	return b, records, err
}

// retake takes a block that was written before as if it had been added.
func (w *CatalogWriter) retake(b []byte, records int) (last Record, err error) {
	c := cursor{rest: decoder{b: b[blockHeader:]}}
	e := blockEntry{offset: w.at, length: int64(len(b)), records: records}
	for c.next() {
		if last, err = c.record(); err != nil {
			return Record{}, err
		}
		if key := w.order.keyOf(last); e.key == "" {
			e.key = key
		}
		w.counts.add(last)
	}
	if c.rest.bad {
		return Record{}, errDamaged
	}
	w.last = append(w.last[:0], w.order.keyOf(last)...)
	w.blocks = append(w.blocks, e)
	w.at += e.length
	return last, nil
}
