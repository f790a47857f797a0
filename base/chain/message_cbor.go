package chain

import (
	"fmt"
	"io"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	cbg "github.com/whyrusleeping/cbor-gen"
)

const (
	messageFields       = 10
	signedMessageFields = 2
	maxParamsBytes      = 1 << 20 // the network refuses larger messages
)

// MarshalCBOR writes the tuple of Filecoin's specification, section 2.4 (messages).
func (m *Message) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, messageFields); err != nil {
		return err
	}
	if err := cw.CborWriteHeader(cbg.MajUnsignedInt, m.Version); err != nil {
		return err
	}
	for _, a := range []address.Address{m.To, m.From} {
		if err := a.MarshalCBOR(cw); err != nil {
			return err
		}
	}
	if err := cw.CborWriteHeader(cbg.MajUnsignedInt, m.Nonce); err != nil {
		return err
	}
	if err := marshalAmount(cw, m.Value); err != nil {
		return err
	}
	if err := cbg.CborInt(m.GasLimit).MarshalCBOR(cw); err != nil {
		return err
	}
	for _, v := range []abi.TokenAmount{m.GasFeeCap, m.GasPremium} {
		if err := marshalAmount(cw, v); err != nil {
			return err
		}
	}
	if err := cw.CborWriteHeader(cbg.MajUnsignedInt, uint64(m.Method)); err != nil {
		return err
	}
	return writeBytes(cw, m.Params)
}

// UnmarshalCBOR reads what MarshalCBOR writes. Params are limited to 1 MiB.
func (m *Message) UnmarshalCBOR(r io.Reader) (err error) {
	*m = Message{}
	cr := cbg.NewCborReader(r)
	if err := expectTuple(cr, messageFields, "message"); err != nil {
		return err
	}
	if m.Version, err = readUint(cr); err != nil {
		return err
	}
	for _, a := range []*address.Address{&m.To, &m.From} {
		if err := a.UnmarshalCBOR(cr); err != nil {
			return err
		}
	}
	if m.Nonce, err = readUint(cr); err != nil {
		return err
	}
	if err := m.Value.UnmarshalCBOR(cr); err != nil {
		return err
	}
	var gas cbg.CborInt
	if err := gas.UnmarshalCBOR(cr); err != nil {
		return err
	}
	m.GasLimit = int64(gas)
	for _, v := range []*abi.TokenAmount{&m.GasFeeCap, &m.GasPremium} {
		if err := v.UnmarshalCBOR(cr); err != nil {
			return err
		}
	}
	method, err := readUint(cr)
	if err != nil {
		return err
	}
	m.Method = abi.MethodNum(method)
	m.Params, err = readBytes(cr, maxParamsBytes)
	return err
}

// MarshalCBOR writes the pair [message, signature].
func (s *SignedMessage) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, signedMessageFields); err != nil {
		return err
	}
	if err := s.Message.MarshalCBOR(cw); err != nil {
		return err
	}
	return s.Signature.MarshalCBOR(cw)
}

// UnmarshalCBOR reads what MarshalCBOR writes.
func (s *SignedMessage) UnmarshalCBOR(r io.Reader) error {
	*s = SignedMessage{}
	cr := cbg.NewCborReader(r)
	if err := expectTuple(cr, signedMessageFields, "signed message"); err != nil {
		return err
	}
	if err := s.Message.UnmarshalCBOR(cr); err != nil {
		return err
	}
	return s.Signature.UnmarshalCBOR(cr)
}

// marshalAmount writes a nil amount as zero: a Go zero value is a nil big.Int.
func marshalAmount(w io.Writer, v abi.TokenAmount) error {
	if v.Int == nil {
		v = big.Zero()
	}
	return v.MarshalCBOR(w)
}

func mulGas(price abi.TokenAmount, gas int64) abi.TokenAmount {
	if price.Int == nil {
		return big.Zero()
	}
	return big.Mul(price, big.NewInt(gas))
}

func expectTuple(cr *cbg.CborReader, fields uint64, what string) error {
	major, n, err := cr.ReadHeader()
	if err != nil {
		return err
	}
	if major != cbg.MajArray || n != fields {
		return fmt.Errorf("%s: want a CBOR array of %d, have major type %d of %d", what, fields, major, n)
	}
	return nil
}

func readUint(cr *cbg.CborReader) (uint64, error) {
	major, n, err := cr.ReadHeader()
	if err == nil && major != cbg.MajUnsignedInt {
		err = fmt.Errorf("want a CBOR unsigned integer, have major type %d", major)
	}
	return n, err
}

func writeBytes(cw *cbg.CborWriter, b []byte) error {
	if err := cw.WriteMajorTypeHeader(cbg.MajByteString, uint64(len(b))); err != nil {
		return err
	}
	_, err := cw.Write(b)
	return err
}

// readBytes gives nil for an empty string, as the JSON form has null there.
func readBytes(cr *cbg.CborReader, limit uint64) ([]byte, error) {
	major, n, err := cr.ReadHeader()
	if err != nil {
		return nil, err
	}
	if major != cbg.MajByteString || n > limit {
		return nil, fmt.Errorf("want a CBOR byte string of at most %d, have major type %d of %d", limit, major, n)
	}
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	_, err = io.ReadFull(cr, b)
	return b, err
}
