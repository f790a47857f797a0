package block

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
)

// runWriter writes a run front to back.
type runWriter struct {
	run
	buf  []byte // the pages not written yet
	page int    // where the current page begins in buf
	off  int64
}

const writeAhead = 256 << 10

// writeRun makes a run file of entries, which come in key order, no key twice.
// capacity is at least their number. The file is durable, and open for reading.
// There is no file when it fails.
func writeRun(fs files, name string, capacity int, entries iter.Seq2[entry, error]) (*run, error) {
	f, err := fs.create(name)
	if err != nil {
		return nil, classify(err, "write index run %s in %s", name, fs)
	}
	w := &runWriter{run: run{name: name, file: f, filter: newFilter(capacity), verified: make([]uint64, (capacity+63)/64)}}
	err = w.write(entries)
	if err == nil {
		err = f.sync()
	}
	if err == nil {
		err = fs.sync(indexFolder)
	}
	if err != nil {
		return nil, classify(errors.Join(err, f.Close(), fs.remove(name)), "write index run %s in %s", name, fs)
	}
	r := w.run
	return &r, nil
}

func (w *runWriter) write(entries iter.Seq2[entry, error]) error {
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := w.add(e); err != nil {
			return err
		}
	}
	w.endPage()
	if err := w.flush(); err != nil {
		return err
	}
	return w.file.writeAt([][]byte{w.tail()}, w.off)
}

func (w *runWriter) add(e entry) error {
	if w.count%pageEntries == 0 {
		w.endPage()
		if len(w.buf) >= writeAhead {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.page = len(w.buf)
		w.fences = append(w.fences, binary.BigEndian.Uint64(e.key[:]))
	}
	w.buf = e.append(w.buf)
	w.filter.add(e.key)
	if e.has(verified) {
		w.markVerified(uint32(w.count))
	}
	w.count++
	return nil
}

func (w *runWriter) endPage() {
	if len(w.buf) > w.page {
		w.buf = binary.LittleEndian.AppendUint32(w.buf, crc32.Checksum(w.buf[w.page:], castagnoli()))
		w.page = len(w.buf)
	}
}

func (w *runWriter) flush() error {
	err := w.file.writeAt([][]byte{w.buf}, w.off)
	w.off += int64(len(w.buf))
	w.buf, w.page = w.buf[:0], 0
	return err
}

// tail is all that follows the pages.
func (w *runWriter) tail() []byte {
	var b []byte
	for _, x := range w.fences {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	for _, x := range w.filter {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	sum := crc32.Checksum(b, castagnoli())
	start := len(b)
	b = append(b, runMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.count))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.filter)))
	b = binary.LittleEndian.AppendUint32(b, sum)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

// openRun opens a run and reads what of it stays in memory.
func openRun(fs files, name string) (*run, error) {
	f, err := fs.open(name)
	if err != nil {
		return nil, classify(err, "open index run %s in %s", name, fs)
	}
	r := &run{name: name, file: f}
	if err := r.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *run) load() error {
	size, err := r.file.size()
	if err != nil {
		return classify(err, "open index run %s", r.name)
	}
	var foot [footerBytes]byte
	if size < footerBytes {
		return errIndex(r.name, "it is cut short")
	}
	if _, err := r.file.ReadAt(foot[:], size-footerBytes); err != nil {
		return classify(err, "open index run %s", r.name)
	}
	le := binary.LittleEndian
	count, words := le.Uint64(foot[8:]), le.Uint64(foot[16:])
	if string(foot[:8]) != runMagic || crc32.Checksum(foot[:28], castagnoli()) != le.Uint32(foot[28:]) ||
		count > uint64(size) || words > uint64(size) || words == 0 || words%8 != 0 {
		return errIndex(r.name, "its footer is corrupt")
	}
	pages := (count + pageEntries - 1) / pageEntries
	if count*entryBytes+pages*4+pages*8+words*8+footerBytes != uint64(size) {
		return errIndex(r.name, "its size is wrong")
	}
	tail := make([]byte, (pages+words)*8)
	if _, err := r.file.ReadAt(tail, size-footerBytes-int64(len(tail))); err != nil {
		return classify(err, "open index run %s", r.name)
	}
	if crc32.Checksum(tail, castagnoli()) != le.Uint32(foot[24:]) {
		return errIndex(r.name, "its fences are corrupt")
	}
	r.count = int(count)
	r.fences, r.filter = make([]uint64, pages), make(filter, words)
	for i := range r.fences {
		r.fences[i] = binary.BigEndian.Uint64(tail[8*i:])
	}
	for i := range r.filter {
		r.filter[i] = le.Uint64(tail[8*(int(pages)+i):])
	}
	r.verified = make([]uint64, (count+63)/64)
	return nil
}
