package dataset

import (
	"encoding/binary"
	"io"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// readAhead bounds what an iteration reads at once, in bytes. It begins with
// one block, so that a page costs a page.
const readAhead = 1 << 20

// Catalog is a finished list of records. It may be used by several goroutines
// and holds about 80 bytes for 64 KiB of records. Damage is found when a block
// is read and is Internal.
type Catalog struct {
	r      io.ReaderAt
	order  order
	counts Counts
	blocks []blockEntry
}

// OpenCatalog opens a catalog of size bytes.
func OpenCatalog(r io.ReaderAt, size int64) (*Catalog, error) {
	if size < catalogHeader+blockHeader+catalogFooter {
		return nil, fault.Wrap(errDamaged, "%d bytes", size)
	}
	var header [catalogHeader]byte
	var footer [catalogFooter]byte
	if err := readFull(r, header[:], 0); err != nil {
		return nil, err
	}
	if err := readFull(r, footer[:], size-catalogFooter); err != nil {
		return nil, err
	}
	o := order(binary.LittleEndian.Uint32(header[12:]))
	sum, blocks := binary.LittleEndian.Uint32(footer[116:]), binary.LittleEndian.Uint32(footer[112:])
	if string(header[:8]) != catalogMagic || string(footer[120:]) != catalogEnd || o >= orders || sum != footerSum(header[:], footer[:116]) {
		return nil, fault.Wrap(errDamaged, "header or footer")
	}
	if v := binary.LittleEndian.Uint32(header[8:]); v != catalogVersion {
		return nil, fault.New(fault.Invalid, "catalog: version %d, this program knows %d", v, catalogVersion)
	}
	c := &Catalog{r: r, order: o}
	for i, n := range c.counts.list() {
		*n = int64(binary.LittleEndian.Uint64(footer[16+8*i:]))
	}
	offset, length := binary.LittleEndian.Uint64(footer[0:]), binary.LittleEndian.Uint64(footer[8:])
	if room := uint64(size - catalogFooter); offset < catalogHeader || offset > room || length != room-offset {
		return nil, fault.Wrap(errDamaged, "index of %d bytes at %d", length, offset)
	}
	return c, c.readIndex(int64(offset), int64(length), blocks)
}

// readFull reads all of b; an end is damage.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF || err == nil {
		return fault.Wrap(errDamaged, "ends before byte %d", off+int64(len(b)))
	}
	return fault.Wrap(err, "read catalog at byte %d", off)
}

func (c *Catalog) readIndex(offset, length int64, blocks uint32) error {
	b := make([]byte, length)
	if err := readFull(c.r, b, offset); err != nil {
		return err
	}
	n, err := openBlock(b, indexNumber)
	if err != nil || n != int(blocks) || n > len(b)/4 {
		return fault.Wrap(errDamaged, "index")
	}
	d, at, key, records := decoder{b: b[blockHeader:]}, int64(catalogHeader), "", int64(0)
	c.blocks = make([]blockEntry, 0, n)
	for range n {
		e := blockEntry{offset: at, length: d.amount(), records: int(d.amount())}
		shared, rest := d.number(), d.bytes()
		if d.bad || shared > uint64(len(key)) || e.length > maxPayload+blockHeader || e.length > offset-at {
			return fault.Wrap(errDamaged, "index")
		}
		key = key[:shared] + string(rest)
		e.key = key
		at += e.length
		records += int64(e.records)
		c.blocks = append(c.blocks, e)
	}
	if len(d.b) > 0 || at != offset || records != c.counts.Records {
		return fault.Wrap(errDamaged, "index")
	}
	return nil
}

// Len returns the number of records.
func (c *Catalog) Len() int64 { return c.counts.Records }

// Counts returns what the records make together.
func (c *Catalog) Counts() Counts { return c.counts }

// From yields the records from path on, in order; "" is all of them, and a
// path with a zero byte behind it is what follows that path. It ends after an
// error.
func (c *Catalog) From(path string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := c.scan(path, func(_ []byte, at *cursor) (bool, error) {
			r, err := at.record()
			if err != nil {
				return false, err
			}
			return yield(r, nil), nil
		})
		if err != nil {
			yield(Record{}, err)
		}
	}
}

// Lookup returns the record of a path, NotFound when there is none. It reads
// at most four blocks.
func (c *Catalog) Lookup(path string) (Record, error) {
	for _, key := range []string{path, path + "/"} {
		for r, err := range c.From(key) {
			if err != nil {
				return Record{}, err
			}
			if r.key() == key {
				return r, nil
			}
			break
		}
	}
	return Record{}, fault.New(fault.NotFound, "%.200q: not in the catalog", path)
}

// scan calls visit with every record from a key on until it returns false. Key
// and cursor are valid during the call.
func (c *Catalog) scan(from string, visit func(key []byte, at *cursor) (more bool, err error)) error {
	var key, b []byte
	ahead := int64(0)
	for first := c.blockOf(from); first < len(c.blocks); {
		run := c.blocks[first : first+1]
		for n := first + 2; n <= len(c.blocks) && c.blocks[n-1].end()-run[0].offset <= ahead; n++ {
			run = c.blocks[first:n]
		}
		ahead = min(readAhead, max(2*ahead, 2*blockPayload))
		size := int(run[len(run)-1].end() - run[0].offset)
		b = slices.Grow(b[:0], size)[:size]
		if err := readFull(c.r, b, run[0].offset); err != nil {
			return err
		}
		for i, e := range run {
			more, err := c.scanBlock(b[e.offset-run[0].offset:][:e.length], first+i, from, &key, visit)
			if err != nil || !more {
				return err
			}
		}
		first += len(run)
	}
	return nil
}

func (c *Catalog) scanBlock(b []byte, number int, from string, key *[]byte, visit func([]byte, *cursor) (bool, error)) (bool, error) {
	records, err := openBlock(b, uint32(number))
	if err != nil || records != c.blocks[number].records {
		return false, fault.Wrap(errDamaged, "block %d", number)
	}
	at, seen := cursor{rest: decoder{b: b[blockHeader:]}}, 0
	for at.next() {
		*key = c.order.appendKey((*key)[:0], at.path, at.kind())
		if seen++; string(*key) < from {
			continue
		}
		more, err := visit(*key, &at)
		if err != nil || !more {
			return false, err
		}
	}
	if at.rest.bad || seen != records {
		return false, fault.Wrap(errDamaged, "block %d", number)
	}
	return true, nil
}

// blockOf returns the number of the block that a key is in if it is anywhere.
func (c *Catalog) blockOf(key string) int {
	after := sort.Search(len(c.blocks), func(i int) bool { return c.blocks[i].key > key })
	return max(0, after-1)
}

// blocksOf returns how many blocks hold keys with a prefix.
func (c *Catalog) blocksOf(prefix string) int {
	end := sort.Search(len(c.blocks), func(i int) bool {
		return c.blocks[i].key > prefix && !strings.HasPrefix(c.blocks[i].key, prefix)
	})
	return end - c.blockOf(prefix)
}
