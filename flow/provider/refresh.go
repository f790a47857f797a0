package provider

import (
	"context"
	"errors"
	"net"
	"strings"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
)

const kindRefresh = "refresh"

// Refresh looks a provider up: its addresses on chain, its terms and retrieval
// transports from itself. That it cannot be reached is a result, not an error.
func (s *Service) Refresh(ctx context.Context, actor string) (Provider, error) {
	p, err := s.Get(ctx, actor)
	if err != nil {
		return Provider{}, err
	}
	p.State, p.Reason = Online, ""
	if err := s.lookUp(ctx, &p); err != nil {
		if ctx.Err() != nil {
			return Provider{}, ctx.Err()
		}
		p.State, p.Reason = Offline, err.Error()
	}
	now := s.now()
	p.CheckedAt = &now
	return p, s.keep(ctx, p)
}

// keep writes what a lookup found. A change of state, and whatever went wrong,
// is an observation too.
func (s *Service) keep(ctx context.Context, p Provider) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		before, err := saveFacts(ctx, tx, p)
		if err != nil {
			return err
		}
		if before == p.State && p.State == Online {
			return nil
		}
		o := Observation{Provider: p.ID, Kind: kindRefresh, OK: p.State == Online, Reason: p.Reason, At: *p.CheckedAt}
		if !o.OK {
			o.Code = "unreachable"
		}
		if err := s.Observe(ctx, tx, o); err != nil || before == p.State {
			return err
		}
		return s.announce(ctx, tx, p, *p.CheckedAt)
	})
}

// lookUp fills in the facts as far as they are to be had. The connection is
// made to the peer id that the chain names, so what comes over it is the
// provider's word; the ask's signature would prove the same again.
func (s *Service) lookUp(ctx context.Context, p *Provider) error {
	_, addr, err := ParseActor(p.Actor)
	if err != nil {
		return err
	}
	info, err := s.chain.MinerInfo(ctx, addr)
	if err != nil {
		return fault.Wrap(err, "chain")
	}
	p.Owner, p.SectorSize = wallet.FormatAddress(info.Owner), int64(info.SectorSize)
	to, err := info.AddrInfo()
	if err != nil {
		return err
	}
	p.PeerID, p.Multiaddrs = to.ID.String(), nil
	for _, a := range to.Addrs {
		p.Multiaddrs = append(p.Multiaddrs, a.String())
	}
	ask, err := s.peers.Ask(ctx, to, addr)
	if err != nil {
		return err
	}
	p.Price, p.VerifiedPrice = ask.Ask.Price.String(), ask.Ask.VerifiedPrice.String()
	p.MinPiece, p.MaxPiece = int64(ask.Ask.MinPieceSize), int64(ask.Ask.MaxPieceSize)
	transports, err := s.peers.Transports(ctx, to)
	if err != nil {
		// Not every provider speaks of them. What it said before still holds.
		s.log.DebugContext(ctx, "no retrieval transports", "provider", p.Actor, "err", err)
		return nil
	}
	p.HTTP = ""
	for _, t := range transports.Protocols {
		for _, raw := range t.Addresses {
			if url, err := httpURL(raw); err == nil && p.HTTP == "" {
				p.HTTP = url
			}
		}
	}
	return nil
}

// Peer returns where a provider is reached over libp2p, in the form the chain
// has it: chain.MinerInfo.AddrInfo turns it into an address to dial.
func (p Provider) Peer() (chain.MinerInfo, error) {
	info := chain.MinerInfo{PeerId: &p.PeerID}
	for _, text := range p.Multiaddrs {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return chain.MinerInfo{}, fault.New(fault.Invalid, "provider %s: address %q: %w", p.Actor, text, err)
		}
		info.Multiaddrs = append(info.Multiaddrs, a.Bytes())
	}
	return info, nil
}

// httpURL reads a multiaddr that ends in /http, /https or /tls/http, with or
// without an http-path, as the base URL it means.
func httpURL(raw []byte) (string, error) {
	a, err := ma.NewMultiaddrBytes(raw)
	if err != nil {
		return "", err
	}
	var host, port, path, scheme string
	secure := false
	for _, c := range a {
		switch p := c.Protocol(); p.Code {
		case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
			host = c.Value()
		case ma.P_TCP:
			port = c.Value()
		case ma.P_TLS:
			secure = true
		case ma.P_HTTP:
			scheme = "http"
		case ma.P_HTTPS:
			scheme, secure = "https", true
		case ma.P_HTTP_PATH:
			path = "/" + strings.Trim(strings.ReplaceAll(c.Value(), "%2F", "/"), "/")
		}
	}
	if scheme == "" || host == "" {
		return "", errors.New("no HTTP address")
	}
	if secure {
		scheme = "https"
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(host, port) + strings.TrimSuffix(path, "/"), nil
}
