package mk12

import (
	"context"
	"errors"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/p2p"
)

// ErrUnanswered is in the chain of an error that came after the request may
// have reached the peer: whether it acted on it is unknown. Who proposed then
// asks for the status before proposing again. Errors without it prove that the
// peer has seen nothing.
var ErrUnanswered = errors.New("no usable answer")

// exchangeTimeout bounds one request from dial to answer. Boost judges a
// proposal in seconds; its own client waits as long.
const exchangeTimeout = 60 * time.Second

// Client is the client half of the protocols. Its methods may be called by any
// number of goroutines. A peer that is gone, slow, speaks none of the protocols
// (p2p.ErrUnsupported) or answers nonsense is Unavailable, and the error names
// peer and protocol; a message that cannot be sent is Invalid.
type Client struct {
	host *p2p.Host
}

// NewClient makes a client that dials out of h.
func NewClient(h *p2p.Host) *Client { return &Client{host: h} }

// Propose offers a deal, over 1.2.1 where the peer speaks it, else over 1.2.0.
// A rejection is an answer, not an error.
func (c *Client) Propose(ctx context.Context, to peer.AddrInfo, p DealParams) (DealResponse, error) {
	var answer DealResponse
	err := c.exchange(ctx, to, &p, &answer, DealV121, DealV120)
	return answer, fault.Wrap(err, "propose deal %s", p.DealUUID)
}

// Status asks how a deal stands. sign signs the sixteen bytes of the UUID with
// the key of the deal's client. A deal that the peer does not know, or does not
// want to talk about, is an answer with Error set.
func (c *Client) Status(ctx context.Context, to peer.AddrInfo, deal uuid.UUID, sign func([]byte) (crypto.Signature, error)) (DealStatusResponse, error) {
	signature, err := sign(deal[:])
	if err != nil {
		return DealStatusResponse{}, fault.Wrap(err, "sign status request of deal %s", deal)
	}
	var answer DealStatusResponse
	request := DealStatusRequest{DealUUID: deal, Signature: signature}
	err = c.exchange(ctx, to, &request, &answer, StatusV120)
	if err == nil && answer.DealUUID != deal {
		err = nonsense(to, StatusV120, "the answer is about deal %s", answer.DealUUID)
	}
	if err != nil {
		return DealStatusResponse{}, fault.Wrap(err, "status of deal %s", deal)
	}
	return answer, nil
}

// Ask fetches the terms of a provider, NotFound when it has set none. The
// signature is the caller's to verify: it takes the provider's worker key.
func (c *Client) Ask(ctx context.Context, to peer.AddrInfo, miner address.Address) (SignedStorageAsk, error) {
	var answer AskResponse
	err := c.exchange(ctx, to, &AskRequest{Miner: miner}, &answer, AskV110)
	switch {
	case err != nil:
	case answer.Ask == nil || answer.Ask.Ask == nil:
		err = fault.New(fault.NotFound, "peer %s, protocol %s: the provider has set no ask", to.ID, AskV110)
	case answer.Ask.Ask.Miner.Protocol() == miner.Protocol() && answer.Ask.Ask.Miner != miner:
		err = nonsense(to, AskV110, "the answer is about provider %s", answer.Ask.Ask.Miner)
	}
	if err != nil {
		return SignedStorageAsk{}, fault.Wrap(err, "ask of provider %s", miner)
	}
	return *answer.Ask, nil
}

// Transports fetches the ways in which the peer serves retrievals.
func (c *Client) Transports(ctx context.Context, to peer.AddrInfo) (TransportsResponse, error) {
	var answer TransportsResponse
	err := c.exchange(ctx, to, nil, &answer, TransportsV100)
	return answer, fault.Wrap(err, "retrieval transports")
}

// exchange sends request (none when nil) and reads answer over a stream of its
// own. On error answer may be half filled.
func (c *Client) exchange(ctx context.Context, to peer.AddrInfo, request cbg.CBORMarshaler, answer cbg.CBORUnmarshaler, ids ...protocol.ID) error {
	var data []byte
	if request != nil {
		var err error
		if data, err = Encode(request); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	s, err := c.host.Open(ctx, to, ids...)
	if err != nil {
		return err
	}
	if err := converse(s, data, answer); err != nil {
		_ = s.Reset() // the stream is of no use either way
		if ctx.Err() != nil {
			err = ctx.Err() // it reset the stream, which says less
		}
		return nonsense(to, s.Protocol(), "%w", err)
	}
	_ = s.Close() // the answer is here
	return nil
}

func converse(s network.Stream, data []byte, answer cbg.CBORUnmarshaler) error {
	if _, err := s.Write(data); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	return Read(s, answer)
}

// nonsense is the error of a peer that was asked and did not answer properly.
func nonsense(to peer.AddrInfo, id protocol.ID, format string, args ...any) error {
	args = append([]any{to.ID, id, ErrUnanswered}, args...)
	return fault.New(fault.Unavailable, "peer %s, protocol %s: %w: "+format, args...)
}
