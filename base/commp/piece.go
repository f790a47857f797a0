package commp

import (
	"encoding/binary"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// Multicodec codes of the two kinds of piece CID.
const (
	codeUnsealed = 0xf101 // fil-commitment-unsealed, the codec of v1
	codeTrunc254 = 0x1012 // sha2-256-trunc254-padded, the hash of v1
	codeBinTree  = 0x1011 // fr32-sha256-trunc254-padbintree, the hash of v2
)

// Piece names data as Filecoin does.
type Piece struct {
	// CIDv1 is the bare commitment, as mk1.2 and the chain want it; it needs
	// PaddedSize beside it.
	CIDv1 cid.Cid
	// CIDv2 holds commitment, raw size and padded size (FRC-0069). Of a piece
	// made larger than its data needs (SumPadded) it is still valid here, but
	// other libraries may refuse it.
	CIDv2 cid.Cid
	// RawSize is the length of the data in bytes.
	RawSize uint64
	// PaddedSize is the piece size of deals: a power of two, at least 128.
	PaddedSize uint64
}

// Root returns the commitment itself, zero for the zero Piece.
func (p Piece) Root() Node {
	root, err := rootOfV1(p.CIDv1)
	if err != nil {
		return Node{}
	}
	return root
}

func pieceOf(root Node, raw uint64, height int) Piece {
	padded := uint64(nodeSize) << height
	digest := binary.AppendUvarint(nil, MaxRawSize(padded)-raw)
	digest = append(digest, byte(height))
	digest = append(digest, root[:]...)
	return Piece{
		CIDv1:      cid.NewCidV1(codeUnsealed, hashOf(codeTrunc254, root[:])),
		CIDv2:      cid.NewCidV1(cid.Raw, hashOf(codeBinTree, digest)),
		RawSize:    raw,
		PaddedSize: padded,
	}
}

func hashOf(code uint64, digest []byte) multihash.Multihash {
	b := binary.AppendUvarint(nil, code)
	b = binary.AppendUvarint(b, uint64(len(digest)))
	return append(b, digest...)
}

// ParseCID reads a piece CID of either version, which is 1 or 2. Every other
// CID is ErrInput.
func ParseCID(s string) (c cid.Cid, version int, err error) {
	c, err = cid.Decode(s)
	if err != nil {
		return cid.Undef, 0, inputError("piece cid %.100q: %v", s, err)
	}
	version, err = Version(c)
	if err != nil {
		return cid.Undef, 0, err
	}
	return c, version, nil
}

// Version tells whether c is a piece CID v1 or v2; ErrInput when it is neither
// or its digest is malformed.
func Version(c cid.Cid) (int, error) {
	if _, err := rootOfV1(c); err == nil {
		return 1, nil
	}
	if _, err := FromCIDv2(c); err != nil {
		return 0, err
	}
	return 2, nil
}

// CIDv1 derives the piece CID v1 and the padded size that belongs beside it.
// The error is ErrInput.
func CIDv1(v2 cid.Cid) (v1 cid.Cid, padded uint64, err error) {
	p, err := FromCIDv2(v2)
	return p.CIDv1, p.PaddedSize, err
}

// FromCIDv2 returns the piece that a piece CID v2 names. The error is ErrInput.
func FromCIDv2(c cid.Cid) (Piece, error) {
	digest, err := digestOf(c, cid.Raw, codeBinTree)
	if err != nil {
		return Piece{}, err
	}
	padding, n := binary.Uvarint(digest)
	if n <= 0 || len(digest) != n+1+nodeSize || n > 1 && digest[n-1] == 0 {
		return Piece{}, inputError("piece cid %s: digest of %d bytes, want padding, height and root", c, len(digest))
	}
	height := int(digest[n])
	if height < quadHeight || height > maxHeight {
		return Piece{}, inputError("piece cid %s: height %d, want %d to %d", c, height, quadHeight, maxHeight)
	}
	capacity := MaxRawSize(nodeSize << height)
	if padding > capacity {
		return Piece{}, inputError("piece cid %s: %d bytes of padding in %d", c, padding, capacity)
	}
	root := Node(digest[n+1:])
	if root[31]&0xc0 != 0 {
		return Piece{}, inputError("piece cid %s: root exceeds 254 bits", c)
	}
	return pieceOf(root, capacity-padding, height), nil
}

// FromCIDv1 returns the piece that a piece CID v1 names together with the raw
// size of its data, taking the smallest padded size. The error is ErrInput.
func FromCIDv1(c cid.Cid, rawSize uint64) (Piece, error) {
	return FromCIDv1Padded(c, rawSize, PaddedSize(rawSize))
}

// FromCIDv1Padded is FromCIDv1 for a piece that a deal made larger than its
// data needs. The error is ErrInput.
func FromCIDv1Padded(c cid.Cid, rawSize, padded uint64) (Piece, error) {
	root, err := rootOfV1(c)
	if err != nil {
		return Piece{}, err
	}
	height, err := heightOfPadded(padded, rawSize)
	if err != nil {
		return Piece{}, err
	}
	return pieceOf(root, rawSize, height), nil
}

func rootOfV1(c cid.Cid) (Node, error) {
	digest, err := digestOf(c, codeUnsealed, codeTrunc254)
	if err != nil {
		return Node{}, err
	}
	if len(digest) != nodeSize || digest[31]&0xc0 != 0 {
		return Node{}, inputError("piece cid %s: digest is no root of 254 bits", c)
	}
	return Node(digest), nil
}

func digestOf(c cid.Cid, codec, hash uint64) ([]byte, error) {
	if !c.Defined() || c.Version() != 1 || c.Type() != codec {
		return nil, inputError("cid %s is no piece cid", c)
	}
	mh, err := multihash.Decode(c.Hash())
	if err != nil || mh.Code != hash {
		return nil, inputError("cid %s is no piece cid", c)
	}
	return mh.Digest, nil
}
