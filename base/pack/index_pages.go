package pack

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"

	"github.com/firth-project/firth/base/fault"
)

// An index stands on disk in pages: pageData bytes of it and the CRC-32C of
// the page's number and these bytes. So whichever record is read, it is known
// to be what was written, and nothing else has to be read for that.
const (
	pageSize = 4096
	pageData = pageSize - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func pageSum(number int64, data []byte) uint32 {
	var head [8]byte
	binary.LittleEndian.PutUint64(head[:], uint64(number))
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, data)
}

// pageWriter turns a stream into pages. close writes the last one.
type pageWriter struct {
	w      io.Writer
	number int64
	page   []byte // data of the page at hand
}

func newPageWriter(w io.Writer) *pageWriter {
	return &pageWriter{w: w, page: make([]byte, 0, pageSize)}
}

func (w *pageWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(pageData-len(w.page), len(p))
		w.page = append(w.page, p[:k]...)
		p = p[k:]
		if len(w.page) == pageData {
			if err := w.close(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

// close ends the page at hand.
func (w *pageWriter) close() error {
	if len(w.page) == 0 {
		return nil
	}
	_, err := w.w.Write(binary.LittleEndian.AppendUint32(w.page, pageSum(w.number, w.page)))
	w.number, w.page = w.number+1, w.page[:0]
	return err
}

// pages reads what a pageWriter wrote, at any offset, from any number of
// goroutines.
type pages struct {
	r       io.ReaderAt
	size    int64 // of the data
	scratch sync.Pool
}

// maxPages is how many pages are read at once: 64 KiB.
const maxPages = 16

func openPages(r io.ReaderAt, size int64) (*pages, error) {
	whole, rest := size/pageSize, size%pageSize
	if rest > 0 && rest <= 4 {
		return nil, damagedIndex("is cut short")
	}
	p := &pages{r: r, size: whole*pageData + max(rest-4, 0)}
	p.scratch.New = func() any { return new([maxPages * pageSize]byte) }
	return p, nil
}

// read fills b from offset off of the data. Anything but all of it is an error.
func (p *pages) read(b []byte, off int64) error {
	if off < 0 || off > p.size-int64(len(b)) {
		return damagedIndex("refers to bytes behind its end")
	}
	scratch := p.scratch.Get().(*[maxPages * pageSize]byte)
	defer p.scratch.Put(scratch)
	for len(b) > 0 {
		first := off / pageData
		skip := int(off - first*pageData)
		n, err := p.some(b, scratch[:], first, skip)
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// some reads pages from number first on, checks them, and copies to b what
// follows skip bytes of them.
func (p *pages) some(b, scratch []byte, first int64, skip int) (int, error) {
	want := min((skip+len(b)+pageData-1)/pageData, maxPages)
	raw := scratch[:want*pageSize]
	n, err := p.r.ReadAt(raw, first*pageSize)
	if n < len(raw) && err != nil && err != io.EOF {
		return 0, fault.Wrap(err, "read a piece index at %d", first*pageSize)
	}
	copied := 0
	for raw = raw[:n]; len(raw) > 4 && copied < len(b); first++ {
		page := raw[:min(pageSize, len(raw))]
		raw = raw[len(page):]
		data, sum := page[:len(page)-4], page[len(page)-4:]
		if binary.LittleEndian.Uint32(sum) != pageSum(first, data) {
			return 0, damagedIndex("has a damaged page")
		}
		copied += copy(b[copied:], data[min(skip, len(data)):])
		skip = 0
	}
	if copied == 0 {
		return 0, damagedIndex("is cut short")
	}
	return copied, nil
}

func damagedIndex(what string) error {
	return fault.New(fault.Internal, "piece index: %s; pack the contents again", what)
}
