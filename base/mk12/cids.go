package mk12

import (
	"bytes"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/firth-project/firth/base/fault"
)

// ProposalCID names a proposal as the market actor does: DAG-CBOR, BLAKE2b-256
// of its on-chain form.
func ProposalCID(p DealProposal) (cid.Cid, error) {
	c, err := p.Cid()
	if err != nil {
		return cid.Undef, fault.New(fault.Invalid, "encode proposal: %w", err)
	}
	return c, nil
}

// SignedProposalCID names a signed proposal as Boost does in a DealStatus:
// DAG-CBOR, SHA-256. It is not the hash of the bytes on the wire: Boost passes
// them through a generic CBOR codec which turns every empty byte string (a zero
// amount) into null.
func SignedProposalCID(p ClientDealProposal) (cid.Cid, error) {
	data, err := Encode(&p)
	if err != nil {
		return cid.Undef, err
	}
	data, err = nullEmptyBytes(data)
	if err != nil {
		return cid.Undef, fault.Wrap(err, "encode signed proposal again")
	}
	return cid.V1Builder{Codec: cid.DagCBOR, MhType: multihash.SHA2_256}.Sum(data)
}

// nullEmptyBytes replaces every empty byte string in well-formed CBOR by null.
// Items stand in depth-first order, so one pass over the headers sees them all.
func nullEmptyBytes(data []byte) ([]byte, error) {
	out := make([]byte, 0, len(data))
	for r := bytes.NewReader(data); r.Len() > 0; {
		start := len(data) - r.Len()
		major, n, err := cbg.CborReadHeader(r)
		if err != nil {
			return nil, err
		}
		isBytes := major == cbg.MajByteString
		if isBytes && n == 0 {
			out = append(out, cbg.CborNull...)
			continue
		}
		if isBytes || major == cbg.MajTextString {
			if _, err := r.Seek(int64(n), io.SeekCurrent); err != nil {
				return nil, err
			}
		}
		out = append(out, data[start:len(data)-r.Len()]...)
	}
	return out, nil
}
