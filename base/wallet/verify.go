package wallet

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/fault"
)

// Verify returns nil when sig is a signature over msg by addr, a key address.
// What does not match is fault.Forbidden; an id or actor address, which holds no
// key, and an unknown signature type are fault.Invalid.
func Verify(sig crypto.Signature, addr address.Address, msg []byte) error {
	switch addr.Protocol() {
	case address.SECP256K1, address.BLS, address.Delegated:
	default:
		return fault.New(fault.Invalid, "address %s has no key of its own: resolve it to its key address first", FormatAddress(addr))
	}
	for _, s := range schemes() {
		if s.signature != sig.Type {
			continue
		}
		if s.protocol != addr.Protocol() {
			return mismatch(addr)
		}
		return s.verify(sig.Data, addr, msg)
	}
	return fault.New(fault.Invalid, "signature type %d, want 1 (secp256k1), 2 (bls) or 3 (delegated)", sig.Type)
}
