package devnet

import (
	"log/slog"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/firth-project/firth/base/fault"
)

const maxProviders = 100

// Config says what network to start. The zero value is a good one: three
// providers without fault, an epoch of one second, a temporary home.
type Config struct {
	Home      string        // pulled pieces live here; "" is a temporary folder, removed by Close
	Providers int           // how many, 3 when zero
	RPC       string        // where the chain listens, 127.0.0.1:0 when empty
	Epoch     time.Duration // length of an epoch, 1 s when zero; negative: the chain moves by Advance alone
	Seed      string        // keys, ids and timing in epochs follow from it
	Faults    map[int]Fault // by number of the provider, from 1; see ParseFaults
	Fund      int64         // FIL that every client wallet has, and the same again in escrow; 1000 when zero
	Terms     Terms         // what every provider asks for
	Timers    Timers        // how fast providers work
	Log       *slog.Logger  // nothing is logged when nil
}

// Terms is a provider's ask.
type Terms struct {
	Price         abi.TokenAmount     // attoFIL per GiB and epoch; nil is zero
	VerifiedPrice abi.TokenAmount     // the same for verified deals
	MinPieceSize  abi.PaddedPieceSize // 256 bytes when zero
	MaxPieceSize  abi.PaddedPieceSize // 32 GiB when zero
}

// Info is what a client needs to use the network. Its JSON is the line that
// `firth devnet --json` prints.
type Info struct {
	RPC       string         `json:"rpc"` // base URL, without /rpc/v1
	Providers []ProviderInfo `json:"providers"`
	Wallets   []WalletInfo   `json:"wallets"`
}

// ProviderInfo says how one provider is reached.
type ProviderInfo struct {
	ID         string   `json:"id"` // f01000
	PeerID     string   `json:"peer_id"`
	Multiaddrs []string `json:"multiaddrs"` // each with the /p2p/ part
	HTTP       string   `json:"http"`       // base URL of /piece, /ipfs and /routing/v1
}

// WalletInfo is a funded client wallet. The key is no secret: it follows from
// the seed and is worth nothing.
type WalletInfo struct {
	Address string `json:"address"` // f1… or f3…
	Key     string `json:"key"`     // Lotus export: hex of JSON
}

func (c Config) withDefaults() (Config, error) {
	if c.Providers == 0 {
		c.Providers = 3
	}
	if c.Providers < 1 || c.Providers > maxProviders {
		return c, fault.New(fault.Invalid, "%d providers, a network has 1 to %d", c.Providers, maxProviders)
	}
	for number := range c.Faults {
		if number < 1 || number > c.Providers {
			return c, fault.New(fault.Invalid, "fault of provider %d: the network has providers 1 to %d", number, c.Providers)
		}
	}
	if c.RPC == "" {
		c.RPC = "127.0.0.1:0"
	}
	if c.Epoch == 0 {
		c.Epoch = time.Second
	}
	if c.Fund == 0 {
		c.Fund = 1000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Terms, c.Timers = c.Terms.withDefaults(), c.Timers.withDefaults()
	return c, nil
}

func (t Terms) withDefaults() Terms {
	if t.Price.Nil() {
		t.Price = big.Zero()
	}
	if t.VerifiedPrice.Nil() {
		t.VerifiedPrice = big.Zero()
	}
	if t.MinPieceSize == 0 {
		t.MinPieceSize = 256
	}
	if t.MaxPieceSize == 0 {
		t.MaxPieceSize = 32 << 30
	}
	return t
}
