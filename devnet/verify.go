package devnet

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/fault"
)

func verifySignature(sig crypto.Signature, addr address.Address, _ []byte) error {
	return fault.New(fault.Forbidden, "signature type %d of %s is not verified here", sig.Type, addr)
}
