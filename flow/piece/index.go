package piece

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"sort"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// The index of a piece says where each block is in its CAR. One flat file, all
// numbers little-endian:
//
//	magic "firthidx" · version u32 · header length u32 · records u64 · CAR size u64
//	the CAR's header
//	records by offset: offset u64 · position u64 · source u32 · size u32 · digest 32 bytes
//	ordinals of the records by digest, u32 each
//
// Offset is where the section begins in the CAR; its varint and CID are rebuilt,
// not stored. The top four bits of source are the CID's form; the rest is the
// source its bytes are in, 0 being the block store, where a block is found by
// digest wherever compaction moves it, so position is 0.
const (
	indexMagic   = "firthidx"
	indexVersion = 1
	preludeSize  = 32
	recordSize   = 56
	formShift    = 28
)

// forms are the CIDs a CAR of ours may hold; the index is stored, so the order
// is for ever.
var forms = [...]cid.Prefix{
	{Version: 1, Codec: cid.Raw, MhType: mh.SHA2_256, MhLength: 32},
	{Version: 1, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: 32},
	{Version: 0, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: 32},
	{Version: 1, Codec: cid.DagCBOR, MhType: mh.SHA2_256, MhLength: 32},
	{Version: 1, Codec: cid.DagJSON, MhType: mh.SHA2_256, MhLength: 32},
}

// record is one section of a CAR.
type record struct {
	offset int64 // of the section
	source uint32
	size   int // of the block's bytes
	digest [32]byte
}

// newRecord describes a block of size bytes whose section begins at offset.
func newRecord(c cid.Cid, offset int64, size int) (record, error) {
	form := slices.Index(forms[:], c.Prefix())
	decoded, err := mh.Decode(c.Hash())
	if form < 0 || err != nil {
		return record{}, fault.New(fault.Invalid, "block %s: pieces hold SHA2-256 CIDs of raw, dag-pb, dag-cbor and dag-json only", c)
	}
	return record{offset: offset, source: uint32(form) << formShift, size: size, digest: [32]byte(decoded.Digest)}, nil
}

// cid rebuilds the block's CID.
func (r record) cid() (cid.Cid, error) {
	form := r.source >> formShift
	if int(form) >= len(forms) {
		return cid.Undef, fault.New(fault.Internal, "index record at %d: unknown CID form %d", r.offset, form)
	}
	hash, err := mh.Encode(r.digest[:], mh.SHA2_256)
	if err != nil {
		return cid.Undef, err
	}
	if forms[form].Version == 0 {
		return cid.NewCidV0(hash), nil
	}
	return cid.NewCidV1(forms[form].Codec, hash), nil
}

// section is the number of bytes the block takes in a CAR.
func (r record) section() (int64, error) {
	c, err := r.cid()
	if err != nil {
		return 0, err
	}
	return sectionSize(c, r.size), nil
}

func sectionSize(c cid.Cid, size int) int64 {
	return int64(len(dag.CARSectionHeader(c, size)) + size)
}

// encodeIndex writes the index of a CAR down. It takes 60 bytes a block.
func encodeIndex(header []byte, records []record, carSize int64) []byte {
	b := make([]byte, 0, preludeSize+len(header)+len(records)*(recordSize+4))
	b = append(b, indexMagic...)
	b = binary.LittleEndian.AppendUint32(b, indexVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(records)))
	b = binary.LittleEndian.AppendUint64(b, uint64(carSize))
	b = append(b, header...)
	for _, r := range records {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.offset))
		b = binary.LittleEndian.AppendUint64(b, 0)
		b = binary.LittleEndian.AppendUint32(b, r.source)
		b = binary.LittleEndian.AppendUint32(b, uint32(r.size))
		b = append(b, r.digest[:]...)
	}
	ordinals := make([]uint32, len(records))
	for i := range ordinals {
		ordinals[i] = uint32(i)
	}
	slices.SortFunc(ordinals, func(i, j uint32) int { return bytes.Compare(records[i].digest[:], records[j].digest[:]) })
	for _, i := range ordinals {
		b = binary.LittleEndian.AppendUint32(b, i)
	}
	return b
}

// index reads an encoded index in place: it holds the CAR's header in memory
// and nothing else.
type index struct {
	r       io.ReaderAt
	header  []byte
	records int
	carSize int64
}

// maxHeader bounds a CAR header of ours: one root.
const maxHeader = 4096

// openIndex checks the beginning of an index of size bytes.
func openIndex(r io.ReaderAt, size int64) (*index, error) {
	damaged := func(what string) error {
		return fault.New(fault.Internal, "piece index: %s; pack the contents again", what)
	}
	prelude := make([]byte, preludeSize)
	if _, err := r.ReadAt(prelude, 0); err != nil || string(prelude[:8]) != indexMagic {
		return nil, damaged("does not begin as one")
	}
	if v := binary.LittleEndian.Uint32(prelude[8:]); v != indexVersion {
		return nil, damaged("is of a version this program does not know")
	}
	headerSize, records := binary.LittleEndian.Uint32(prelude[12:]), binary.LittleEndian.Uint64(prelude[16:])
	carSize := binary.LittleEndian.Uint64(prelude[24:])
	if headerSize > maxHeader || records > uint64(size)/recordSize || carSize > 1<<62 ||
		preludeSize+int64(headerSize)+int64(records)*(recordSize+4) != size {
		return nil, damaged("its sizes do not fit together")
	}
	x := &index{r: r, header: make([]byte, headerSize), records: int(records), carSize: int64(carSize)}
	if _, err := r.ReadAt(x.header, preludeSize); err != nil {
		return nil, damaged("is cut short")
	}
	return x, nil
}

// at reads the i-th record.
func (x *index) at(i int) (record, error) {
	var b [recordSize]byte
	if _, err := x.r.ReadAt(b[:], preludeSize+int64(len(x.header))+int64(i)*recordSize); err != nil {
		return record{}, fault.Wrap(err, "read record %d of a piece index", i)
	}
	return record{
		offset: int64(binary.LittleEndian.Uint64(b[0:])),
		source: binary.LittleEndian.Uint32(b[16:]),
		size:   int(binary.LittleEndian.Uint32(b[20:])),
		digest: [32]byte(b[24:]),
	}, nil
}

// covering returns the number of the record whose section holds byte off of
// the CAR, -1 for the header.
func (x *index) covering(off int64) (int, error) {
	var failed error
	after := sort.Search(x.records, func(i int) bool {
		r, err := x.at(i)
		failed = firstErr(failed, err)
		return err != nil || r.offset > off
	})
	return after - 1, failed
}

// find returns the record of a block.
func (x *index) find(digest [32]byte) (record, bool, error) {
	var failed error
	ordinals := preludeSize + int64(len(x.header)) + int64(x.records)*recordSize
	nth := func(i int) (record, error) {
		var b [4]byte
		if _, err := x.r.ReadAt(b[:], ordinals+4*int64(i)); err != nil {
			return record{}, fault.Wrap(err, "read ordinal %d of a piece index", i)
		}
		return x.at(int(binary.LittleEndian.Uint32(b[:])))
	}
	i := sort.Search(x.records, func(i int) bool {
		r, err := nth(i)
		failed = firstErr(failed, err)
		return err != nil || bytes.Compare(r.digest[:], digest[:]) >= 0
	})
	if failed != nil || i == x.records {
		return record{}, false, failed
	}
	r, err := nth(i)
	return r, err == nil && r.digest == digest, err
}

// firstErr keeps the first error.
func firstErr(first, next error) error {
	if first != nil {
		return first
	}
	return next
}
