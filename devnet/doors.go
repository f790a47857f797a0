package devnet

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
)

// doors is how a provider is reached: a libp2p host and an HTTP server. They
// can be shut and opened again at the same addresses.
type doors struct {
	keyFile string
	handler http.Handler

	mu     sync.Mutex
	at     places // as at the first opening
	host   *p2p.Host
	stop   func() // of the deal protocols
	web    *http.Server
	served sync.WaitGroup
}

// places is where the doors are, open or not.
type places struct {
	peerID     string
	listen     []string // multiaddrs without /p2p/
	multiaddrs []string // with it
	raw        [][]byte // listen in binary, as the chain has it
	web        string   // host:port
	webAddr    multiaddr.Multiaddr
}

// open listens for mk1.2 on behalf of p, and for retrievals. The first time on
// free loopback ports.
func (d *doors) open(p *provider) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.host != nil {
		return nil
	}
	host, err := p2p.New(p2p.Config{KeyFile: d.keyFile, Listen: d.at.listen, UserAgent: "firth-devnet", Log: p.log})
	if err != nil {
		return fault.Wrap(err, "open provider %s", p.name)
	}
	address := d.at.web
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Join(fault.New(fault.Unavailable, "open provider %s: %w", p.name, err), host.Close())
	}
	if d.at.peerID == "" {
		if d.at, err = placesOf(host, listener); err != nil {
			return errors.Join(err, host.Close(), listener.Close())
		}
	}
	d.host, d.stop = host, mk12.Serve(host, p, p.log)
	web := &http.Server{Handler: d.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	d.web = web
	d.served.Go(func() {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("retrieval server ended", "err", err)
		}
	})
	return nil
}

// shut breaks every connection and listens no more. It returns when nothing is
// under way any more.
func (d *doors) shut() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.host == nil {
		return nil
	}
	err := d.web.Close()
	d.stop()
	err = errors.Join(err, d.host.Close())
	d.served.Wait()
	d.host, d.web = nil, nil
	return err
}

func (d *doors) places() places {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func placesOf(host *p2p.Host, listener net.Listener) (places, error) {
	at := places{peerID: host.ID().String(), web: listener.Addr().String()}
	for _, a := range host.Addrs() {
		at.listen = append(at.listen, a.String())
		at.raw = append(at.raw, slices.Clone(a.Bytes()))
	}
	for _, a := range host.Multiaddrs() {
		at.multiaddrs = append(at.multiaddrs, a.String())
	}
	tcp := listener.Addr().(*net.TCPAddr)
	webAddr, err := multiaddr.NewMultiaddr(fmt.Sprintf("/ip4/%s/tcp/%d/http", tcp.IP, tcp.Port))
	at.webAddr = webAddr
	return at, fault.Wrap(err, "address of the retrieval server")
}
