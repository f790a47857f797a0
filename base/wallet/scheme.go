package wallet

import (
	"slices"

	"github.com/cloudflare/circl/sign/bls"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/filecoin-project/go-address"
	secp "github.com/filecoin-project/go-crypto"
	"github.com/filecoin-project/go-state-types/builtin"
	sigs "github.com/filecoin-project/go-state-types/crypto"
	"golang.org/x/crypto/blake2b"

	"github.com/firth-project/firth/base/fault"
)

// scheme is what sets one kind of key apart from the others.
type scheme struct {
	signature sigs.SigType
	protocol  address.Protocol
	// derive turns 32 random bytes into private bytes, which may be no valid key.
	derive func(seed *[secretSize]byte) ([secretSize]byte, error)
	// address checks the private bytes and returns the address they sign for.
	address func(secret *[secretSize]byte) (address.Address, error)
	sign    func(secret *[secretSize]byte, msg []byte) ([]byte, error)
	// verify returns fault.Forbidden unless data is a signature by addr.
	verify func(data []byte, addr address.Address, msg []byte) error
}

func schemes() [3]scheme {
	return [3]scheme{
		{sigs.SigTypeSecp256k1, address.SECP256K1, seedAsKey, secpAddress, secpSign, secpVerify},
		{sigs.SigTypeBLS, address.BLS, blsDerive, blsAddress, blsSign, blsVerify},
		{sigs.SigTypeDelegated, address.Delegated, seedAsKey, ethAddress, ethSign, ethVerify},
	}
}

func schemeOf(kind Kind) (scheme, error) {
	i := slices.Index([]Kind{Secp256k1, BLS, Delegated}, kind)
	if i < 0 {
		return scheme{}, fault.New(fault.Invalid, "key type %.20q, want secp256k1, bls or delegated", kind)
	}
	return schemes()[i], nil
}

func mismatch(addr address.Address) error {
	return fault.New(fault.Forbidden, "signature is not by %s over these bytes", FormatAddress(addr))
}

func seedAsKey(seed *[secretSize]byte) ([secretSize]byte, error) { return *seed, nil }

// curvePoint returns the public key, 65 bytes uncompressed.
func curvePoint(secret *[secretSize]byte) ([]byte, error) {
	if _, err := crypto.ToECDSA(secret[:]); err != nil { // the range check; PublicKey panics without it
		return nil, fault.New(fault.Invalid, "private bytes are no scalar of secp256k1")
	}
	return secp.PublicKey(secret[:]), nil
}

func secpAddress(secret *[secretSize]byte) (address.Address, error) {
	point, err := curvePoint(secret)
	if err != nil {
		return address.Undef, err
	}
	return address.NewSecp256k1Address(point)
}

func secpSign(secret *[secretSize]byte, msg []byte) ([]byte, error) {
	sum := blake2b.Sum256(msg)
	return secp.Sign(secret[:], sum[:])
}

// secpVerify accepts both s and n-s, as Lotus does: a signature is not a unique
// name of what was signed.
func secpVerify(data []byte, addr address.Address, msg []byte) error {
	sum := blake2b.Sum256(msg)
	point, err := secp.EcRecover(sum[:], data)
	if err != nil {
		return mismatch(addr)
	}
	if signer, err := address.NewSecp256k1Address(point); err != nil || signer != addr {
		return mismatch(addr)
	}
	return nil
}

func ethAddress(secret *[secretSize]byte) (address.Address, error) {
	point, err := curvePoint(secret)
	if err != nil {
		return address.Undef, err
	}
	return delegatedAddress(point)
}

// delegatedAddress is f410 of an Ethereum account: namespace 10, the last 20
// bytes of Keccak-256 of the point (FIP-0055).
func delegatedAddress(point []byte) (address.Address, error) {
	return address.NewDelegatedAddress(builtin.EthereumAddressManagerActorID, crypto.Keccak256(point[1:])[12:])
}

func ethSign(secret *[secretSize]byte, msg []byte) ([]byte, error) {
	return secp.Sign(secret[:], crypto.Keccak256(msg))
}

func ethVerify(data []byte, addr address.Address, msg []byte) error {
	point, err := secp.EcRecover(crypto.Keccak256(msg), data)
	if err != nil {
		return mismatch(addr)
	}
	if signer, err := delegatedAddress(point); err != nil || signer != addr {
		return mismatch(addr)
	}
	return nil
}

// blsDerive follows the KeyGen of draft-irtf-cfrg-bls-signature.
func blsDerive(seed *[secretSize]byte) ([secretSize]byte, error) {
	key, err := bls.KeyGen[bls.KeyG1SigG2](seed[:], nil, nil)
	if err != nil {
		return [secretSize]byte{}, fault.Mark(fault.Internal, err)
	}
	private, err := key.MarshalBinary()
	if err != nil {
		return [secretSize]byte{}, fault.Mark(fault.Internal, err)
	}
	slices.Reverse(private)
	return [secretSize]byte(private), nil
}

// blsKey reverses the private bytes: Filecoin keeps them little-endian.
func blsKey(secret *[secretSize]byte) (*bls.PrivateKey[bls.KeyG1SigG2], error) {
	big := *secret
	slices.Reverse(big[:])
	key := new(bls.PrivateKey[bls.KeyG1SigG2])
	if err := key.UnmarshalBinary(big[:]); err != nil {
		return nil, fault.New(fault.Invalid, "private bytes are no scalar of BLS12-381")
	}
	return key, nil
}

func blsAddress(secret *[secretSize]byte) (address.Address, error) {
	key, err := blsKey(secret)
	if err != nil {
		return address.Undef, err
	}
	point, err := key.PublicKey().MarshalBinary()
	if err != nil {
		return address.Undef, fault.Mark(fault.Internal, err)
	}
	return address.NewBLSAddress(point)
}

func blsSign(secret *[secretSize]byte, msg []byte) ([]byte, error) {
	key, err := blsKey(secret)
	if err != nil {
		return nil, err
	}
	return bls.Sign(key, msg), nil
}

func blsVerify(data []byte, addr address.Address, msg []byte) error {
	point := new(bls.PublicKey[bls.KeyG1SigG2])
	if err := point.UnmarshalBinary(addr.Payload()); err != nil || len(data) != blsSignatureSize {
		return mismatch(addr)
	}
	if !bls.Verify(point, msg, data) {
		return mismatch(addr)
	}
	return nil
}

// blsSignatureSize is a compressed point of G2; circl also reads longer input.
const blsSignatureSize = 96
