package pack

import (
	mh "github.com/multiformats/go-multihash"
	"golang.org/x/crypto/blake2b"
	"lukechampine.com/blake3"

	"github.com/firth-project/firth/base/sha256x"
)

// hash is the multicodec of the form's hash function.
func (f Form) hash() uint64 { return forms[f].MhType }

// Digests computes sums[i] of msgs[i] by the hash function of form(i), as
// Record.Digest has them. Those that follow each other by SHA2-256, which is
// nearly always all, are hashed side by side.
func Digests(sums [][32]byte, msgs [][]byte, form func(i int) Form) {
	for i := 0; i < len(msgs); {
		switch form(i).hash() {
		case mh.SHA2_256:
			end := i + 1
			for end < len(msgs) && form(end).hash() == mh.SHA2_256 {
				end++
			}
			sha256x.Sum(sums[i:end], msgs[i:end])
			i = end
			continue
		case blake2b256:
			sums[i] = blake2b.Sum256(msgs[i])
		case mh.BLAKE3:
			sums[i] = blake3.Sum256(msgs[i])
		case mh.IDENTITY:
			sums[i] = [32]byte{}
			copy(sums[i][:], msgs[i])
		}
		i++
	}
}

// Is reports whether data are the bytes of the record's block.
func (r Record) Is(data []byte) bool {
	var sum [1][32]byte
	Digests(sum[:], [][]byte{data}, func(int) Form { return r.Form })
	return sum[0] == r.Digest && len(data) == r.Size
}
