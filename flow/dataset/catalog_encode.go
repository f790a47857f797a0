package dataset

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// A record is written as its length and then, numbers as varints and texts
// behind their lengths:
//
//	bytes shared with the path before · rest of the path
//	kind + 8·state (one byte) · size · modified (zigzag) · source
//	ID · target · reason · CID · tree size
//	number of parts, each: piece · offset · length · CID · offset in the CAR · length in the CAR
//	                       number of tops, each: level · index · CID · size · tree size
//
// An undefined CID has no bytes.

// appendRecord appends a record whose path follows before in a block.
func appendRecord(b []byte, r Record, before []byte) ([]byte, error) {
	shared := 0
	for shared < min(len(before), len(r.Path)) && before[shared] == r.Path[shared] {
		shared++
	}
	var room [512]byte
	body := binary.AppendUvarint(room[:0], uint64(shared))
	body, err := appendBody(appendText(body, r.Path[shared:]), r)
	if err != nil {
		return b, err
	}
	return append(binary.AppendUvarint(b, uint64(len(body))), body...), nil
}

// appendBody appends what stands behind a record's path.
func appendBody(body []byte, r Record) ([]byte, error) {
	body = append(body, byte(r.Kind)|byte(r.State)<<3)
	body = binary.AppendUvarint(body, uint64(r.Size))
	body = binary.AppendVarint(body, r.Modified)
	body = binary.AppendUvarint(body, uint64(r.Source))
	body = appendText(appendText(appendText(body, r.ID), r.Target), r.Reason)
	body = appendText(body, r.CID.KeyString())
	body = binary.AppendUvarint(body, r.TreeSize)
	body = binary.AppendUvarint(body, uint64(len(r.Parts)))
	for _, p := range r.Parts {
		body = appendPart(body, p)
	}
	if len(body) > maxRecord {
		return nil, fault.New(fault.Invalid, "catalog: %.200q: %d parts take %d bytes, limit %d", r.Path, len(r.Parts), len(body), maxRecord)
	}
	return body, nil
}

func appendPart(b []byte, p Part) []byte {
	b = binary.AppendUvarint(b, uint64(p.Piece))
	b = binary.AppendUvarint(b, uint64(p.Offset))
	b = binary.AppendUvarint(b, uint64(p.Length))
	b = appendText(b, p.CID.KeyString())
	b = binary.AppendUvarint(b, uint64(p.CAROffset))
	b = binary.AppendUvarint(b, uint64(p.CARLength))
	b = binary.AppendUvarint(b, uint64(len(p.Tops)))
	for _, t := range p.Tops {
		b = binary.AppendUvarint(b, uint64(t.Level))
		b = binary.AppendUvarint(b, uint64(t.Index))
		b = appendText(b, t.Cid.KeyString())
		b = binary.AppendUvarint(b, uint64(t.Size))
		b = binary.AppendUvarint(b, t.TreeSize)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder takes a record apart. After the first thing that is wrong every
// value is zero.
type decoder struct {
	b   []byte
	bad bool
}

var errRecord = errors.New("catalog record: not one")

func (d *decoder) number() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 && !d.bad { // most are short
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

// amount is a number that is not negative as an int64.
func (d *decoder) amount() int64 {
	v := d.number()
	if v > 1<<63-1 {
		d.bad = true
		return 0
	}
	return int64(v)
}

func (d *decoder) signed() int64 {
	v := d.number()
	return int64(v>>1) ^ -int64(v&1)
}

// cid decodes a CID; one that is likely gives its bytes if they are the same.
func (d *decoder) cid(likely cid.Cid) cid.Cid {
	b := d.bytes()
	switch {
	case len(b) == 0:
		return cid.Undef
	case string(b) == likely.KeyString():
		return likely
	}
	c, err := cid.Cast(b)
	if err != nil {
		d.bad = true
		return cid.Undef
	}
	return c
}

// count is a number of things of at least each bytes.
func (d *decoder) count(each int) int {
	n := d.number()
	if n > uint64(len(d.b)/each) {
		d.bad = true
		return 0
	}
	return int(n)
}

// cursor walks the records of a block. It takes a record apart no further
// than it is asked to.
type cursor struct {
	rest decoder // records to come
	path []byte  // of the current record
	text []byte  // its texts, on their way to be one
	body decoder // what is behind the path
}

// next steps to the next record; false is the end, or damage.
func (c *cursor) next() bool {
	if c.rest.bad || len(c.rest.b) == 0 {
		return false
	}
	c.body = decoder{b: c.rest.bytes(), bad: c.rest.bad}
	shared, more := c.body.number(), c.body.bytes()
	if c.body.bad || shared > uint64(len(c.path)) || len(c.body.b) == 0 {
		c.rest.bad = true
		return false
	}
	c.path = append(c.path[:shared], more...)
	return true
}

func (c *cursor) kind() FileKind   { return FileKind(c.body.b[0] & 7) }
func (c *cursor) state() FileState { return FileState(c.body.b[0] >> 3) }

// bare reports whether the current record is whole and has no nodes of a split
// file.
func (c *cursor) bare() bool {
	d := decoder{b: c.body.b[1:]}
	d.number() // size
	d.number() // modified
	d.number() // source
	for range 4 {
		d.bytes() // identity, target, reason, CID
	}
	d.number() // tree size
	nodes := 0
	for range d.count(7) {
		d.number()
		d.number()
		d.number()
		d.bytes()
		d.number()
		d.number()
		nodes += d.count(5)
	}
	return !d.bad && nodes == 0 && len(d.b) == 0
}

// record takes the current record apart.
func (c *cursor) record() (Record, error) {
	r := Record{Kind: c.kind(), State: c.state()}
	d := decoder{b: c.body.b[1:]}
	r.Size, r.Modified, r.Source = d.amount(), d.signed(), d.amount()
	id, target, reason := d.bytes(), d.bytes(), d.bytes()
	c.text = append(append(append(append(c.text[:0], c.path...), id...), target...), reason...)
	all := string(c.text) // one piece of memory for the four
	r.Path, all = all[:len(c.path)], all[len(c.path):]
	r.ID, all = all[:len(id)], all[len(id):]
	r.Target, r.Reason = all[:len(target)], all[len(target):]
	r.CID, r.TreeSize = d.cid(cid.Undef), d.number()
	if n := d.count(7); n > 0 {
		r.Parts = make([]Part, n)
	}
	for i := range r.Parts {
		d.part(&r.Parts[i], r.CID)
	}
	if d.bad || len(d.b) > 0 {
		return Record{}, errRecord
	}
	return r, r.check()
}

// part decodes a part of a file, whose CID it may share.
func (d *decoder) part(p *Part, file cid.Cid) {
	p.Piece, p.Offset, p.Length = d.amount(), d.amount(), d.amount()
	p.CID, p.CAROffset, p.CARLength = d.cid(file), d.amount(), d.amount()
	if n := d.count(5); n > 0 {
		p.Tops = make([]dag.Top, n)
	}
	for i := range p.Tops {
		level := d.number()
		d.bad = d.bad || level > maxLevel
		p.Tops[i] = dag.Top{Level: int(level), Index: d.amount(), Link: dag.Link{Cid: d.cid(cid.Undef), Size: d.amount(), TreeSize: d.number()}}
	}
}

// MarshalText writes the record in the form catalogs have, in base64: JSON
// cannot hold every path.
func (r Record) MarshalText() ([]byte, error) {
	if r.Path == "" {
		return nil, nil
	}
	b, err := appendRecord(nil, r, nil)
	return base64.StdEncoding.AppendEncode(nil, b), err
}

// UnmarshalText reads what MarshalText wrote; anything else is Invalid.
func (r *Record) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return fault.New(fault.Invalid, "catalog record: %w", err)
	}
	*r = Record{}
	if len(b) == 0 {
		return nil
	}
	c := cursor{rest: decoder{b: b}}
	if !c.next() || len(c.rest.b) > 0 {
		return fault.Mark(fault.Invalid, errRecord)
	}
	*r, err = c.record()
	return fault.Mark(fault.Invalid, err)
}
