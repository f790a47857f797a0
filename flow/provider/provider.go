package provider

import (
	"cmp"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
)

// State says whether a provider was reached when it was last looked up.
type State string

// The states.
const (
	Unchecked State = "new"     // not looked up yet
	Online    State = "online"  // answers, and has set its terms
	Offline   State = "offline" // the reason says what did not work
)

// Provider is a storage provider in the index.
type Provider struct {
	ID            int64
	Actor         string   // f0…, its name on chain
	PeerID        string   // libp2p, as the chain has it
	Multiaddrs    []string // without the /p2p/ part
	HTTP          string   // base URL it serves retrievals at, or ""
	Owner         string
	SectorSize    int64  // bytes
	MinPiece      int64  // bytes, padded
	MaxPiece      int64  // bytes, padded
	Price         string // attoFIL per GiB and epoch
	VerifiedPrice string // the same for verified deals
	State         State
	Reason        string // why it is offline
	CheckedAt     *time.Time
	CreatedAt     time.Time
}

// AskPrice is what the provider wants, in attoFIL per GiB and epoch.
func (p Provider) AskPrice(verified bool) string {
	if verified {
		return p.VerifiedPrice
	}
	return p.Price
}

// Observation is one dated fact about a provider.
type Observation struct {
	Provider int64
	Kind     string // what was done: refresh, propose, deal, retrieve
	OK       bool
	Code     string // short and constant, for counting: "rejected", "unreachable"
	Reason   string // in words
	Bytes    int64
	TTFB     time.Duration // to the first byte
	Took     time.Duration
	At       time.Time // now if zero
}

// Filter picks providers; the zero value picks all.
type Filter struct {
	State  State
	Before int64
	Limit  int // 0 is 50, at most 1000
}

// Want is what a provider is needed for.
type Want struct {
	PaddedSize int64    // bytes
	MaxPrice   string   // attoFIL per GiB and epoch; "" is no limit
	Verified   bool     // the price of verified deals counts
	Only       []string // actors to choose among; nil is everyone in the index
}

// Settings are the rules of the index.
type Settings struct {
	Interval time.Duration // after which a provider's facts are looked up again
	Memory   time.Duration // how long a failure counts against a provider; 7 days if zero
}

const defaultMemory = 7 * 24 * time.Hour

// ParseActor returns the one spelling of a provider's id address.
func ParseActor(s string) (string, address.Address, error) {
	a, err := wallet.ParseAddress(strings.TrimSpace(s))
	if err != nil {
		return "", address.Undef, fault.Wrap(err, "provider")
	}
	if a.Protocol() != address.ID {
		return "", address.Undef, fault.New(fault.Invalid, "provider %.60q: want its id address, such as f01000", s)
	}
	return wallet.FormatAddress(a), a, nil
}

// refusal says in words why a provider does not fit, or "".
func (w Want) refusal(p Provider) string {
	switch {
	case p.State != Online:
		return "is " + string(p.State)
	case w.Only != nil && !slices.Contains(w.Only, p.Actor):
		return "is not among those to choose from"
	case w.PaddedSize < p.MinPiece:
		return "takes no pieces this small"
	case w.PaddedSize > p.MaxPiece:
		return "takes no pieces this large"
	case w.MaxPrice != "" && amount(p.AskPrice(w.Verified)).Cmp(amount(w.MaxPrice)) > 0:
		return "asks more"
	}
	return ""
}

// candidate is a provider that fits, with what it is ordered by.
type candidate struct {
	Provider
	failures int
	price    *big.Int
	draw     uint64 // random
}

// best orders by fewer recent failures, then price, then chance.
func best(cs []candidate) {
	slices.SortFunc(cs, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.failures, b.failures), a.price.Cmp(b.price), cmp.Compare(a.draw, b.draw))
	})
}

// amount reads attoFIL; what is no number counts as nothing.
func amount(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return new(big.Int)
	}
	return n
}
