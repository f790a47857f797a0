package pack

import (
	"context"
	"encoding/binary"
	"io"
	"sort"

	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

// The index of a piece says where each block is in its CAR, and where the
// block's bytes are. One flat file of pages (see pageSize); what is in them, all
// numbers little-endian:
//
//	magic "firthidx" · version u32 · header length u32 · CAR size u64 · records u64
//	· node bytes u64 · sources u64 · source bytes u64 · tree bytes u64
//	the CAR's header
//	records by offset: offset u64 · position u64 · form and from u32 · size u32 · digest 32 bytes
//	ordinals of the records, u32 each, by the first eight bytes of the digest, then by number
//	nodes: the bytes of blocks that are nowhere else
//	where each source begins in the sources, u64 each, and where the last one ends
//	sources: origin, path and ID, each after its length as uvarint · size as uvarint
//	tree: commp.Tree's encoding, the roots of the CAR's slots of 127 KiB
//
// Offset is where the section begins in the CAR; its varint and CID are rebuilt,
// not stored. The top four bits of "form and from" are the CID's form, the rest
// is Record.From.
const (
	indexMagic   = "firthidx"
	indexVersion = 2
	preludeSize  = 64
	recordSize   = 56
)

// maxHeader bounds a CAR header of ours: one root.
const maxHeader = 4096

// Index reads an index in place: it holds the CAR's header in memory and
// nothing else. Its methods may be called from any number of goroutines.
type Index struct {
	pages   *pages
	header  []byte
	carSize int64
	records int64
	sources int64

	nodeBytes, sourceBytes, treeBytes int64
}

// OpenIndex checks the beginning of an index of size bytes. A damaged one is
// fault.Internal, here or when the damage is met.
func OpenIndex(r io.ReaderAt, size int64) (*Index, error) {
	p, err := openPages(r, size)
	if err != nil {
		return nil, err
	}
	var b [preludeSize]byte
	if _, err := r.ReadAt(b[:12], 0); err != nil || string(b[:8]) != indexMagic {
		return nil, damagedIndex("does not begin as one")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != indexVersion {
		return nil, damagedIndex("is of a version this program does not know")
	}
	if err := p.read(b[:], 0); err != nil {
		return nil, err
	}
	number := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[i:])) }
	x := &Index{
		pages: p, carSize: number(16), records: number(24), nodeBytes: number(32),
		sources: number(40), sourceBytes: number(48), treeBytes: number(56),
	}
	headerSize := binary.LittleEndian.Uint32(b[12:])
	if headerSize > maxHeader || int64(headerSize) > p.size || !x.plausible() {
		return nil, damagedIndex("its sizes are out of range")
	}
	x.header = make([]byte, headerSize)
	if err := p.read(x.header, preludeSize); err != nil {
		return nil, err
	}
	if x.treeAt()+x.treeBytes != p.size {
		return nil, damagedIndex("its sizes do not fit together")
	}
	return x, nil
}

// plausible keeps sums of the sizes far from overflow.
func (x *Index) plausible() bool {
	for _, n := range []int64{x.nodeBytes, x.sourceBytes, x.treeBytes} {
		if n < 0 || n > x.pages.size {
			return false
		}
	}
	return x.carSize >= 0 && x.carSize <= commp.MaxTreeRaw && x.records >= 0 && x.records <= x.pages.size/recordSize &&
		x.sources >= 0 && x.sources <= x.pages.size/8
}

// Where the tables begin.
func (x *Index) recordsAt() int64 { return preludeSize + int64(len(x.header)) }
func (x *Index) ordinalsAt() int64 {
	return x.recordsAt() + x.records*recordSize
}
func (x *Index) nodesAt() int64   { return x.ordinalsAt() + x.records*4 }
func (x *Index) beginsAt() int64  { return x.nodesAt() + x.nodeBytes }
func (x *Index) sourcesAt() int64 { return x.beginsAt() + (x.sources+1)*8 }
func (x *Index) treeAt() int64    { return x.sourcesAt() + x.sourceBytes }

// Header is the CAR's header, its length included.
func (x *Index) Header() []byte { return x.header }

// CARSize is the length of the CAR in bytes.
func (x *Index) CARSize() int64 { return x.carSize }

// Records is how many sections the CAR has.
func (x *Index) Records() int64 { return x.records }

// Sources is how many sources the CAR is read from.
func (x *Index) Sources() int64 { return x.sources }

// At reads record i.
func (x *Index) At(i int64) (Record, error) {
	var one [1]Record
	_, err := x.some(one[:], i)
	return one[0], err
}

// some reads the records from number i on, as many as there are and fit.
func (x *Index) some(into []Record, i int64) (int, error) {
	if i < 0 || i >= x.records {
		return 0, damagedIndex("refers to a record it has not")
	}
	n := int(min(int64(len(into)), x.records-i))
	b := make([]byte, n*recordSize)
	if err := x.pages.read(b, x.recordsAt()+i*recordSize); err != nil {
		return 0, err
	}
	for k := range n {
		into[k] = decodeRecord(b[k*recordSize:])
		if err := into[k].check(); err != nil {
			return 0, damagedIndex("has an impossible record")
		}
	}
	return n, nil
}

// Covering returns the number of the record whose section holds byte off of
// the CAR, -1 for the header. It reads a page for each doubling of the records.
func (x *Index) Covering(off int64) (int64, error) {
	var failed error
	after := sort.Search(int(x.records), func(i int) bool {
		r, err := x.At(int64(i))
		failed = firstErr(failed, err)
		return err != nil || r.Offset > off
	})
	return int64(after) - 1, failed
}

// Find returns the first record of a block that hashes to a multihash, whatever
// its codec. It reads two pages for each doubling of the records.
func (x *Index) Find(block mh.Multihash) (Record, bool, error) {
	want, err := mh.Decode(block)
	if err != nil || len(want.Digest) > 32 || len(want.Digest) < 32 && want.Code != mh.IDENTITY {
		return Record{}, false, nil // no record is of such a block
	}
	var digest [32]byte
	copy(digest[:], want.Digest)
	var failed error
	nth := func(i int64) (Record, error) {
		var b [4]byte
		if err := x.pages.read(b[:], x.ordinalsAt()+4*i); err != nil {
			return Record{}, err
		}
		return x.At(int64(binary.LittleEndian.Uint32(b[:])))
	}
	key := keyOf(digest[:])
	first := sort.Search(int(x.records), func(i int) bool {
		r, err := nth(int64(i))
		failed = firstErr(failed, err)
		return err != nil || keyOf(r.Digest[:]) >= key
	})
	for i := int64(first); failed == nil && i < x.records; i++ {
		r, err := nth(i)
		if err != nil || keyOf(r.Digest[:]) != key {
			return Record{}, false, err
		}
		if r.Digest == digest && r.Form.hash() == want.Code && r.digestSize() == len(want.Digest) {
			return r, true, nil
		}
	}
	return Record{}, false, failed
}

// node reads the bytes of a record that are in the index into b, which is of
// the record's size.
func (x *Index) node(r Record, b []byte) error {
	if r.Position > x.nodeBytes-int64(len(b)) {
		return damagedIndex("refers to a node it has not")
	}
	return x.pages.read(b, x.nodesAt()+r.Position)
}

// Source reads the source that a record's From names.
func (x *Index) Source(from uint32) (Source, error) {
	n := int64(from) - int64(FromSource)
	if n < 0 || n >= x.sources {
		return Source{}, damagedIndex("refers to a source it has not")
	}
	var bounds [16]byte
	if err := x.pages.read(bounds[:], x.beginsAt()+8*n); err != nil {
		return Source{}, err
	}
	begin, end := int64(binary.LittleEndian.Uint64(bounds[:])), int64(binary.LittleEndian.Uint64(bounds[8:]))
	if begin < 0 || begin > end || end > x.sourceBytes || end-begin > maxSource {
		return Source{}, damagedIndex("has an impossible source")
	}
	b := make([]byte, end-begin)
	if err := x.pages.read(b, x.sourcesAt()+begin); err != nil {
		return Source{}, err
	}
	s, ok := decodeSource(b)
	if !ok {
		return Source{}, damagedIndex("has a source it cannot read")
	}
	return s, nil
}

// Tree reads the commitment's tree: 32 bytes of memory for 127 KiB of CAR.
func (x *Index) Tree() (*commp.Tree, error) {
	b := make([]byte, x.treeBytes)
	if err := x.pages.read(b, x.treeAt()); err != nil {
		return nil, err
	}
	t, err := commp.LoadTree(b)
	if err != nil || t.RawSize() != x.carSize {
		return nil, damagedIndex("has the tree of another CAR")
	}
	return t, nil
}

func (s *Spool) writeIndex(ctx context.Context, to io.Writer, header []byte, carSize int64, tree *commp.Tree, limit int64) error {
	if tree.RawSize() != carSize || len(header) > maxHeader {
		return fault.New(fault.Internal, "CAR of %d bytes with a header of %d and a tree over %d", carSize, len(header), tree.RawSize())
	}
	if _, err := tree.Piece(); err != nil {
		return fault.Mark(fault.Internal, err)
	}
	w, le := newPageWriter(to), binary.LittleEndian
	b := append(make([]byte, 0, preludeSize+len(header)), indexMagic...)
	b = le.AppendUint32(le.AppendUint32(b, indexVersion), uint32(len(header)))
	for _, n := range []int64{carSize, s.Records(), s.nodes.size(), s.Sources(), s.sources.size(), tree.EncodedSize()} {
		b = le.AppendUint64(b, uint64(n))
	}
	if _, err := w.Write(append(b, header...)); err != nil {
		return err
	}
	if err := s.records.copyTo(w); err != nil {
		return err
	}
	if err := s.writeOrdinals(ctx, w, limit); err != nil {
		return err
	}
	if err := s.nodes.copyTo(w); err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, 8)); err != nil {
		return err
	}
	for _, table := range []*appended{&s.ends, &s.sources} {
		if err := table.copyTo(w); err != nil {
			return err
		}
	}
	if _, err := tree.WriteTo(w); err != nil {
		return err
	}
	return w.close()
}
