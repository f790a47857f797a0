package p2p

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	multistream "github.com/multiformats/go-multistream"

	"github.com/firth-project/firth/base/fault"
)

// ErrUnsupported is in the chain of Open's error when the peer was reached and
// speaks none of the protocols asked for.
var ErrUnsupported = errors.New("the peer does not speak the protocol")

// Connect makes sure of a connection to the peer, within the dial timeout. It
// hides the embedded host's method of the same shape: a peer that cannot be
// reached is Unavailable, one without an id or any known address Invalid.
func (h *Host) Connect(ctx context.Context, to peer.AddrInfo) error {
	if err := to.ID.Validate(); err != nil {
		return fault.New(fault.Invalid, "connect: a peer without an id: %w", err)
	}
	if to.ID == h.ID() {
		return fault.New(fault.Invalid, "connect to %s: that is this host", to.ID)
	}
	if h.Network().Connectedness(to.ID) != network.Connected {
		if len(to.Addrs) == 0 && len(h.Peerstore().Addrs(to.ID)) == 0 {
			return fault.New(fault.Invalid, "connect to %s: no address is known", to.ID)
		}
		// Callers keep their own back-off; libp2p's would turn their next
		// attempt away without making it.
		if s, ok := h.Network().(*swarm.Swarm); ok {
			s.Backoff().Clear(to.ID)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, h.dialTimeout)
	defer cancel()
	if err := h.Host.Connect(ctx, to); err != nil {
		return fault.New(fault.Unavailable, "connect to %s: %w", to.ID, err)
	}
	return nil
}

// Open connects to the peer and opens a stream for the first of the protocols
// it speaks. Negotiation is over when Open returns, so an error means that the
// peer has not seen a byte of what the caller wants to say: Unavailable,
// wrapping ErrUnsupported when it speaks none of them.
//
// The stream's deadline is that of ctx, and it is reset when ctx ends; the
// caller must Close or Reset it.
func (h *Host) Open(ctx context.Context, to peer.AddrInfo, ids ...protocol.ID) (network.Stream, error) {
	if err := h.Connect(ctx, to); err != nil {
		return nil, err
	}
	s, err := h.Network().NewStream(network.WithNoDial(ctx, "connected already"), to.ID)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open stream to %s: %w", to.ID, err)
	}
	if err := h.negotiate(ctx, s, ids); err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed) // it is given up either way
		return nil, err
	}
	return bind(ctx, s)
}

// negotiate settles the stream's protocol. It asks the peer itself and not the
// peerstore, whose word is from the last time the peers met.
func (h *Host) negotiate(ctx context.Context, s network.Stream, ids []protocol.ID) error {
	ctx, cancel := context.WithTimeout(ctx, h.dialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	chosen, err := multistream.SelectOneOf(ids, s)
	remote := s.Conn().RemotePeer()
	switch {
	case errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}):
		return fault.New(fault.Unavailable, "peer %s, protocol %v: %w", remote, ids, ErrUnsupported)
	case ctx.Err() != nil:
		return fault.New(fault.Unavailable, "peer %s, protocol %v: negotiate: %w", remote, ids, ctx.Err())
	case err != nil:
		return fault.New(fault.Unavailable, "peer %s, protocol %v: negotiate: %w", remote, ids, err)
	}
	if err := s.SetProtocol(chosen); err != nil {
		return fault.New(fault.Exhausted, "peer %s, protocol %s: stream limit: %w", remote, chosen, err)
	}
	return nil
}

// bound is a stream that ends with a context.
type bound struct {
	network.Stream
	release func() bool
}

func bind(ctx context.Context, s network.Stream) (network.Stream, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Time{}
	}
	if err := s.SetDeadline(deadline); err != nil {
		_ = s.Reset()
		return nil, fault.New(fault.Unavailable, "peer %s: set stream deadline: %w", s.Conn().RemotePeer(), err)
	}
	return &bound{Stream: s, release: context.AfterFunc(ctx, func() { _ = s.Reset() })}, nil
}

func (b *bound) Close() error {
	b.release()
	return b.Stream.Close()
}

func (b *bound) Reset() error {
	b.release()
	return b.Stream.Reset()
}

func (b *bound) ResetWithError(code network.StreamErrorCode) error {
	b.release()
	return b.Stream.ResetWithError(code)
}
