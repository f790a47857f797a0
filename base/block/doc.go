// Package block keeps blocks by the digest of their bytes.
//
// It owns one directory, or, for roles apart, the keys under "block/" of a
// shared blob.Store: append-only segments that are CARv1 files, and an index
// that can always be rebuilt from them. It promises that a block whose Put
// returned is durable, that a block is never handed out with wrong bytes, that
// a kill at any instruction loses nothing acknowledged, and that memory grows
// by under 2 MB a million blocks. Codecs are not kept: a block is found under
// every CID with its multihash. It refuses blocks over MaxBlockBytes, and a
// second process on one directory; references between blocks, pins and
// collection of garbage belong to those who know what blocks mean.
package block
