package chain

import (
	"bytes"
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

const headerFields = 16

// Cid names the block: DAG-CBOR, BLAKE2b-256.
func (b *BlockHeader) Cid() (cid.Cid, error) {
	var buf bytes.Buffer
	if err := b.MarshalCBOR(&buf); err != nil {
		return cid.Undef, err
	}
	return abi.CidBuilder.Sum(buf.Bytes())
}

// MarshalCBOR writes the tuple of Filecoin's specification, section 2.4 (blocks).
// Blocks are only ever read as JSON, so there is no inverse.
func (b *BlockHeader) MarshalCBOR(w io.Writer) error {
	e := &headerWriter{cw: cbg.NewCborWriter(w)}
	e.array(headerFields)
	e.value(&b.Miner)
	e.ticket(b.Ticket)
	e.election(b.ElectionProof)
	e.array(len(b.BeaconEntries))
	for _, entry := range b.BeaconEntries {
		e.array(2)
		e.uint(entry.Round)
		e.bytes(entry.Data)
	}
	e.posts(b.WinPoStProof)
	e.array(len(b.Parents))
	for _, c := range b.Parents {
		e.cid(c)
	}
	e.amount(b.ParentWeight)
	e.int(int64(b.Height))
	e.cid(b.ParentStateRoot)
	e.cid(b.ParentMessageReceipts)
	e.cid(b.Messages)
	e.signature(b.BLSAggregate)
	e.uint(b.Timestamp)
	e.signature(b.BlockSig)
	e.uint(b.ForkSignaling)
	e.amount(b.ParentBaseFee)
	return e.err
}

// headerWriter writes until the first error and keeps it.
type headerWriter struct {
	cw  *cbg.CborWriter
	err error
}

func (e *headerWriter) do(fn func() error) {
	if e.err == nil {
		e.err = fn()
	}
}

func (e *headerWriter) head(major byte, n uint64) {
	e.do(func() error { return e.cw.WriteMajorTypeHeader(major, n) })
}

func (e *headerWriter) array(n int)    { e.head(cbg.MajArray, uint64(n)) }
func (e *headerWriter) uint(v uint64)  { e.head(cbg.MajUnsignedInt, v) }
func (e *headerWriter) int(v int64)    { e.value(cbg.CborInt(v)) }
func (e *headerWriter) bytes(b []byte) { e.do(func() error { return writeBytes(e.cw, b) }) }
func (e *headerWriter) cid(c cid.Cid)  { e.do(func() error { return cbg.WriteCid(e.cw, c) }) }
func (e *headerWriter) amount(v abi.TokenAmount) {
	e.do(func() error { return marshalAmount(e.cw, v) })
}
func (e *headerWriter) signature(s *crypto.Signature) {
	e.do(func() error { return s.MarshalCBOR(e.cw) })
}

func (e *headerWriter) value(v interface{ MarshalCBOR(io.Writer) error }) {
	e.do(func() error { return v.MarshalCBOR(e.cw) })
}

func (e *headerWriter) null() {
	e.do(func() error { _, err := e.cw.Write(cbg.CborNull); return err })
}

func (e *headerWriter) ticket(t *Ticket) {
	if t == nil {
		e.null()
		return
	}
	e.array(1)
	e.bytes(t.VRFProof)
}

func (e *headerWriter) election(p *ElectionProof) {
	if p == nil {
		e.null()
		return
	}
	e.array(2)
	e.int(p.WinCount)
	e.bytes(p.VRFProof)
}

func (e *headerWriter) posts(proofs []proof.PoStProof) {
	e.array(len(proofs))
	for i := range proofs {
		e.value(&proofs[i])
	}
}
