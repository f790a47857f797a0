package devnet

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
)

const (
	providerFIL   = 10_000 // escrow for collateral, and the owner's and worker's balance
	clientDatacap = 1 << 50
	pullSilence   = 30 * time.Second
	pullBackoff   = 200 * time.Millisecond
)

// Network is a running network.
type Network struct {
	cfg       Config
	temporary bool // the home is ours to remove
	ledger    *Ledger
	providers []*provider
	wallets   []WalletInfo
	rpc       *http.Server
	rpcURL    string
	stop      context.CancelFunc
	work      sync.WaitGroup
	faults    sync.Mutex // one change of a fault at a time
	closing   sync.Once
	closed    error
}

// Start brings a network up: on return the chain answers and every provider
// listens. It runs until Close is called; when ctx ends it stops working, and
// Close must still be called.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Network{cfg: cfg}
	ctx, n.stop = context.WithCancel(ctx)
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Network) start(ctx context.Context) error {
	if err := n.openHome(); err != nil {
		return err
	}
	n.ledger = newLedger(ledgerConfig{Seed: n.cfg.Seed, Epoch: max(0, n.cfg.Epoch), Log: n.cfg.Log})
	for _, kind := range []wallet.Kind{wallet.Secp256k1, wallet.BLS} {
		if err := n.addWallet(kind); err != nil {
			return err
		}
	}
	for i := range n.cfg.Providers {
		p, err := n.newProvider(ctx, i)
		if err != nil {
			return err
		}
		n.providers = append(n.providers, p)
		if err := n.join(p, i); err != nil {
			return err
		}
	}
	if err := n.serveRPC(ctx); err != nil {
		return err
	}
	n.work.Go(func() {
		if err := n.ledger.Run(ctx); ctx.Err() == nil {
			n.cfg.Log.Error("chain stopped", "err", err)
		}
	})
	return nil
}

// addWallet makes a client account with money, as much again in escrow, and a
// PiB of datacap.
func (n *Network) addWallet(kind wallet.Kind) error {
	key, err := wallet.Generate(kind, n.random("wallet", kind))
	if err != nil {
		return fault.Wrap(err, "make wallet")
	}
	fund := big.Mul(big.NewInt(n.cfg.Fund), builtin.TokenPrecision)
	n.ledger.AddAccount(key.Address(), big.Add(fund, fund))
	if err := n.ledger.Deposit(key.Address(), fund); err != nil {
		return fault.Wrap(err, "fund wallet")
	}
	n.ledger.SetDatacap(key.Address(), big.NewInt(clientDatacap))
	n.wallets = append(n.wallets, WalletInfo{Address: wallet.FormatAddress(key.Address()), Key: string(key.Export())})
	return nil
}

func (n *Network) newProvider(ctx context.Context, i int) (*provider, error) {
	id := idAddress(abi.ActorID(firstMinerID + i))
	name := wallet.FormatAddress(id)
	worker, err := wallet.Generate(wallet.BLS, n.random("worker", i))
	if err != nil {
		return nil, fault.Wrap(err, "make worker key")
	}
	home := filepath.Join(n.cfg.Home, name)
	p := &provider{
		id: id, name: name, home: home, ledger: n.ledger, worker: worker,
		terms: n.cfg.Terms, timers: n.cfg.Timers, log: n.cfg.Log.With("provider", name),
		held: newShelf(filepath.Join(home, "pieces")), client: newPullClient(pullSilence),
		silence: pullSilence, backoff: pullBackoff,
		pulling: make(chan struct{}, maxPulling), ctx: ctx,
		faults: n.cfg.Faults[i+1], changed: make(chan struct{}),
		deals: map[uuid.UUID]*agreement{}, proposals: map[cid.Cid]*agreement{}, nextSector: 1,
	}
	if err := p.makeHome(); err != nil {
		return nil, err
	}
	p.doors.keyFile = filepath.Join(home, "peer.key")
	if err := n.writePeerKey(p.doors.keyFile, i); err != nil {
		return nil, err
	}
	p.doors.handler, err = p.retrievalHandler(routing(n.present))
	return p, err
}

// join opens a provider's doors and writes it into the chain. One that starts
// with the fault of having vanished is on chain all the same.
func (n *Network) join(p *provider, i int) error {
	if err := p.doors.open(p); err != nil {
		return err
	}
	owner, err := wallet.Generate(wallet.Secp256k1, n.random("owner", i))
	if err != nil {
		return fault.Wrap(err, "make owner key")
	}
	at := p.doors.places()
	money := big.Mul(big.NewInt(providerFIL), builtin.TokenPrecision)
	n.ledger.AddAccount(owner.Address(), money)
	n.ledger.AddAccount(p.worker.Address(), money)
	n.ledger.AddMiner(chain.MinerInfo{
		Owner: owner.Address(), Worker: p.worker.Address(), PeerId: &at.peerID, Multiaddrs: at.raw,
	}, money)
	if p.faults.Has(Vanish) {
		return p.doors.shut()
	}
	return nil
}

// writePeerKey derives the libp2p identity of the i-th provider.
func (n *Network) writePeerKey(file string, i int) error {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(n.random("peer", i), seed); err != nil {
		return fault.Wrap(err, "derive peer key")
	}
	private := ed25519.NewKeyFromSeed(seed)
	key, _, err := crypto.KeyPairFromStdKey(&private)
	if err != nil {
		return fault.Wrap(err, "make peer key")
	}
	data, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return fault.Wrap(err, "encode peer key")
	}
	return fault.Wrap(os.WriteFile(file, data, 0o600), "write peer key")
}

// random is a stream of bytes that follows from the seed and what it is for.
func (n *Network) random(what string, which any) io.Reader {
	return rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%q/%s/%v", n.cfg.Seed, what, which)))
}

// present returns the providers that have not vanished.
func (n *Network) present() []*provider {
	return slices.DeleteFunc(slices.Clone(n.providers), func(p *provider) bool { return p.fault().Has(Vanish) })
}

// serveRPC listens for the chain's clients, and for the indexer's beside them.
func (n *Network) serveRPC(ctx context.Context) error {
	listener, err := net.Listen("tcp", n.cfg.RPC)
	if err != nil {
		return fault.New(fault.Unavailable, "listen for the chain: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/routing/v1/providers/{cid}", routing(n.present))
	mux.Handle("/devnet/", n.control())
	mux.Handle("/", newRPC(ctx, n.ledger, n.cfg.Log))
	n.rpcURL = "http://" + listener.Addr().String()
	n.rpc = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	n.work.Go(func() {
		if err := n.rpc.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.cfg.Log.Error("chain server ended", "err", err)
		}
	})
	return nil
}

// Info returns how the network is reached. It does not change while it runs.
func (n *Network) Info() Info {
	info := Info{RPC: n.rpcURL, Wallets: slices.Clone(n.wallets)}
	for _, p := range n.providers {
		at := p.doors.places()
		info.Providers = append(info.Providers, ProviderInfo{
			ID: p.name, PeerID: at.peerID, Multiaddrs: at.multiaddrs, HTTP: "http://" + at.web,
		})
	}
	return info
}

// SetFault gives a provider ("f01000") a set of faults in place of those it
// has; zero makes it well again, and what waited goes on. An unknown provider
// is NotFound, one that cannot listen where it did Unavailable.
func (n *Network) SetFault(provider string, f Fault) error {
	p, err := n.provider(provider)
	if err != nil {
		return err
	}
	n.faults.Lock()
	defer n.faults.Unlock()
	return p.setFault(f)
}

// Import gives an offline deal its data, as a provider's operator does once a
// disk has arrived. Data that are not the deal's are Invalid, and the deal
// waits on; a deal that does not wait is Conflict.
func (n *Network) Import(ctx context.Context, provider string, deal uuid.UUID, data io.Reader) error {
	p, err := n.provider(provider)
	if err != nil {
		return err
	}
	return fault.Wrap(p.importData(ctx, deal, data), "import data of deal %s", deal)
}

func (n *Network) provider(name string) (*provider, error) {
	for _, p := range n.providers {
		if p.name == name {
			return p, nil
		}
	}
	return nil, fault.New(fault.NotFound, "provider %s: this network has none of that id", name)
}

// Advance moves the chain on at once; what falls due in between happens.
func (n *Network) Advance(epochs int) { n.ledger.Advance(int64(epochs)) }

// Run waits until ctx ends, then closes the network.
func (n *Network) Run(ctx context.Context) error {
	<-ctx.Done()
	return errors.Join(ctx.Err(), n.Close())
}

// Close ends everything and removes the pulled pieces. It may be called again.
func (n *Network) Close() error {
	n.closing.Do(func() { n.closed = n.close() })
	return n.closed
}

func (n *Network) close() error {
	n.stop()
	var errs []error
	if n.rpc != nil {
		errs = append(errs, n.rpc.Close())
	}
	n.work.Wait()
	n.faults.Lock()
	defer n.faults.Unlock()
	for _, p := range n.providers {
		errs = append(errs, p.doors.shut())
		p.work.Wait()
		p.client.CloseIdleConnections()
		errs = append(errs, os.RemoveAll(p.home))
	}
	if n.temporary {
		errs = append(errs, os.RemoveAll(n.cfg.Home))
	}
	return errors.Join(errs...)
}

// openHome makes the folder of the network. What an earlier one left in it, by
// dying, is of no use to anybody.
func (n *Network) openHome() (err error) {
	if n.cfg.Home == "" {
		n.temporary = true
		n.cfg.Home, err = os.MkdirTemp("", "firth-devnet-")
		return fault.Wrap(err, "make a home")
	}
	n.cfg.Home = filepath.Join(n.cfg.Home, "devnet")
	if err := os.RemoveAll(n.cfg.Home); err != nil {
		return fault.Wrap(err, "clear home")
	}
	return fault.Wrap(os.MkdirAll(n.cfg.Home, 0o700), "make home")
}
