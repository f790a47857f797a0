package devnet

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/fault"
)

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

// Network is a running network.
type Network struct {
	cfg      Config
	tempHome bool
	stop     context.CancelFunc
	work     sync.WaitGroup
}

// Start brings a network up: on return the chain answers and every provider
// listens. It runs until ctx ends or Close is called, whichever is first;
// Close must be called in both cases.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	n := &Network{cfg: cfg.withDefaults()}
	if err := n.openHome(); err != nil {
		return nil, err
	}
	_, n.stop = context.WithCancel(ctx)
	return n, nil
}

// Info returns how the network is reached. It does not change while the network runs.
func (n *Network) Info() Info { return Info{RPC: n.cfg.RPC} }

// SetFault gives a provider ("f01000") a fault, or takes all away with zero.
// An unknown provider is NotFound.
func (n *Network) SetFault(provider string, f Fault) error {
	return fault.New(fault.NotFound, "provider %s: this network has none of that id", provider)
}

// Advance moves the chain by epochs at once; timers that fall into them go off.
func (n *Network) Advance(epochs int) {}

// Close ends everything and removes the pulled pieces.
func (n *Network) Close() error {
	n.stop()
	n.work.Wait()
	if n.tempHome {
		return os.RemoveAll(n.cfg.Home)
	}
	return nil
}

func (n *Network) openHome() (err error) {
	if n.cfg.Home == "" {
		n.tempHome = true
		n.cfg.Home, err = os.MkdirTemp("", "firth-devnet-")
		return fault.Wrap(err, "make a home")
	}
	n.cfg.Home = filepath.Join(n.cfg.Home, "devnet")
	return fault.Wrap(os.MkdirAll(n.cfg.Home, 0o700), "make home")
}

func (c Config) withDefaults() Config {
	if c.Providers == 0 {
		c.Providers = 3
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
	return c
}
