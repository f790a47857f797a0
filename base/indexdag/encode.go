package indexdag

import (
	"encoding/base32"
	"encoding/binary"
	"unicode/utf8"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// Major types of CBOR (RFC 8949).
const (
	majorUint byte = iota
	majorNegative
	majorBytes
	majorText
	majorList
	majorMap
	majorTag
	majorSimple
)

// tagLink is the CBOR tag of a CID in DAG-CBOR.
const tagLink = 42

func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, majorNegative, uint64(-1-n))
	}
	return appendHead(b, majorUint, uint64(n))
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// appendName writes a name of the world outside, whose bytes need not be UTF-8.
func appendName(b []byte, s string) []byte {
	if utf8.ValidString(s) {
		return appendText(b, s)
	}
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

func appendLink(b []byte, c cid.Cid) []byte {
	b = appendHead(b, majorTag, tagLink)
	b = appendHead(b, majorBytes, uint64(c.ByteLen()+1))
	return append(append(b, 0), c.KeyString()...) // the multibase prefix of binary
}

// fields writes a map of fewer than 24 keys that come in DAG-CBOR's order: by
// length, then by bytes.
type fields struct {
	b    []byte
	head int // where the map's head is
	n    byte
}

func newFields(b []byte) fields { return fields{b: append(b, 0), head: len(b)} }

func (f *fields) key(name string) {
	f.b = appendText(f.b, name)
	f.n++
}

func (f *fields) text(name, value string) {
	f.key(name)
	f.b = appendText(f.b, value)
}

// maybe leaves the key out where there is nothing to say.
func (f *fields) maybe(name, value string) {
	if value != "" {
		f.text(name, value)
	}
}

func (f *fields) cid(name string, c cid.Cid) {
	if !c.Defined() {
		return
	}
	f.key(name)
	f.b = appendCid(f.b, c)
}

// cidBase32 is the alphabet of a CID's text, RFC 4648 in lower case.
var cidBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// appendCid writes a CID as text, as its String would.
func appendCid(b []byte, c cid.Cid) []byte {
	if c.Version() == 0 {
		return appendText(b, c.String())
	}
	var raw [128]byte
	bytes := append(raw[:0], c.KeyString()...)
	b = appendHead(b, majorText, uint64(1+cidBase32.EncodedLen(len(bytes))))
	return cidBase32.AppendEncode(append(b, 'b'), bytes)
}

func (f *fields) name(name, value string) {
	f.key(name)
	f.b = appendName(f.b, value)
}

func (f *fields) int(name string, n int64) {
	f.key(name)
	f.b = appendInt(f.b, n)
}

func (f *fields) link(name string, c cid.Cid) {
	f.key(name)
	f.b = appendLink(f.b, c)
}

func (f *fields) end() []byte {
	f.b[f.head] = majorMap<<5 | f.n
	return f.b
}

// appendEntry writes an entry other than a directory. Its sources stand at
// link when that is defined.
func appendEntry(b []byte, e Entry, link cid.Cid) []byte {
	f := newFields(b)
	f.cid("cid", e.Cid)
	f.name("name", e.Name())
	if e.Kind == File {
		f.int("size", e.Size)
	}
	f.text("type", e.Kind.String())
	f.mtime(e)
	if e.Kind == File && e.Stored > 0 {
		f.int("stored", e.Stored)
	}
	if e.Kind == Symlink {
		f.name("target", e.Target)
	}
	switch {
	case link.Defined():
		f.link("sources", link)
	case len(e.Sources) > 0:
		f.key("sources")
		f.b = appendSources(f.b, e.Sources)
	}
	return f.end()
}

// appendDir writes the entry of a directory whose own entries stand at link.
func appendDir(b []byte, e Entry, link cid.Cid) []byte {
	f := newFields(b)
	f.cid("cid", e.Cid)
	f.link("link", link)
	f.name("name", e.Name())
	f.int("size", e.Size)
	f.text("type", e.Kind.String())
	f.int("files", e.Files)
	f.mtime(e)
	return f.end()
}

func (f *fields) mtime(e Entry) {
	if !e.ModTime.IsZero() {
		f.int("mtime", e.ModTime.UnixNano())
	}
}

func appendSources(b []byte, sources []Source) []byte {
	b = appendHead(b, majorList, uint64(len(sources)))
	for _, s := range sources {
		b = appendSource(b, s)
	}
	return b
}

func appendSource(b []byte, s Source) []byte {
	f := newFields(b)
	f.key("car")
	f.b = appendHead(f.b, majorList, uint64(2*len(s.CAR)))
	for _, r := range s.CAR {
		f.b = appendInt(appendInt(f.b, r.Offset), r.Length)
	}
	f.cid("cid", s.Cid)
	if s.Path != "" {
		f.name("path", s.Path)
	}
	f.cid("piece", s.Piece)
	if s.alone() {
		f.key("plain")
		f.b = appendInt(appendInt(appendHead(f.b, majorList, 2), s.Plain.Offset), s.Plain.Length)
	}
	f.int("length", s.Length)
	f.int("offset", s.Offset)
	return f.end()
}

func appendPiece(b []byte, p Piece) []byte {
	f := newFields(b)
	f.cid("cid", p.Cid)
	f.cid("root", p.Root)
	f.int("size", p.Size)
	return f.end()
}

func appendHeader(b []byte, h Header, tree, pieces cid.Cid) []byte {
	f := newFields(b)
	f.name("name", h.Name)
	f.cid("root", h.Root)
	f.link("tree", tree)
	f.text("type", "dataset")
	f.int("bytes", h.Bytes)
	f.int("files", h.Files)
	f.link("pieces", pieces)
	if !h.Created.IsZero() {
		f.int("created", h.Created.Unix())
	}
	f.maybe("profile", h.Profile)
	f.int("version", formatOurs)
	f.maybe("encryption", h.Encryption)
	f.maybe("compression", h.Compression)
	return f.end()
}

// nodeBlock names a node by its bytes.
func nodeBlock(data []byte) (blocks.Block, error) {
	c, err := cid.Prefix{Version: 1, Codec: cid.DagCBOR, MhType: mh.SHA2_256, MhLength: -1}.Sum(data)
	if err != nil {
		return nil, fault.Wrap(err, "name an index node")
	}
	return blocks.NewBlockWithCid(data, c)
}
