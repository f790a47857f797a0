package dag

import (
	"context"
	"encoding/binary"
	"io"
	"iter"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// CARHeader returns the bytes a CARv1 with these roots begins with, its length
// included: deterministic DAG-CBOR of {roots, version: 1}.
func CARHeader(roots []cid.Cid) []byte {
	body := append([]byte{0xa2, 0x65}, "roots"...)
	body = appendCBOR(body, 4, len(roots))
	for _, c := range roots {
		body = append(body, 0xd8, 0x2a) // tag 42
		body = appendCBOR(body, 2, c.ByteLen()+1)
		body = append(append(body, 0), c.Bytes()...) // the multibase prefix of binary
	}
	body = append(append(append(body, 0x67), "version"...), 1)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

// appendCBOR appends the head of a CBOR item in its shortest form (RFC 8949).
func appendCBOR(b []byte, major byte, n int) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
}

// CARSectionHeader returns what stands before a block of size bytes in a CAR:
// the section's length and the CID.
func CARSectionHeader(c cid.Cid, size int) []byte {
	n := c.ByteLen()
	b := make([]byte, 0, n+binary.MaxVarintLen32)
	b = binary.AppendUvarint(b, uint64(n+size))
	return append(b, c.Bytes()...)
}

// WriteCAR writes a CARv1 of the blocks in the order they come. A block above
// MaxBlockSize is Invalid, since no reader would take it.
func WriteCAR(ctx context.Context, w io.Writer, roots []cid.Cid, bs iter.Seq2[blocks.Block, error]) error {
	if _, err := w.Write(CARHeader(roots)); err != nil {
		return fault.Wrap(err, "write CAR header")
	}
	for b, err := range bs {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fault.Wrap(err, "write CAR")
		}
		if err := writeSection(w, b); err != nil {
			return fault.Wrap(err, "write CAR, block %s", b.Cid())
		}
	}
	return nil
}

func writeSection(w io.Writer, b blocks.Block) error {
	if len(b.RawData()) > MaxBlockSize {
		return tooBig(b.Cid(), len(b.RawData()))
	}
	if _, err := w.Write(CARSectionHeader(b.Cid(), len(b.RawData()))); err != nil {
		return err
	}
	_, err := w.Write(b.RawData())
	return err
}

// CARSummary is what AddCAR found.
type CARSummary struct {
	Version      int
	Roots        []cid.Cid
	MissingRoots []cid.Cid // roots that were not in the CAR; perhaps they are in the store
	Blocks       int64     // sections, repeated ones included
	Bytes        int64     // of block data
}

// AddCAR stores every block of a CAR in batches of at most 8 MiB; identity
// CIDs need no storing. Blocks before a fault remain stored, unreferenced.
// Whether a root's DAG is whole is Complete's question.
func AddCAR(ctx context.Context, p Putter, r io.Reader, o CAROptions) (CARSummary, error) {
	car, err := NewCARReader(r, o)
	if err != nil {
		return CARSummary{}, err
	}
	sum := CARSummary{Version: car.Version, Roots: car.Roots}
	b := newBatch(p)
	for {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		blk, _, err := car.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, err
		}
		sum.Blocks++
		sum.Bytes += int64(len(blk.RawData()))
		if isIdentity(blk.Cid()) {
			continue
		}
		if err := b.put(ctx, blk.Cid(), blk.RawData()); err != nil {
			return sum, fault.Wrap(err, "store block %s", blk.Cid())
		}
	}
	sum.MissingRoots = car.MissingRoots()
	return sum, fault.Wrap(b.flush(ctx), "store CAR")
}
