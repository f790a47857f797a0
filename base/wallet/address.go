package wallet

import (
	"github.com/filecoin-project/go-address"

	"github.com/firth-project/firth/base/fault"
)

// FormatAddress prints an address in its mainnet form, beginning with f,
// whatever network the address library's global says. The undefined address is
// the empty string.
func FormatAddress(a address.Address) string {
	if a == address.Undef {
		return ""
	}
	return address.MainnetPrefix + a.String()[1:] // the network is the first letter and nothing else
}

// ParseAddress reads an address in its f or t form; both name the same key.
// Everything else, "" and "<empty>" included, is fault.Invalid.
func ParseAddress(s string) (address.Address, error) {
	a, err := address.NewFromString(s)
	if err != nil {
		return address.Undef, fault.New(fault.Invalid, "address %.120q: %w", s, err)
	}
	if a == address.Undef {
		return address.Undef, fault.New(fault.Invalid, "address %.120q: want one like f1…, f3… or f410f…", s)
	}
	return a, nil
}
