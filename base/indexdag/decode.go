package indexdag

import (
	"encoding/binary"
	"math"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// maxNested is how deep lists and maps of a node may stand in one another.
const maxNested = 64

// decoder reads DAG-CBOR from bytes it does not copy: definite lengths, no
// floats, no tag but that of a link. What is not that is Invalid. It costs no
// more than the bytes there are, whatever the lengths they claim.
type decoder struct {
	b     []byte
	at    int
	depth int
}

func (d *decoder) bad(what string) error {
	return fault.New(fault.Invalid, "not an index node: %s at byte %d", what, d.at)
}

// head reads the head of an item.
func (d *decoder) head() (major byte, n uint64, err error) {
	if d.at >= len(d.b) {
		return 0, 0, d.bad("end")
	}
	first := d.b[d.at]
	major, size := first>>5, int(first&31)
	d.at++
	switch {
	case size < 24:
		return major, uint64(size), nil
	case size > 27:
		return 0, 0, d.bad("indefinite length")
	}
	size = 1 << (size - 24)
	if len(d.b)-d.at < size {
		return 0, 0, d.bad("end")
	}
	var full [8]byte
	copy(full[8-size:], d.b[d.at:])
	d.at += size
	return major, binary.BigEndian.Uint64(full[:]), nil
}

// peek returns the major type of the next item.
func (d *decoder) peek() byte {
	if d.at >= len(d.b) {
		return 0xff
	}
	return d.b[d.at] >> 5
}

// string reads bytes of a major type.
func (d *decoder) string(major byte) (string, error) {
	got, n, err := d.head()
	if err != nil {
		return "", err
	}
	if got != major {
		return "", d.bad("another type than expected")
	}
	if n > uint64(len(d.b)-d.at) {
		return "", d.bad("end")
	}
	s := string(d.b[d.at : d.at+int(n)])
	d.at += int(n)
	return s, nil
}

func (d *decoder) text() (string, error) { return d.string(majorText) }

// name reads a name of the world outside: text or bytes.
func (d *decoder) name() (string, error) {
	if d.peek() == majorBytes {
		return d.string(majorBytes)
	}
	return d.string(majorText)
}

func (d *decoder) int() (int64, error) {
	major, n, err := d.head()
	switch {
	case err != nil:
		return 0, err
	case n > math.MaxInt64 || major > majorNegative:
		return 0, d.bad("not a number below 2^63")
	case major == majorNegative:
		return -1 - int64(n), nil
	}
	return int64(n), nil
}

// size reads a number of bytes or things.
func (d *decoder) size() (int64, error) {
	n, err := d.int()
	if err == nil && n < 0 {
		err = d.bad("a negative size")
	}
	return n, err
}

func (d *decoder) link() (cid.Cid, error) {
	major, tag, err := d.head()
	if err != nil {
		return cid.Undef, err
	}
	if major != majorTag || tag != tagLink {
		return cid.Undef, d.bad("not a link")
	}
	s, err := d.string(majorBytes)
	if err != nil {
		return cid.Undef, err
	}
	if s == "" || s[0] != 0 {
		return cid.Undef, d.bad("not a link")
	}
	c, err := cid.Cast([]byte(s[1:]))
	if err != nil {
		return cid.Undef, d.bad(err.Error())
	}
	return c, nil
}

// cid reads a CID as text or as a link.
func (d *decoder) cid() (cid.Cid, error) {
	if d.peek() == majorTag {
		return d.link()
	}
	s, err := d.text()
	if err != nil {
		return cid.Undef, err
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, d.bad(err.Error())
	}
	return c, nil
}

// each reads a map or list and calls item for every key or element, which it
// has to read.
func (d *decoder) each(major byte, item func(key string) error) error {
	got, n, err := d.head()
	if err != nil {
		return err
	}
	if got != major {
		return d.bad("another type than expected")
	}
	if n > uint64(len(d.b)-d.at) {
		return d.bad("end")
	}
	if d.depth == maxNested {
		return d.bad("too deep")
	}
	d.depth++
	defer func() { d.depth-- }()
	for range n {
		key := ""
		if major == majorMap {
			if key, err = d.name(); err != nil {
				return err
			}
		}
		if err := item(key); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) fields(item func(key string) error) error { return d.each(majorMap, item) }

func (d *decoder) list(item func() error) error {
	return d.each(majorList, func(string) error { return item() })
}

// skip passes over one item of any type.
func (d *decoder) skip() error {
	switch d.peek() {
	case majorBytes, majorText:
		_, err := d.string(d.peek())
		return err
	case majorList, majorMap:
		return d.each(d.peek(), func(string) error { return d.skip() })
	case majorTag:
		_, err := d.link()
		return err
	case majorSimple:
		return d.simple()
	}
	_, err := d.int()
	return err
}

// simple passes over true, false, null and numbers with a fraction.
func (d *decoder) simple() error {
	first := d.b[d.at] & 31
	_, _, err := d.head()
	if err == nil && (first < 20 || first > 22) && first != 27 {
		err = d.bad("a simple value")
	}
	return err
}
