package p2p

import (
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/firth-project/firth/base/fault"
)

// Config says who a host is and where it listens. The zero value is a host
// with a throw-away identity on a free loopback port.
type Config struct {
	KeyFile     string        // identity, created at first start with mode 0600; "" for one that is not kept
	Listen      []string      // TCP multiaddrs; none means /ip4/127.0.0.1/tcp/0
	Announce    []string      // multiaddrs told to others in place of those listened on
	DialTimeout time.Duration // bound for reaching a peer, 15 s when zero
	UserAgent   string        // told to peers, "firth" when empty
	Log         *slog.Logger  // nothing is logged when nil
}

// A connected peer nobody has talked to for a while is let go above lowPeers.
const (
	lowPeers           = 64
	highPeers          = 128
	defaultDialTimeout = 15 * time.Second
)

// Host is a libp2p host whose dials and streams are bounded in time and whose
// errors are classified.
type Host struct {
	host.Host
	dialTimeout time.Duration
}

// New starts a host: on return it listens on every address of the
// configuration. A malformed address or key file is Invalid, an address that
// is taken Unavailable. The caller closes it.
func New(c Config) (*Host, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if len(c.Listen) == 0 {
		c.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	}
	if c.UserAgent == "" {
		c.UserAgent = "firth"
	}
	opts, err := options(c)
	if err != nil {
		return nil, err
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen on %v: %w", c.Listen, err)
	}
	// libp2p is content when one of the addresses works.
	if got := h.Network().ListenAddresses(); len(got) < len(c.Listen) {
		h.Close()
		return nil, fault.New(fault.Unavailable, "listen on %v: only %v can be listened on; is another process there?", c.Listen, got)
	}
	return &Host{Host: h, dialTimeout: c.DialTimeout}, nil
}

// Multiaddrs returns the addresses under which others reach the host, each
// with the /p2p/ part that names it. (Addrs, of the embedded host, is without.)
func (h *Host) Multiaddrs() []ma.Multiaddr {
	info := peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}
	full, err := peer.AddrInfoToP2pAddrs(&info)
	if err != nil {
		panic(err) // only of a malformed peer id, and this one is our own
	}
	return full
}

func options(c Config) ([]libp2p.Option, error) {
	listen, err := multiaddrs(c.Listen)
	if err != nil {
		return nil, fault.Wrap(err, "listen address")
	}
	announce, err := multiaddrs(c.Announce)
	if err != nil {
		return nil, fault.Wrap(err, "announced address")
	}
	key, err := identity(c.KeyFile, c.Log)
	if err != nil {
		return nil, err
	}
	limits, err := resources()
	if err != nil {
		return nil, fault.Wrap(err, "set peer limits")
	}
	peers, err := connmgr.NewConnManager(lowPeers, highPeers)
	if err != nil {
		return nil, fault.Wrap(err, "set peer count")
	}
	return []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent(c.UserAgent),
		libp2p.ListenAddrs(listen...),
		libp2p.AddrsFactory(announced(announce)),
		// Without hole punching there is nothing to gain from dialing out of
		// the listening port, and a peer that comes back at once would meet
		// its own old connection.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.WithDialTimeout(c.DialTimeout),
		libp2p.ResourceManager(limits),
		libp2p.ConnectionManager(peers),
		libp2p.DisableMetrics(), // they would go to the process-wide registry
		libp2p.DisableRelay(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ForceReachabilityPublic(), // stops the probes; nothing else depends on it
	}, nil
}

// resources limits connections, streams and memory of one host; libp2p scales
// its defaults to the machine.
func resources() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()), rcmgr.WithMetricsDisabled())
}

func announced(fixed []ma.Multiaddr) func([]ma.Multiaddr) []ma.Multiaddr {
	return func(own []ma.Multiaddr) []ma.Multiaddr {
		if len(fixed) > 0 {
			return fixed
		}
		return own
	}
}

func multiaddrs(texts []string) ([]ma.Multiaddr, error) {
	addrs := make([]ma.Multiaddr, len(texts))
	for i, text := range texts {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%q is not a multiaddr (such as /ip4/127.0.0.1/tcp/24001): %w", text, err)
		}
		addrs[i] = a
	}
	return addrs, nil
}
