package pack

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// Where the bytes of a record are: Record.From.
const (
	FromStore  uint32 = 0 // in the block store, which finds them by digest
	FromIndex  uint32 = 1 // in the index itself, at Position of its nodes
	FromSource uint32 = 2 // FromSource+n: in source n, at Position
)

// MaxSources is how many sources one index can name.
const MaxSources = 1<<formShift - int64(FromSource)

// MaxRecords is how many blocks one index can hold.
const MaxRecords = int64(1) << 32

// Form is all of a CID but its digest.
type Form uint8

// Forms of the blocks that packing makes; own CARs may hold all of forms.
const (
	Raw   Form = 0 // version 1, raw: leaves
	DagPB Form = 1 // version 1, dag-pb: files and directories
)

// forms are the CIDs a CAR of ours may hold; indexes are stored, so the order
// is for ever.
var forms = [...]cid.Prefix{
	Raw:   {Version: 1, Codec: cid.Raw, MhType: mh.SHA2_256, MhLength: 32},
	DagPB: {Version: 1, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: 32},
	2:     {Version: 0, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: 32},
	3:     {Version: 1, Codec: cid.DagCBOR, MhType: mh.SHA2_256, MhLength: 32},
	4:     {Version: 1, Codec: cid.DagJSON, MhType: mh.SHA2_256, MhLength: 32},
	5:     {Version: 1, Codec: cid.Raw, MhType: blake2b256, MhLength: 32},
	6:     {Version: 1, Codec: cid.DagProtobuf, MhType: blake2b256, MhLength: 32},
	7:     {Version: 1, Codec: cid.DagCBOR, MhType: blake2b256, MhLength: 32}, // Filecoin's chain
	8:     {Version: 1, Codec: cid.DagJSON, MhType: blake2b256, MhLength: 32},
	9:     {Version: 1, Codec: cid.Raw, MhType: mh.BLAKE3, MhLength: 32},
	10:    {Version: 1, Codec: cid.DagProtobuf, MhType: mh.BLAKE3, MhLength: 32},
	11:    {Version: 1, Codec: cid.DagCBOR, MhType: mh.BLAKE3, MhLength: 32},
	12:    {Version: 1, Codec: cid.DagJSON, MhType: mh.BLAKE3, MhLength: 32},
	13:    {Version: 1, Codec: cid.Raw, MhType: mh.IDENTITY}, // from here on of the block's length, at most 32
	14:    {Version: 1, Codec: cid.DagProtobuf, MhType: mh.IDENTITY},
	15:    {Version: 1, Codec: cid.DagCBOR, MhType: mh.IDENTITY}, // the last there is room for
}

// firstIdentity is the first of the forms whose CIDs are the blocks.
const firstIdentity Form = 13

// blake2b256 is blake2b with digests of 32 bytes (multicodec table).
const blake2b256 = mh.BLAKE2B_MIN + 31

// formShift is where the form begins in a record's fifth word; below it stands
// From.
const formShift = 28

// Record is one section of a CAR: which block it holds and where its bytes are.
type Record struct {
	Offset   int64 // of the section in the CAR
	Position int64 // of the block's bytes in what From says; 0 for the block store
	From     uint32
	Form     Form
	Size     int      // of the block's bytes
	Digest   [32]byte // zeros follow an identity digest, which is the block
}

// Source is a file that blocks of a CAR are read from. Whoever opens it by these
// words has to get the bytes that were packed.
type Source struct {
	Origin string // names the place: "source/12", or an URL
	Path   string // in that place, any bytes
	ID     string // identity of the version that was packed
	Size   int64  // bytes
}

// NewRecord describes a block of size bytes whose section begins at offset of
// the CAR and whose bytes are in the block store. The error is fault.Invalid for
// a CID that CARs of ours cannot hold.
func NewRecord(c cid.Cid, offset int64, size int) (Record, error) {
	prefix := c.Prefix()
	if prefix.MhType == mh.IDENTITY {
		prefix.MhLength = 0
	}
	form := slices.Index(forms[:], prefix)
	decoded, err := mh.Decode(c.Hash())
	if form < 0 || err != nil || len(decoded.Digest) > 32 {
		return Record{}, fault.New(fault.Invalid, "block %.200s: pieces hold blocks of raw, dag-pb, dag-cbor and dag-json named by SHA2-256, BLAKE2b-256 or BLAKE3, "+
			"and of raw, dag-pb and dag-cbor in identity CIDs of at most 32 bytes", c)
	}
	if prefix.MhType == mh.IDENTITY && len(decoded.Digest) != size {
		return Record{}, fault.New(fault.Invalid, "block %s: has %d bytes, its identity CID %d", c, size, len(decoded.Digest))
	}
	r := Record{Offset: offset, Form: Form(form), Size: size}
	copy(r.Digest[:], decoded.Digest)
	return r, nil
}

// IsIdentity reports whether the block stands in its CID.
func (r Record) IsIdentity() bool { return r.Form >= firstIdentity }

// digestSize is how many bytes of Digest are the CID's.
func (r Record) digestSize() int {
	if r.IsIdentity() {
		return min(r.Size, len(r.Digest))
	}
	return len(r.Digest)
}

// Cid rebuilds the block's CID.
func (r Record) Cid() (cid.Cid, error) {
	if int(r.Form) >= len(forms) {
		return cid.Undef, fault.New(fault.Internal, "index record at %d: unknown CID form %d", r.Offset, r.Form)
	}
	return cid.Cast(r.appendCid(nil))
}

func (r Record) appendCid(b []byte) []byte {
	n := r.digestSize()
	b = append(append(b, prefixes[r.Form]...), byte(n))
	return append(b, r.Digest[:n]...)
}

// prefixes are what comes before the length of the digest in the CIDs of each
// form.
var prefixes = func() (all [len(forms)]string) {
	for i, p := range forms {
		b := p.Bytes()
		if all[i] = string(b[:len(b)-1]); p.Version == 0 { // a bare multihash, whose codec is understood
			all[i] = string([]byte{mh.SHA2_256})
		}
	}
	return all
}()

func (r Record) cidSize() int { return len(prefixes[r.Form]) + 1 + r.digestSize() }

// headSize is the number of bytes before the block's bytes in the CAR.
func (r Record) headSize() int {
	n := r.cidSize()
	return n + uvarintSize(uint64(n+r.Size))
}

func uvarintSize(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// Section is the number of bytes the record takes in the CAR: the length, the
// CID and the block.
func (r Record) Section() int64 { return int64(r.headSize() + r.Size) }

// AppendHead appends what stands before the block's bytes in the CAR. It is
// dag.CARSectionHeader without the detour of a cid.Cid.
func (r Record) AppendHead(b []byte) []byte {
	return r.appendCid(binary.AppendUvarint(b, uint64(r.cidSize()+r.Size)))
}

// appendTo appends the stored record, recordSize bytes.
func (r Record) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(r.Offset))
	b = le.AppendUint64(b, uint64(r.Position))
	b = le.AppendUint32(b, uint32(r.Form)<<formShift|r.From)
	b = le.AppendUint32(b, uint32(r.Size))
	return append(b, r.Digest[:]...)
}

// decodeRecord reads recordSize bytes.
func decodeRecord(b []byte) Record {
	le := binary.LittleEndian
	from := le.Uint32(b[16:])
	return Record{
		Offset: int64(le.Uint64(b)), Position: int64(le.Uint64(b[8:])),
		From: from & (1<<formShift - 1), Form: Form(from >> formShift),
		Size: int(le.Uint32(b[20:])), Digest: [32]byte(b[24:56]),
	}
}

// check refuses records that could not be stored.
func (r Record) check() error {
	switch {
	case int(r.Form) >= len(forms) || r.From >= 1<<formShift || r.Offset < 0 || r.Position < 0:
		return fault.New(fault.Internal, "index record at %d: form %d, from %d, position %d", r.Offset, r.Form, r.From, r.Position)
	case r.IsIdentity() && r.Size > len(r.Digest):
		return fault.New(fault.Internal, "index record at %d: identity CID of %d bytes", r.Offset, r.Size)
	case r.Size < 0 || r.Size > dag.MaxBlockSize:
		return fault.New(fault.Invalid, "block at %d of a CAR: %d bytes, limit %d", r.Offset, r.Size, dag.MaxBlockSize)
	}
	return nil
}

// Limits of a source's words, in bytes.
const (
	maxOrigin = 4 << 10
	maxPath   = 64 << 10
	maxID     = 4 << 10
	maxSource = maxOrigin + maxPath + maxID + 4*binary.MaxVarintLen64
)

// check refuses words that no index could hold.
func (s Source) check() error {
	if len(s.Origin) > maxOrigin || len(s.Path) > maxPath || len(s.ID) > maxID || s.Size < 0 {
		return fault.New(fault.Invalid, "source %.100q of %.100q: longer than an index can name, limits %d for the path, %d for origin and identity",
			s.Path, s.Origin, maxPath, maxOrigin)
	}
	return nil
}

// appendTo appends the stored source.
func (s Source) appendTo(b []byte) []byte {
	for _, word := range [...]string{s.Origin, s.Path, s.ID} {
		b = append(binary.AppendUvarint(b, uint64(len(word))), word...)
	}
	return binary.AppendUvarint(b, uint64(s.Size))
}

// decodeSource reads what appendTo wrote; ok is false for anything else.
func decodeSource(b []byte) (s Source, ok bool) {
	for _, word := range []*string{&s.Origin, &s.Path, &s.ID} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return Source{}, false
		}
		*word, b = string(b[used:used+int(n)]), b[used+int(n):]
	}
	n, used := binary.Uvarint(b)
	s.Size = int64(n)
	return s, used > 0 && used == len(b) && s.Size >= 0
}
