package dataset

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/firth-project/firth/base/fault"
)

// A catalog is one flat file, numbers little-endian:
//
//	header  "firthcat" · version u32 · order u32
//	blocks  of about 64 KiB: payload length u32 · records u32 · number of the block u32 ·
//	        CRC-32C of these 12 bytes and the payload u32 · payload: records, paths sharing prefixes
//	index   a block with number 2³²-1 and for each block: its length, records, first key
//	footer  index offset u64 · index length u64 · 12 counts u64 · blocks u32 ·
//	        CRC-32C of the header and these u32 · "firthend"
//
// A reader holds the index (about 80 bytes for 64 KiB) and a block.
const (
	catalogMagic   = "firthcat"
	catalogEnd     = "firthend"
	catalogVersion = 1

	catalogHeader = 16
	blockHeader   = 16
	catalogFooter = 128

	blockPayload = 64 << 10 // bytes at which a block ends
	maxPayload   = blockPayload + 2*maxRecord
	indexNumber  = 1<<32 - 1
)

// castagnoli is CRC-32C's table, which processors have instructions for.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

var errDamaged = fault.New(fault.Internal, "catalog: damaged; prepare the dataset again")

// blockEntry is a block in the index.
type blockEntry struct {
	offset, length int64 // header included
	records        int
	key            string // of the first record
}

func (e blockEntry) end() int64 { return e.offset + e.length }

func headerOf(o order) []byte {
	b := append(make([]byte, 0, catalogHeader), catalogMagic...)
	b = binary.LittleEndian.AppendUint32(b, catalogVersion)
	return binary.LittleEndian.AppendUint32(b, uint32(o))
}

// sealBlock fills in the header of a block.
func sealBlock(b []byte, records int, number uint32) {
	binary.LittleEndian.PutUint32(b[0:], uint32(len(b)-blockHeader))
	binary.LittleEndian.PutUint32(b[4:], uint32(records))
	binary.LittleEndian.PutUint32(b[8:], number)
	binary.LittleEndian.PutUint32(b[12:], blockSum(b))
}

func blockSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli()), castagnoli(), b[blockHeader:])
}

// openBlock holds a block to its header.
func openBlock(b []byte, number uint32) (records int, err error) {
	if len(b) < blockHeader || int64(binary.LittleEndian.Uint32(b)) != int64(len(b)-blockHeader) ||
		binary.LittleEndian.Uint32(b[8:]) != number || binary.LittleEndian.Uint32(b[12:]) != blockSum(b) {
		return 0, errDamaged
	}
	return int(binary.LittleEndian.Uint32(b[4:])), nil
}

func footerOf(o order, offset, length int64, c Counts, blocks int) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, catalogFooter), uint64(offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(length))
	for _, n := range c.list() {
		b = binary.LittleEndian.AppendUint64(b, uint64(*n))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(blocks))
	b = binary.LittleEndian.AppendUint32(b, footerSum(headerOf(o), b))
	return append(b, catalogEnd...)
}

func footerSum(header, footer []byte) uint32 {
	return crc32.Update(crc32.Checksum(header, castagnoli()), castagnoli(), footer)
}

// list is the order in which the footer has the counts.
func (c *Counts) list() [12]*int64 {
	return [...]*int64{&c.Records, &c.Files, &c.Links, &c.Directories, &c.Bytes,
		&c.Pending, &c.Packed, &c.Skipped, &c.Carried, &c.PackedBytes, &c.SkippedBytes, &c.CarriedBytes}
}

func sharedPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
