package dag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-varint"
)

const (
	carV2Pragma = 11 // bytes of the CARv2 pragma, with its length
	carV2Header = 40 // bytes of the fixed header after it
)

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
	return r.version(body)
}

// version tells what a header is and takes the roots of a CARv1's.
func (r *CARReader) version(body []byte) (int, error) {
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
	case number == 2 && len(body) != carV2Pragma-1:
		return 0, r.broken(CARBadHeader, errors.New("not the pragma of CARv2"))
	case number == 2:
		return 2, nil
	}
	if r.Roots, err = rootsOf(head); err != nil {
		return 0, r.broken(CARBadHeader, err)
	}
	return 1, nil
}

func rootsOf(head datamodel.Node) ([]cid.Cid, error) {
	roots, err := head.LookupByString("roots")
	if err != nil {
		return nil, errors.New("no roots, not even an empty list")
	}
	list := roots.ListIterator()
	if list == nil {
		return nil, errors.New("roots are not a list")
	}
	var out []cid.Cid
	for !list.Done() {
		_, item, err := list.Next()
		if err != nil {
			return nil, err
		}
		link, err := item.AsLink()
		root, ok := link.(cidlink.Link)
		if err != nil || !ok {
			return nil, errors.New("a root is not a CID")
		}
		out = append(out, root.Cid)
	}
	return out, nil
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
