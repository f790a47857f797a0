package chain

import (
	"bytes"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
)

// Message is an on-chain message before it is signed. Its CBOR is the network's
// tuple; f1 and f3 keys sign the bytes of its CID.
type Message struct {
	Version    uint64 // always 0
	To         address.Address
	From       address.Address
	Nonce      uint64
	Value      abi.TokenAmount // attoFIL
	GasLimit   int64           // units of gas
	GasFeeCap  abi.TokenAmount // attoFIL per unit of gas
	GasPremium abi.TokenAmount // attoFIL per unit of gas
	Method     abi.MethodNum
	Params     []byte // CBOR of the method's parameters; nil when it has none
}

// Cid names the message: DAG-CBOR, BLAKE2b-256.
func (m *Message) Cid() (cid.Cid, error) {
	var buf bytes.Buffer
	if err := m.MarshalCBOR(&buf); err != nil {
		return cid.Undef, err
	}
	return abi.CidBuilder.Sum(buf.Bytes())
}

// RequiredFunds is the most the message can cost its sender, in attoFIL,
// without the value it sends.
func (m *Message) RequiredFunds() abi.TokenAmount {
	return mulGas(m.GasFeeCap, m.GasLimit)
}

// SignedMessage is a message with its sender's signature.
type SignedMessage struct {
	Message   Message
	Signature crypto.Signature
}

// Cid names the signed message as the chain does: a BLS message is stored
// without its signature, so its name is the unsigned message's.
func (s *SignedMessage) Cid() (cid.Cid, error) {
	if s.Signature.Type == crypto.SigTypeBLS {
		return s.Message.Cid()
	}
	var buf bytes.Buffer
	if err := s.MarshalCBOR(&buf); err != nil {
		return cid.Undef, err
	}
	return abi.CidBuilder.Sum(buf.Bytes())
}

// Receipt is what executing a message gave.
type Receipt struct {
	ExitCode   exitcode.ExitCode
	Return     []byte // CBOR of the method's return value
	GasUsed    int64
	EventsRoot *cid.Cid
}

// MsgLookup says where a message was executed.
type MsgLookup struct {
	Message   cid.Cid // may differ from the one asked for when it was replaced with other gas
	Receipt   Receipt
	ReturnDec any // some nodes decode Return here; not used
	TipSet    TipSetKey
	Height    abi.ChainEpoch
}
