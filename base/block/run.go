package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"math/bits"
	"sort"
	"sync/atomic"

	"github.com/firth-project/firth/base/fault"
)

// A run is a file of entries sorted by key, made once and never changed:
//
//	pages     of pageEntries entries, each page followed by its CRC-32C
//	fences    the first 8 bytes of each page's first key, big-endian
//	filter    bloom filter, little-endian words
//	footer    magic, number of entries, number of filter words, CRC-32C of
//	          fences and filter, CRC-32C of the footer
//
// Fences, filter and one bit an entry for "verified" stay in memory: about 1.5
// bytes a block.
const (
	pageEntries = 64
	pageBytes   = pageEntries*entryBytes + 4
	footerBytes = 8 + 8 + 8 + 4 + 4
	runMagic    = "firthrn1"
)

type run struct {
	name     string
	file     file
	count    int
	fences   []uint64
	filter   filter
	verified []uint64 // bits; used with atomic
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// errSpoiled marks an index file whose bytes are not what was written.
var errSpoiled = errors.New("the index is rebuilt from the segments at the next start")

func errIndex(name, what string) error {
	return fault.New(fault.Unavailable, "index run %s: %s; %w", name, what, errSpoiled)
}

// memory is what the run holds in memory, in bytes.
func (r *run) memory() int64 {
	return int64(8 * (len(r.fences) + len(r.filter) + len(r.verified)))
}

// page reads the entries of page i into buf, which has pageBytes.
func (r *run) page(i int, buf []byte) ([]byte, error) {
	n := min(pageEntries, r.count-i*pageEntries) * entryBytes
	if _, err := r.file.ReadAt(buf[:n+4], int64(i)*pageBytes); err != nil {
		return nil, classify(err, "read index run %s", r.name)
	}
	if crc32.Checksum(buf[:n], castagnoli()) != binary.LittleEndian.Uint32(buf[n:]) {
		return nil, errIndex(r.name, "a page is corrupt")
	}
	return buf[:n], nil
}

// find looks a key up: at most one page is read, and seldom one in vain.
func (r *run) find(k key) (entry, bool, error) {
	if !r.filter.has(k) {
		return entry{}, false, nil
	}
	fence := binary.BigEndian.Uint64(k[:])
	// Pages from the last one that begins below the fence may hold the key; more
	// than one only if eight bytes of keys are equal.
	first := max(0, sort.Search(len(r.fences), func(i int) bool { return r.fences[i] >= fence })-1)
	var buf [pageBytes]byte
	for p := first; p < len(r.fences) && r.fences[p] <= fence; p++ {
		page, err := r.page(p, buf[:])
		if err != nil {
			return entry{}, false, err
		}
		n := len(page) / entryBytes
		i := sort.Search(n, func(i int) bool { return bytes.Compare(page[i*entryBytes:][:len(k)], k[:]) >= 0 })
		if i < n && key(page[i*entryBytes:][:len(k)]) == k {
			return r.entry(page[i*entryBytes:], p*pageEntries+i), true, nil
		}
	}
	return entry{}, false, nil
}

// entry decodes the entry with ordinal ord.
func (r *run) entry(b []byte, ord int) entry {
	e := decodeEntry(b)
	e.run, e.ord = r, uint32(ord)
	if atomic.LoadUint64(&r.verified[ord/64])>>(ord%64)&1 != 0 {
		e.flag |= verified
	}
	return e
}

func (r *run) markVerified(ord uint32) {
	atomic.OrUint64(&r.verified[ord/64], 1<<(ord%64))
}

// all yields the entries in key order, reading ahead.
func (r *run) all() iter.Seq2[entry, error] {
	const ahead = 32 // pages
	return func(yield func(entry, error) bool) {
		buf := make([]byte, min(ahead*pageBytes, r.pagesEnd()))
		for p := 0; p < len(r.fences); p += ahead {
			n := min(ahead*pageBytes, r.pagesEnd()-p*pageBytes)
			if _, err := r.file.ReadAt(buf[:n], int64(p)*pageBytes); err != nil {
				yield(entry{}, classify(err, "read index run %s", r.name))
				return
			}
			for q, rest := p, buf[:n]; len(rest) > 0; q++ {
				size := min(len(rest), pageBytes)
				page := rest[:size-4]
				if crc32.Checksum(page, castagnoli()) != binary.LittleEndian.Uint32(rest[size-4:]) {
					yield(entry{}, errIndex(r.name, "a page is corrupt"))
					return
				}
				for i := 0; i*entryBytes < len(page); i++ {
					if !yield(r.entry(page[i*entryBytes:], q*pageEntries+i), nil) {
						return
					}
				}
				rest = rest[size:]
			}
		}
	}
}

// pagesEnd is the size of all pages.
func (r *run) pagesEnd() int { return r.count*entryBytes + len(r.fences)*4 }

// filter is a bloom filter whose bits for one key share a cache line. Keys are
// digests, so their own bytes are the hash.
type filter []uint64

// newFilter sizes a filter for n keys: 10 bits each, about 1 % false hits.
func newFilter(n int) filter { return make(filter, 8*max(1, (n*10+511)/512)) }

func (f filter) line(k key) ([]uint64, uint64) {
	h := binary.LittleEndian.Uint64(k[8:])
	i, _ := bits.Mul64(h, uint64(len(f)/8))
	return f[8*i : 8*i+8], binary.LittleEndian.Uint64(k[16:])
}

func (f filter) add(k key) {
	line, h := f.line(k)
	for range 6 {
		line[h>>6&7] |= 1 << (h & 63)
		h >>= 9
	}
}

func (f filter) has(k key) bool {
	line, h := f.line(k)
	for range 6 {
		if line[h>>6&7]>>(h&63)&1 == 0 {
			return false
		}
		h >>= 9
	}
	return true
}
