package block

import (
	"crypto/sha256"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// key is what the index knows a block by: the digest itself for SHA-256, the
// SHA-256 of the whole multihash for every other function. So no two
// multihashes share a key unless SHA-256 is broken, however weak the function.
type key [sha256.Size]byte

// sha256Prefix begins the multihash of a full SHA-256 digest.
const sha256Prefix = "\x12\x20"

// keyOf returns the key of a multihash and whether it was derived from it
// rather than being its digest.
func keyOf(h mh.Multihash) (k key, derived bool) {
	if len(h) == len(sha256Prefix)+len(k) && string(h[:2]) == sha256Prefix {
		copy(k[:], h[2:])
		return k, false
	}
	return sha256.Sum256(h), true
}

// keyOfCid is keyOf of the CID's multihash, without a copy in the usual case.
func keyOfCid(c cid.Cid) (k key, derived bool) {
	if digest, ok := plain(c); ok {
		copy(k[:], digest)
		return k, false
	}
	return keyOf(c.Hash())
}

// plain returns the digest of a CID with a full SHA-256 multihash and, if it is
// a CIDv1, a codec of one byte: nearly every CID there is.
func plain(c cid.Cid) (digest string, ok bool) {
	const codec = 2 // version and codec
	s := c.KeyString()
	if len(s) == codec+len(sha256Prefix)+sha256.Size && s[0] == 1 && s[1] < 0x80 {
		s = s[codec:]
	}
	if len(s) != len(sha256Prefix)+sha256.Size || s[:2] != sha256Prefix {
		return "", false
	}
	return s[2:], true
}

// cid returns the raw CID of a key that is a digest.
func (k key) cid() cid.Cid {
	return cid.NewCidV1(cid.Raw, append(mh.Multihash(sha256Prefix), k[:]...))
}

// identity returns the bytes that an identity CID carries.
func identity(c cid.Cid) ([]byte, bool) {
	if _, ok := plain(c); ok || !c.Defined() || c.Prefix().MhType != mh.IDENTITY {
		return nil, false
	}
	d, err := mh.Decode(c.Hash())
	if err != nil {
		return nil, false
	}
	return d.Digest, true
}
