package wallet

import (
	"github.com/filecoin-project/go-address"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// SignMessage signs a chain message as its sender, an f1 or f3 key. A delegated
// key signs an Ethereum transaction, which needs a chain id: SignEthMessage.
// The error is fault.Invalid when the message is not from the key.
func SignMessage(k Key, m chain.Message) (chain.SignedMessage, error) {
	if k.kind == Delegated {
		return chain.SignedMessage{}, fault.New(fault.Invalid, "message from %s: sign it as an Ethereum transaction, with a chain id", FormatAddress(k.addr))
	}
	return SignEthMessage(k, m, 0)
}

// SignEthMessage is SignMessage for every kind of key; ethChainID (314 on
// mainnet) counts for delegated senders only.
func SignEthMessage(k Key, m chain.Message, ethChainID uint64) (chain.SignedMessage, error) {
	if m.From != k.addr {
		return chain.SignedMessage{}, fault.New(fault.Invalid, "message from %s is not for the key of %s to sign", FormatAddress(m.From), FormatAddress(k.addr))
	}
	signed, err := SigningBytes(m, ethChainID)
	if err != nil {
		return chain.SignedMessage{}, err
	}
	sig, err := k.Sign(signed)
	if err != nil {
		return chain.SignedMessage{}, err
	}
	return chain.SignedMessage{Message: m, Signature: sig}, nil
}

// VerifyMessage returns nil when the message is signed by its sender, whose
// address must be a key address; the kinds of error are those of Verify.
func VerifyMessage(sm chain.SignedMessage, ethChainID uint64) error {
	signed, err := SigningBytes(sm.Message, ethChainID)
	if err != nil {
		return err
	}
	return Verify(sm.Signature, sm.Message.From, signed)
}

// SigningBytes returns what the sender of a message signs: the bytes of the
// message's CID, or for a delegated sender the unsigned EIP-1559 transaction.
// The error is fault.Invalid when the message has no such form.
func SigningBytes(m chain.Message, ethChainID uint64) ([]byte, error) {
	if m.From.Protocol() == address.Delegated {
		return ethUnsigned(m, ethChainID)
	}
	c, err := m.Cid()
	if err != nil {
		return nil, fault.Mark(fault.Invalid, fault.Wrap(err, "message from %s", FormatAddress(m.From)))
	}
	return c.Bytes(), nil
}
