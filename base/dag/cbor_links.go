package dag

import (
	"encoding/binary"
	"errors"

	"github.com/ipfs/go-cid"
)

// Major types of CBOR, RFC 8949 section 3.1.
const (
	cborBytes  = 2
	cborText   = 3
	cborList   = 4
	cborMap    = 5
	cborTag    = 6
	cborSimple = 7
)

// cborLink is the tag of a link: a byte string, a zero before the CID (DAG-CBOR
// specification, "Links").
const cborLink = 42

var errCBOR = errors.New("cut short, or not in the form DAG-CBOR asks for")

// cborLinks returns the links of a DAG-CBOR block in order. It steps from head
// to head, so that text costs nothing.
func cborLinks(b []byte) (out []cid.Cid, err error) {
	link := false
	for left := uint64(1); left > 0; left-- {
		major, n, size := cborHead(b)
		if size == 0 || link && major != cborBytes {
			return nil, errCBOR
		}
		b = b[size:]
		wasLink := link
		link = false
		switch major {
		case cborBytes, cborText:
			if n > uint64(len(b)) || wasLink && (n == 0 || b[0] != 0) {
				return nil, errCBOR
			}
			if wasLink {
				c, err := cid.Cast(b[1:n])
				if err != nil {
					return nil, err
				}
				out = append(out, c)
			}
			b = b[n:]
		case cborList, cborMap:
			if n > uint64(len(b)) { // each item takes a byte at least
				return nil, errCBOR
			}
			left += n
			if major == cborMap {
				left += n
			}
		case cborTag:
			link = n == cborLink
			left++
		}
	}
	return out, nil
}

// cborHead reads an item's type and argument, which takes size bytes; 0 where
// there is none, or not in as few as it could be.
func cborHead(b []byte) (major byte, n uint64, size int) {
	if len(b) == 0 {
		return 0, 0, 0
	}
	major, n = b[0]>>5, uint64(b[0]&31)
	if n < 24 {
		return major, n, 1
	}
	width := 1 << (n - 24)
	if n > 27 || len(b) <= width {
		return 0, 0, 0
	}
	var wide [8]byte
	copy(wide[8-width:], b[1:1+width])
	value := binary.BigEndian.Uint64(wide[:])
	least := uint64(24)
	if width > 1 {
		least = 1 << (4 * width)
	}
	if value < least && major != cborSimple { // a float says nothing by its size
		return 0, 0, 0
	}
	return major, value, 1 + width
}
