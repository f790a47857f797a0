package dag

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/boxo/verifcid"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-varint"

	"github.com/firth-project/firth/base/fault"
)

const (
	maxCARHeader = 1 << 20 // bytes; some 25,000 roots
	maxCIDBytes  = 256     // in a section, beside the block
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
