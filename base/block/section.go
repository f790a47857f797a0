package block

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// A segment is a CARv1 file (https://ipld.io/specs/transport/car/carv1/). Its
// root is the empty identity CID, the customary mark of a CAR without one.
// Beside blocks it holds marks: sections whose CID is an identity CID with a
// codec of the private range, so that any CAR reader can verify and skip them.
const segmentHeader = "\x19\xa2\x65roots\x81\xd8\x2a\x45\x00\x01\x55\x00\x00\x67version\x01"

const (
	codecTombstone = 0x300001 // rank, then the multihash of the block that is dead up to that rank
	codecRank      = 0x300002 // rank of the sections that follow; in shared segments
)

// maxSectionBytes is what a reader believes a section's length up to.
const maxSectionBytes = 8 << 20

// section is one piece of a segment as a scan finds it.
type section struct {
	off  int64
	head int // length prefix and CID
	cid  cid.Cid
	data []byte // valid until the next section is read
	bad  bool   // data does not have the CID's digest
}

func (s section) bytes() int64 { return int64(s.head) + int64(len(s.data)) }

// appendHead appends what stands before a block: the length and the CID.
func appendHead(b []byte, c cid.Cid, size int) []byte {
	b = binary.AppendUvarint(b, uint64(c.ByteLen()+size))
	return append(b, c.KeyString()...)
}

// appendMark appends a whole section that carries payload in its CID.
func appendMark(b []byte, codec uint64, payload []byte) []byte {
	sum, err := mh.Sum(payload, mh.IDENTITY, -1)
	if err != nil {
		panic("block: identity multihash: " + err.Error()) // its length is bounded by the CID check of newItem
	}
	b = appendHead(b, cid.NewCidV1(codec, sum), len(payload))
	return append(b, payload...)
}

func tombstone(b []byte, rank uint64, h mh.Multihash) []byte {
	return appendMark(b, codecTombstone, append(binary.BigEndian.AppendUint64(nil, rank), h...))
}

// mark returns the codec, rank and multihash (of a tombstone) of a mark; codec
// 0 when the section is a block or a mark that this version does not know.
func (s section) mark() (codec, rank uint64, h mh.Multihash) {
	p := s.cid.Prefix()
	if p.MhType != mh.IDENTITY || len(s.data) < 8 {
		return 0, 0, nil
	}
	rank = binary.BigEndian.Uint64(s.data)
	switch {
	case p.Codec == codecRank && len(s.data) == 8:
		return codecRank, rank, nil
	case p.Codec == codecTombstone:
		return codecTombstone, rank, mh.Multihash(s.data[8:])
	}
	return 0, 0, nil
}

// isBlock reports whether the section is a block rather than a mark.
func (s section) isBlock() bool { return s.cid.Prefix().MhType != mh.IDENTITY }

// entry describes a block section in a segment.
func (s section) entry(seg uint32, rank uint64) entry {
	k, d := keyOfCid(s.cid)
	e := entry{key: k, loc: loc{rank: rank, seg: seg, off: uint32(s.off), size: uint32(len(s.data)), head: uint8(s.head)}}
	if d {
		e.flag |= derived
	}
	return e
}

// errFraming is the end of what can be told apart in a segment.
var errFraming = errors.New("no whole section")

// scan calls visit with each section of r between from and size. It returns
// where the last whole section ended, with errFraming when bytes were left that
// are no section. Errors of reading and of visit end it.
func scan(r io.ReaderAt, from, size int64, visit func(section) error) (int64, error) {
	br := bufio.NewReaderSize(io.NewSectionReader(r, from, size-from), int(max(512, min(1<<20, size-from))))
	var buf []byte
	for off := from; ; {
		n, prefix, err := readLength(br)
		if err == io.EOF {
			return off, nil
		}
		if err != nil {
			return off, err
		}
		if cap(buf) < n {
			buf = make([]byte, max(n, 4<<10))
		}
		if _, err = io.ReadFull(br, buf[:n]); err != nil {
			return off, torn(err)
		}
		s, err := parse(off, prefix, buf[:n])
		if err != nil {
			return off, errFraming
		}
		if err := visit(s); err != nil {
			return off, err
		}
		off += s.bytes()
	}
}

// readLength reads a section's length and says how many bytes that took. Four
// bytes hold every length that is allowed; zero and padded forms are not.
func readLength(r io.ByteReader) (n, prefix int, err error) {
	for prefix < 4 {
		b, err := r.ReadByte()
		if err != nil {
			if prefix > 0 || err != io.EOF {
				err = torn(err)
			}
			return 0, 0, err
		}
		n |= int(b&0x7f) << (7 * prefix)
		prefix++
		if b < 0x80 {
			if b == 0 || n > maxSectionBytes {
				return 0, 0, errFraming
			}
			return n, prefix, nil
		}
	}
	return 0, 0, errFraming
}

// torn turns the early end of the input into errFraming.
func torn(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errFraming
	}
	return err
}

// parse reads the CID of a section's body and verifies the rest.
func parse(off int64, prefix int, body []byte) (section, error) {
	used, c, err := cid.CidFromBytes(body)
	if err != nil {
		return section{}, err
	}
	if prefix+used > maxHeadBytes {
		return section{}, errFraming
	}
	s := section{off: off, head: prefix + used, cid: c, data: body[used:]}
	s.bad = verify(c, s.data) != nil
	return s, nil
}

// headCid returns the CID of the block whose section begins with head;
// fault.Invalid when it is not the entry's.
func headCid(e entry, head []byte) (cid.Cid, error) {
	_, n := binary.Uvarint(head)
	if n <= 0 {
		return cid.Undef, fault.New(fault.Invalid, "section at offset %d: no length", e.off)
	}
	_, c, err := cid.CidFromBytes(head[n:])
	if err != nil {
		return cid.Undef, fault.New(fault.Invalid, "section at offset %d: %w", e.off, err)
	}
	if k, _ := keyOfCid(c); k != e.key {
		return cid.Undef, fault.New(fault.Invalid, "section at offset %d: it is of another block, %s", e.off, c)
	}
	return c, nil
}

const maxHeadBytes = 255

// verify returns an error unless data has the digest of c.
func verify(c cid.Cid, data []byte) error {
	h := c.Hash()
	if len(h) == 2+sha256.Size && string(h[:2]) == sha256Prefix {
		if sum := sha256.Sum256(data); string(sum[:]) == string(h[2:]) {
			return nil
		}
		return fault.New(fault.Internal, "block %s: its %d bytes have another digest", c, len(data))
	}
	sum, err := c.Prefix().Sum(data)
	if err == nil && string(sum.Hash()) != string(h) {
		err = fault.New(fault.Internal, "block %s: its %d bytes have another digest", c, len(data))
	}
	return err
}
