package block

import (
	"bytes"
	"encoding/binary"
)

// entry says where the block of a key is, or that it is dead.
type entry struct {
	key key
	loc
	run *run   // the sealed run it was found in; nil: in memory
	ord uint32 // its place there
}

// loc is a section of a segment. Offsets and sizes are bytes. It holds no
// pointer, so that a map of many costs the garbage collector nothing.
type loc struct {
	rank uint64 // of two entries with one key the one with the higher rank holds
	seg  uint32
	off  uint32 // of the section in its segment
	size uint32 // of the block
	head uint8  // length prefix and CID, which stand before the block
	flag flag
}

type flag uint8

const (
	dead     flag = 1 << iota // a tombstone
	derived                   // the key is a hash of the multihash, not the digest
	verified                  // its bytes were checked by this process, or came from it; never on disk
)

// entryBytes is the size of an entry in a run.
const entryBytes = 56

// maxSegmentBytes leaves room for one more section below 4 GiB.
const maxSegmentBytes = 1<<32 - 16<<20

func (e loc) has(f flag) bool { return e.flag&f != 0 }

// data is where the block's bytes begin in the segment.
func (e loc) data() int64 { return int64(e.off) + int64(e.head) }

// bytes is the size of the whole section.
func (e loc) bytes() int64 { return int64(e.head) + int64(e.size) }

// at reports whether both entries name the same copy.
func (e loc) at(o loc) bool {
	return e.seg == o.seg && e.off == o.off && e.flag&dead == o.flag&dead
}

func (e entry) append(b []byte) []byte {
	b = append(b, e.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.rank)
	b = binary.LittleEndian.AppendUint32(b, e.seg)
	b = binary.LittleEndian.AppendUint32(b, e.off)
	b = binary.LittleEndian.AppendUint32(b, e.size)
	return append(b, e.head, byte(e.flag&^verified), 0, 0)
}

// decodeEntry reads an entry from entryBytes bytes.
func decodeEntry(b []byte) (e entry) {
	_ = b[entryBytes-1]
	copy(e.key[:], b)
	e.rank = binary.LittleEndian.Uint64(b[32:])
	e.seg = binary.LittleEndian.Uint32(b[40:])
	e.off = binary.LittleEndian.Uint32(b[44:])
	e.size = binary.LittleEndian.Uint32(b[48:])
	e.head, e.flag = b[52], flag(b[53])&^verified
	return e
}

func compareEntries(a, b entry) int { return bytes.Compare(a.key[:], b.key[:]) }
