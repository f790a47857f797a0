package wallet

import (
	"bytes"
	"encoding/binary"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	sigs "github.com/filecoin-project/go-state-types/crypto"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// MaxEthData bounds the call data of a delegated sender's message, in bytes.
const MaxEthData = 1 << 20

// eip1559 is the type byte of a transaction with a dynamic fee (EIP-2718).
const eip1559 = 0x02

// ethTransaction is the body of an EIP-1559 transaction.
type ethTransaction struct {
	chainID, nonce, gas        uint64
	priorityFee, maxFee, value *big.Int // attoFIL; fees are per unit of gas
	to                         []byte   // 20 bytes; empty creates a contract
	data                       []byte
}

// rlp encodes the transaction with its type byte, and behind the body what a
// signature adds. The access list, which the chain does not have, is empty.
func (t ethTransaction) rlp(signature ...any) ([]byte, error) {
	fields := []any{t.chainID, t.nonce, t.priorityFee, t.maxFee, t.gas, t.to, t.value, t.data, []any{}}
	body, err := rlp.EncodeToBytes(append(fields, signature...))
	if err != nil {
		return nil, fault.Mark(fault.Invalid, fault.Wrap(err, "ethereum transaction"))
	}
	return append([]byte{eip1559}, body...), nil
}

// EthTransaction returns the Ethereum form of a delegated sender's signed
// message, as eth_sendRawTransaction takes it, and its hash. The error is
// fault.Invalid when the message has no such form. It does not verify.
func EthTransaction(sm chain.SignedMessage, ethChainID uint64) (raw []byte, hash [32]byte, err error) {
	tx, err := ethOf(sm.Message, ethChainID)
	if err != nil {
		return nil, hash, err
	}
	sig := sm.Signature.Data
	if sm.Signature.Type != sigs.SigTypeDelegated || len(sig) != 65 || sig[64] > 1 {
		return nil, hash, fault.New(fault.Invalid, "signature of type %d and %d bytes, want a delegated one of 65 with parity 0 or 1", sm.Signature.Type, len(sig))
	}
	raw, err = tx.rlp(uint64(sig[64]), new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64]))
	return raw, [32]byte(crypto.Keccak256(raw)), err
}

// ethUnsigned returns what a delegated sender signs.
func ethUnsigned(m chain.Message, ethChainID uint64) ([]byte, error) {
	tx, err := ethOf(m, ethChainID)
	if err != nil {
		return nil, err
	}
	return tx.rlp()
}

// ethOf translates a message as the chain does (FIP-0055, FIP-0091): a call of
// InvokeContract on its recipient, or CreateExternal on the address manager.
func ethOf(m chain.Message, ethChainID uint64) (ethTransaction, error) {
	if m.Version != 0 || m.GasLimit < 0 || ethChainID == 0 {
		return ethTransaction{}, fault.New(fault.Invalid, "ethereum transaction: version %d, gas limit %d, chain id %d", m.Version, m.GasLimit, ethChainID)
	}
	to, err := ethRecipient(m)
	if err != nil {
		return ethTransaction{}, err
	}
	data, err := ethData(m.Params)
	if err != nil {
		return ethTransaction{}, err
	}
	tx := ethTransaction{chainID: ethChainID, nonce: m.Nonce, gas: uint64(m.GasLimit), to: to, data: data}
	amounts := []struct {
		to **big.Int
		v  abi.TokenAmount
	}{{&tx.priorityFee, m.GasPremium}, {&tx.maxFee, m.GasFeeCap}, {&tx.value, m.Value}}
	for _, a := range amounts {
		if a.v.Int == nil || a.v.Sign() < 0 {
			return ethTransaction{}, fault.New(fault.Invalid, "ethereum transaction: amount %s", a.v)
		}
		*a.to = a.v.Int
	}
	return tx, nil
}

// ethRecipient returns the 20 bytes a transaction is sent to, none for a
// contract's creation. An id address is masked: 0xff, eleven zeros, the id.
func ethRecipient(m chain.Message) ([]byte, error) {
	if m.To == builtin.EthereumAddressManagerActorAddr && m.Method == builtin.MethodsEAM.CreateExternal {
		return nil, nil
	}
	if m.Method != builtin.MethodsEVM.InvokeContract {
		return nil, fault.New(fault.Invalid, "ethereum transaction: method %d, want InvokeContract (%d)", m.Method, builtin.MethodsEVM.InvokeContract)
	}
	switch m.To.Protocol() {
	case address.ID:
		id, err := address.IDFromAddress(m.To)
		if err != nil {
			return nil, fault.Mark(fault.Invalid, err)
		}
		return binary.BigEndian.AppendUint64(append([]byte{0xff}, make([]byte, 11)...), id), nil
	case address.Delegated:
		payload := m.To.Payload()
		namespace, n := binary.Uvarint(payload)
		if namespace == builtin.EthereumAddressManagerActorID && len(payload) == n+20 {
			return payload[n:], nil
		}
	}
	return nil, fault.New(fault.Invalid, "ethereum transaction to %s: only f0 and f410 addresses have an Ethereum form", FormatAddress(m.To))
}

// ethData takes the call data out of the CBOR byte string the chain wraps it in.
func ethData(params []byte) ([]byte, error) {
	if len(params) == 0 {
		return nil, nil
	}
	r := bytes.NewReader(params)
	data, err := cbg.ReadByteArray(r, min(MaxEthData, uint64(len(params))))
	if err != nil || r.Len() > 0 {
		return nil, fault.New(fault.Invalid, "ethereum transaction: parameters are not one CBOR byte string of at most %d bytes", MaxEthData)
	}
	return data, nil
}
