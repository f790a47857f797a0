package dag

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/boxo/verifcid"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-varint"

	"github.com/firth-project/firth/base/fault"
)

const (
	maxCARHeader = 1 << 20 // bytes; some 25,000 roots
	maxCIDBytes  = 256     // in a section, beside the block

	carV2Pragma = 11 // bytes of the CARv2 pragma, with its length
	carV2Header = 40 // bytes of the fixed header after it
)

// CAROptions are the limits and liberties of a CARReader.
type CAROptions struct {
	MaxBlock   int  // bytes of a block, 0 = MaxBlockSize
	MaxHeader  int  // bytes of the header, 0 = 1 MiB
	ZeroPadded bool // zeros after the last section, up to the end, are no fault
}

// CARReader reads a CAR, version 1 or 2, from beginning to end and checks every
// digest (CARv1 and CARv2 specifications). Memory is one block and the header.
type CARReader struct {
	Version int
	Roots   []cid.Cid // as in the header; may be empty, may repeat

	o       CAROptions
	r       *bufio.Reader
	at      int64 // offset of the next byte
	end     int64 // of a CARv2's payload; -1 = where the stream ends
	section int
	start   int64 // offset of the section being read
	absent  map[string]cid.Cid
	err     error
}

// NewCARReader reads the header. A broken one is Invalid with a CARError
// inside; an error of r itself keeps its kind.
func NewCARReader(r io.Reader, o CAROptions) (*CARReader, error) {
	if o.MaxBlock == 0 {
		o.MaxBlock = MaxBlockSize
	}
	if o.MaxHeader == 0 {
		o.MaxHeader = maxCARHeader
	}
	c := &CARReader{o: o, r: bufio.NewReaderSize(r, 64<<10), end: -1, absent: map[string]cid.Cid{}}
	version, err := c.header()
	if err == nil && version == 2 {
		version, err = c.wrapped()
	}
	if err != nil {
		return nil, err
	}
	for _, root := range c.Roots {
		if !isIdentity(root) {
			c.absent[root.KeyString()] = root
		}
	}
	c.Version = version
	return c, nil
}

// MissingRoots returns the roots no section was read for, in the header's
// order and each once: after io.EOF, those the CAR lacks. Such a CAR is sound
// but its DAG is not complete in it.
func (r *CARReader) MissingRoots() []cid.Cid {
	var out []cid.Cid
	named := map[string]bool{}
	for _, root := range r.Roots {
		if _, ok := r.absent[root.KeyString()]; ok && !named[root.KeyString()] {
			named[root.KeyString()] = true
			out = append(out, root)
		}
	}
	return out
}

// Next returns the next block and the offset in the stream at which its data
// begin; its section begins len(CARSectionHeader) before. At the end it is
// io.EOF. A block may come twice, and an identity CID may have a section.
func (r *CARReader) Next() (blocks.Block, int64, error) {
	if r.err != nil {
		return nil, 0, r.err
	}
	b, offset, err := r.next()
	if err != nil {
		r.err = err
		return nil, 0, err
	}
	delete(r.absent, b.Cid().KeyString())
	return b, offset, nil
}

func (r *CARReader) next() (blocks.Block, int64, error) {
	r.section, r.start = r.section+1, r.at
	if r.at == r.end {
		return nil, 0, io.EOF
	}
	length, err := varint.ReadUvarint(carBytes{r})
	switch {
	case errors.Is(err, io.EOF) && r.end < 0:
		return nil, 0, io.EOF
	case err != nil:
		return nil, 0, r.lengthError(err)
	case length == 0:
		return nil, 0, r.zeros()
	case length > uint64(r.o.MaxBlock)+maxCIDBytes:
		return nil, 0, r.broken(CARTooLarge, fmt.Errorf("section of %d bytes, blocks are limited to %d", length, r.o.MaxBlock))
	}
	body := make([]byte, length)
	if err := r.full(body); err != nil {
		return nil, 0, err
	}
	n, c, err := cid.CidFromBytes(body)
	if err != nil {
		return nil, 0, r.broken(CARBadCID, err)
	}
	data := body[n:]
	if len(data) > r.o.MaxBlock {
		return nil, 0, r.broken(CARTooLarge, fmt.Errorf("block %s of %d bytes, limit %d", c, len(data), r.o.MaxBlock))
	}
	if err := r.verify(c, data); err != nil {
		return nil, 0, err
	}
	b, err := blocks.NewBlockWithCid(data, c)
	return b, r.at - int64(len(data)), err
}

func (r *CARReader) verify(c cid.Cid, data []byte) error {
	if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, c); err != nil {
		return r.broken(CARBadCID, fmt.Errorf("%s: %w", c, err))
	}
	if own, ok := inline(c); ok {
		if !bytes.Equal(own, data) {
			return r.broken(CARDigestMismatch, fmt.Errorf("identity CID %s", c))
		}
		return nil
	}
	got, err := c.Prefix().Sum(data)
	if err != nil {
		return r.broken(CARBadCID, fmt.Errorf("%s: %w", c, err))
	}
	if !got.Equals(c) {
		return r.broken(CARDigestMismatch, fmt.Errorf("announced %s, is %s", c, got))
	}
	return nil
}

// zeros ends the stream where padding is allowed and only zeros follow.
func (r *CARReader) zeros() error {
	for r.o.ZeroPadded {
		b, err := carBytes{r}.ReadByte()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return err
		}
		if b != 0 {
			break
		}
	}
	return r.broken(CARZeroSection, nil)
}

// header reads a CARv1 header or a CARv2 pragma, which has the same frame.
func (r *CARReader) header() (version int, err error) {
	r.start = r.at
	length, err := varint.ReadUvarint(carBytes{r})
	switch {
	case errors.Is(err, io.EOF) && r.at == 0:
		return 0, r.broken(CAREmpty, nil)
	case err != nil:
		return 0, r.lengthError(err)
	case length == 0:
		return 0, r.broken(CARBadHeader, errors.New("of no bytes"))
	case length > uint64(r.o.MaxHeader):
		return 0, r.broken(CARTooLarge, fmt.Errorf("header of %d bytes, limit %d", length, r.o.MaxHeader))
	}
	body := make([]byte, length)
	if err := r.full(body); err != nil {
		return 0, err
	}
	nb := basicnode.Prototype.Map.NewBuilder()
	if err := dagcbor.Decode(nb, bytes.NewReader(body)); err != nil {
		return 0, r.broken(CARBadHeader, err)
	}
	head := nb.Build()
	v, err := head.LookupByString("version")
	if err != nil {
		return 0, r.broken(CARBadVersion, errors.New("none given"))
	}
	number, err := v.AsInt()
	switch {
	case err != nil || number < 1 || number > 2:
		return 0, r.broken(CARBadVersion, errors.New("neither 1 nor 2"))
	case number == 2 && length != carV2Pragma-1:
		return 0, r.broken(CARBadHeader, errors.New("not the pragma of CARv2"))
	case number == 2:
		return 2, nil
	}
	roots, err := head.LookupByString("roots")
	if err != nil {
		return 0, r.broken(CARBadHeader, errors.New("no roots, not even an empty list"))
	}
	list := roots.ListIterator()
	if list == nil {
		return 0, r.broken(CARBadHeader, errors.New("roots are not a list"))
	}
	for !list.Done() {
		_, item, err := list.Next()
		if err != nil {
			return 0, r.broken(CARBadHeader, err)
		}
		link, err := item.AsLink()
		root, ok := link.(cidlink.Link)
		if err != nil || !ok {
			return 0, r.broken(CARBadHeader, errors.New("a root is not a CID"))
		}
		r.Roots = append(r.Roots, root.Cid)
	}
	return 1, nil
}

// wrapped reads what stands between a CARv2's pragma and its payload, and the
// payload's own header.
func (r *CARReader) wrapped() (version int, err error) {
	var head [carV2Header]byte
	if err := r.full(head[:]); err != nil {
		return 0, err
	}
	offset, size := binary.LittleEndian.Uint64(head[16:]), binary.LittleEndian.Uint64(head[24:])
	index := binary.LittleEndian.Uint64(head[32:])
	const first = carV2Pragma + carV2Header
	switch {
	case offset < first || offset > 1<<61:
		return 0, r.broken(CARBadHeader, fmt.Errorf("data at byte %d", offset))
	case size == 0 || size > 1<<61:
		return 0, r.broken(CARBadHeader, fmt.Errorf("data of %d bytes", size))
	case index != 0 && index < offset+size:
		return 0, r.broken(CARBadHeader, fmt.Errorf("index at byte %d, inside the data", index))
	}
	skipped, err := io.CopyN(io.Discard, r.r, int64(offset-first))
	r.at += skipped
	if err != nil {
		return 0, r.readError(err)
	}
	r.end = int64(offset + size)
	if version, err = r.header(); err != nil {
		return 0, err
	}
	if version != 1 {
		return 0, r.broken(CARBadVersion, errors.New("a CARv2 inside a CARv2"))
	}
	return 2, nil
}

// carBytes reads a CAR's bytes one by one, for varints and padding. It ends
// with the payload.
type carBytes struct{ *CARReader }

func (r carBytes) ReadByte() (byte, error) {
	if r.at == r.end {
		return 0, io.EOF
	}
	b, err := r.r.ReadByte()
	if err == nil {
		r.at++
	}
	return b, err
}

// full fills p; an end before that is truncation.
func (r *CARReader) full(p []byte) error {
	if r.end >= 0 && int64(len(p)) > r.end-r.at {
		return r.broken(CARTruncated, fmt.Errorf("%d bytes announced, %d left of the payload", len(p), r.end-r.at))
	}
	n, err := io.ReadFull(r.r, p)
	r.at += int64(n)
	if err != nil {
		return r.readError(err)
	}
	return nil
}

func (r *CARReader) lengthError(err error) error {
	if errors.Is(err, varint.ErrOverflow) || errors.Is(err, varint.ErrNotMinimal) {
		return r.broken(CARBadVarint, err)
	}
	return r.readError(err)
}

// readError tells the end of the stream from an error of the reader below.
func (r *CARReader) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.broken(CARTruncated, nil)
	}
	return fault.Wrap(err, "read CAR at byte %d", r.at)
}
