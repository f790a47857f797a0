package wallet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/fault"
)

// Kind names a signature scheme as Lotus does.
type Kind string

// The kinds of key.
const (
	Secp256k1 Kind = "secp256k1" // f1 addresses
	BLS       Kind = "bls"       // f3 addresses
	Delegated Kind = "delegated" // f410 addresses: Ethereum accounts
)

const secretSize = 32

// maxExport bounds an exported key; Lotus writes 160 digits.
const maxExport = 4096

// Key is a private key with its address. It prints as its address, whatever
// the verb. The zero Key signs nothing.
type Key struct {
	kind Kind
	// secret is big-endian, BLS little-endian, as Lotus exports it. It is behind
	// a pointer because fmt looks into unexported fields of other structs
	// without asking Format.
	secret *[secretSize]byte
	addr   address.Address
}

// NewKey makes a key of its private bytes: 32, big-endian for secp256k1 and
// delegated, little-endian for BLS. A number outside the group is
// fault.Invalid.
func NewKey(kind Kind, private []byte) (Key, error) {
	s, err := schemeOf(kind)
	if err != nil {
		return Key{}, err
	}
	if len(private) != secretSize {
		return Key{}, fault.New(fault.Invalid, "%s key: %d private bytes, want %d", kind, len(private), secretSize)
	}
	secret := [secretSize]byte(private)
	addr, err := s.address(&secret)
	if err != nil {
		return Key{}, fault.Wrap(err, "%s key", kind)
	}
	return Key{kind, &secret, addr}, nil
}

// Generate makes a new key from randomness, crypto/rand.Reader outside of
// tests and simulations. The same bytes from random give the same key.
func Generate(kind Kind, random io.Reader) (Key, error) {
	s, err := schemeOf(kind)
	if err != nil {
		return Key{}, err
	}
	var seed [secretSize]byte
	for range 8 { // one in 2^128 seeds is no scalar; a broken reader must end
		if _, err := io.ReadFull(random, seed[:]); err != nil {
			return Key{}, fault.Wrap(err, "%s key: randomness", kind)
		}
		private, err := s.derive(&seed)
		if err != nil {
			return Key{}, fault.Wrap(err, "%s key", kind)
		}
		if k, err := NewKey(kind, private[:]); err == nil {
			return k, nil
		}
	}
	return Key{}, fault.New(fault.Internal, "%s key: the randomness never gave a valid key", kind)
}

// exported is the JSON inside a Lotus export.
type exported struct {
	Type       Kind
	PrivateKey []byte // base64 in JSON
}

// Import reads a key as `lotus wallet export` prints it: hexadecimal of a JSON
// object with Type and PrivateKey. White space around it is ignored. Anything
// else is fault.Invalid, with nothing of the input in the error.
func Import(lotusExport []byte) (Key, error) {
	text := bytes.TrimSpace(lotusExport)
	if len(text) == 0 || len(text) > maxExport {
		return Key{}, fault.New(fault.Invalid, "exported key of %d bytes, want at most %d hexadecimal digits", len(text), maxExport)
	}
	raw := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(raw, text); err != nil {
		return Key{}, fault.New(fault.Invalid, "exported key is not hexadecimal")
	}
	var e exported
	if err := json.Unmarshal(raw, &e); err != nil {
		return Key{}, fault.New(fault.Invalid, "exported key is not a JSON object with Type and PrivateKey")
	}
	return NewKey(e.Type, e.PrivateKey)
}

// Export returns the key as `lotus wallet export` prints it, without a newline;
// nothing for the zero Key. Whoever has it has the key.
func (k Key) Export() []byte {
	if k.secret == nil {
		return nil
	}
	raw, err := json.Marshal(exported{k.kind, k.secret[:]})
	if err != nil {
		panic("wallet: a string and bytes always marshal") // cannot happen: both marshal as they are
	}
	return hex.AppendEncode(nil, raw)
}

// Kind returns the signature scheme.
func (k Key) Kind() Kind { return k.kind }

// Address returns the address the key signs for.
func (k Key) Address() address.Address { return k.addr }

// Format prints the address for every verb, so that no private key reaches a
// log by accident.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, FormatAddress(k.addr)) }

// MarshalText gives the address, for the same reason as Format.
func (k Key) MarshalText() ([]byte, error) { return []byte(FormatAddress(k.addr)), nil }

// Sign signs msg, of any length: BLAKE2b-256 of it for secp256k1, Keccak-256
// for delegated, the bytes themselves for BLS. Only BLS signatures are the same
// each time. The error is fault.Invalid for the zero Key.
func (k Key) Sign(msg []byte) (crypto.Signature, error) {
	s, err := schemeOf(k.kind)
	if err != nil {
		return crypto.Signature{}, err
	}
	data, err := s.sign(k.secret, msg)
	if err != nil {
		return crypto.Signature{}, fault.Wrap(err, "sign as %s", FormatAddress(k.addr))
	}
	return crypto.Signature{Type: s.signature, Data: data}, nil
}
