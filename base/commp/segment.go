package commp

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// Segment is an entry of the index of an aggregate (FRC-0058): a piece that
// stands in it as a subtree.
type Segment struct {
	Root   Node   `json:"root"`
	Offset uint64 `json:"offset"` // in padded bytes of the aggregate
	Size   uint64 `json:"size"`   // in padded bytes
}

// segmentSize is the bytes of an entry: two leaves of the aggregate's tree.
const segmentSize = 2 * nodeSize

// RawOffset returns where the segment's data begins in the aggregate's data.
func (s Segment) RawOffset() int64 { return int64(s.Offset / quadPadded * quadRaw) }

// RawSize returns how many bytes of the aggregate's data are the segment's:
// its piece's data and the zeros after it.
func (s Segment) RawSize() int64 { return int64(s.Size / quadPadded * quadRaw) }

// encode returns the entry: root, offset, size and 126 bits of SHA-256 over the
// entry without them, integers little-endian.
func (s Segment) encode() (out [segmentSize]byte) {
	copy(out[:], s.Root[:])
	binary.LittleEndian.PutUint64(out[32:], s.Offset)
	binary.LittleEndian.PutUint64(out[40:], s.Size)
	sum := sha256.Sum256(out[:])
	sum[15] &= 0x3f
	copy(out[48:], sum[:16])
	return out
}

// node is the root over the entry's two leaves.
func (s Segment) node() (n Node) {
	entry := s.encode()
	nodesPortable(n[:], entry[:])
	return n
}

// decodeSegment reads an entry; ok is whether FRC-0058 has it be one.
func decodeSegment(entry []byte) (s Segment, ok bool) {
	s = Segment{
		Root:   Node(entry),
		Offset: binary.LittleEndian.Uint64(entry[32:]),
		Size:   binary.LittleEndian.Uint64(entry[40:]),
	}
	want := s.encode()
	return s, bytes.Equal(entry, want[:]) && s.Offset%quadPadded == 0 && s.Size%quadPadded == 0
}

// indexSize returns the padded bytes at the end of an aggregate that are its
// index: an entry for each 128 KiB, as many as a power of two and at least four.
func indexSize(padded uint64) uint64 { return max(padded/2048, 4*segmentSize) }

// IndexOffset returns where in the raw bytes of an aggregate of a padded size
// its index begins; it goes to the end. An aggregate has 256 bytes at least.
func IndexOffset(padded uint64) int64 {
	return int64(MaxRawSize(padded) - MaxRawSize(indexSize(padded)))
}

// ParseIndex reads the segments from the raw bytes of an aggregate's index.
// What is no valid entry is passed over, as FRC-0058 wants it: that a segment
// is listed promises nothing before an Inclusion of it is verified. The error
// is ErrInput when the length is no multiple of 127.
func ParseIndex(raw []byte) ([]Segment, error) {
	if len(raw)%quadRaw != 0 {
		return nil, inputError("index of %d bytes, want a multiple of %d", len(raw), quadRaw)
	}
	var out []Segment
	var quad [quadPadded]byte
	for ; len(raw) > 0; raw = raw[quadRaw:] {
		expand(&quad, (*[quadRaw]byte)(raw))
		for at := 0; at < len(quad); at += segmentSize {
			if s, ok := decodeSegment(quad[at : at+segmentSize]); ok {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// contract undoes expand: of each 256 bits the lower 254, joined.
func contract(out *[quadRaw]byte, in *[quadPadded]byte) {
	clear(out[:])
	for i, b := range in {
		bit := i*8 - i/nodeSize*2
		if i%nodeSize == nodeSize-1 {
			b &= 0x3f
		}
		out[bit/8] |= b << (bit % 8)
		if over := b >> (8 - bit%8); bit/8+1 < quadRaw {
			out[bit/8+1] |= over
		}
	}
}
