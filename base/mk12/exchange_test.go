package mk12_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
)

// tape is a provider that notes what it is asked and answers what it is told.
type tape struct {
	mu     sync.Mutex
	asked  []any
	from   peer.ID
	answer any
}

func (p *tape) note(question any) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, question)
	return p.answer
}

func (p *tape) Propose(_ context.Context, from peer.ID, q mk12.DealParams) mk12.DealResponse {
	p.mu.Lock()
	p.from = from
	p.mu.Unlock()
	return *p.note(&q).(*mk12.DealResponse)
}

func (p *tape) Status(_ context.Context, q mk12.DealStatusRequest) mk12.DealStatusResponse {
	return *p.note(&q).(*mk12.DealStatusResponse)
}

func (p *tape) Ask(_ context.Context, miner address.Address) mk12.AskResponse {
	return *p.note(&mk12.AskRequest{Miner: miner}).(*mk12.AskResponse)
}

func (p *tape) Transports(context.Context) mk12.TransportsResponse {
	return *p.note(nil).(*mk12.TransportsResponse)
}

// replay sets the tape to one recorded exchange and returns its request (nil
// when it has none) and answer.
func (p *tape) replay(t *testing.T, e exchange) (request, answer message) {
	if e.Request != nil {
		request = e.Request.message(t)
		if err := mk12.Decode(e.Request.bytes(t), request); err != nil {
			t.Fatal(err)
		}
	}
	answer = e.Response.message(t)
	if err := mk12.Decode(e.Response.bytes(t), answer); err != nil {
		t.Fatal(err)
	}
	p.asked, p.answer = nil, answer
	return request, answer
}

func (p *tape) check(t *testing.T, request message) {
	t.Helper()
	want := []any{request}
	if request == nil {
		want = []any{nil}
	}
	if !reflect.DeepEqual(p.asked, want) {
		t.Errorf("the provider was asked %+v, want %+v", p.asked, want)
	}
}

func host(t *testing.T) *p2p.Host {
	t.Helper()
	h, err := p2p.New(p2p.Config{DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func info(h *p2p.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// The recorded bytes of third-party clients get the recorded bytes back.
func TestServeRecordedRequests(t *testing.T) {
	server, dialer, provider := host(t), host(t), &tape{}
	t.Cleanup(mk12.Serve(server, provider, nil))
	for _, e := range exchanges(t) {
		t.Run(e.Name, func(t *testing.T) {
			request, _ := provider.replay(t, e)
			s, err := dialer.Open(t.Context(), info(server), protocol.ID(e.Protocol))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if e.Request != nil {
				// Like Boost's client: the writing side is left open.
				if _, err := s.Write(e.Request.bytes(t)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := io.ReadAll(s)
			if err != nil || !bytes.Equal(got, e.Response.bytes(t)) {
				t.Errorf("answer %x, %v\nwant   %s", got, err, e.Response.Hex)
			}
			provider.check(t, request)
		})
	}
}

// The client says what was recorded and understands what was answered.
func TestClientAgainstServe(t *testing.T) {
	server, dialer, provider := host(t), host(t), &tape{}
	t.Cleanup(mk12.Serve(server, provider, nil))
	client := mk12.NewClient(dialer)
	for _, e := range exchanges(t) {
		t.Run(e.Name, func(t *testing.T) {
			request, answer := provider.replay(t, e)
			got, err := call(t.Context(), client, info(server), request)
			if err != nil {
				t.Fatal(err)
			}
			if a, ok := answer.(*mk12.AskResponse); ok {
				answer = nil
				if !reflect.DeepEqual(got, *a.Ask) {
					t.Errorf("got ask %+v", got)
				}
			}
			if answer != nil && !reflect.DeepEqual(got, reflect.ValueOf(answer).Elem().Interface()) {
				t.Errorf("got %+v, want %+v", got, answer)
			}
			provider.check(t, request)
		})
	}
	if provider.from != dialer.ID() {
		t.Errorf("the proposal came from %s, want %s", provider.from, dialer.ID())
	}
}

// call makes the client send request; nil asks for the transports.
func call(ctx context.Context, c *mk12.Client, to peer.AddrInfo, request message) (any, error) {
	switch q := request.(type) {
	case *mk12.DealParams:
		return c.Propose(ctx, to, *q)
	case *mk12.DealStatusRequest:
		return c.Status(ctx, to, q.DealUUID, func(data []byte) (crypto.Signature, error) {
			if !bytes.Equal(data, q.DealUUID[:]) {
				return crypto.Signature{}, errors.New("asked to sign something else")
			}
			return q.Signature, nil
		})
	case *mk12.AskRequest:
		return c.Ask(ctx, to, q.Miner)
	}
	return c.Transports(ctx, to)
}

func TestProposePrefersTheNewerProtocol(t *testing.T) {
	server, dialer := host(t), host(t)
	client, deal := mk12.NewClient(dialer), recordedDeal(t)
	var spoken protocol.ID
	accept := func(s network.Stream) {
		defer s.Close()
		spoken = s.Protocol()
		if err := mk12.Read(s, new(mk12.DealParams)); err != nil {
			t.Error(err)
		}
		data, _ := mk12.Encode(&mk12.DealResponse{Accepted: true})
		_, _ = s.Write(data)
	}
	_, err := client.Propose(t.Context(), info(server), deal)
	if !errors.Is(err, p2p.ErrUnsupported) || errors.Is(err, mk12.ErrUnanswered) || !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), string(mk12.DealV121)) {
		t.Errorf("a peer without the protocol: %v", err)
	}
	for _, id := range []protocol.ID{mk12.DealV120, mk12.DealV121} {
		server.SetStreamHandler(id, accept)
		if r, err := client.Propose(t.Context(), info(server), deal); err != nil || !r.Accepted || spoken != id {
			t.Errorf("proposed over %s, want %s: %+v, %v", spoken, id, r, err)
		}
	}
}

func recordedDeal(t *testing.T) (p mk12.DealParams) {
	t.Helper()
	if err := mk12.Decode(exchanges(t)[0].Request.bytes(t), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// Whatever a peer does instead of answering, the client returns an error in
// time that names it and says that the proposal may have arrived.
func TestClientOfMisbehavingPeers(t *testing.T) {
	server, dialer := host(t), host(t)
	client, deal := mk12.NewClient(dialer), recordedDeal(t)
	write := func(text string) network.StreamHandler {
		return func(s network.Stream) {
			data, err := hex.DecodeString(text)
			if err != nil {
				t.Error(err)
			}
			_, _ = s.Write(data)
			_ = s.Close()
		}
	}
	// Only what says nothing at all is waited for as long as it takes to be sure.
	server.SetStreamHandler(mk12.DealV121, write("80"))
	_, _ = client.Propose(t.Context(), info(server), deal) // and the connection stands
	for name, behave := range map[string]network.StreamHandler{
		"resets": func(s network.Stream) {
			_, _ = s.Read(make([]byte, 1))
			_ = s.Reset()
		},
		"hangs up":           func(s network.Stream) { _ = s.Close() },
		"is silent":          func(network.Stream) {},
		"stops half way":     write("a2674d657373616765"),
		"talks nonsense":     write("ff00ff00"),
		"answers a list":     write("80"),
		"claims a long text": write("a1674d6573736167657affffffff"),
		"never ends":         func(s network.Stream) { _, _ = io.Copy(s, endless{}) },
	} {
		t.Run(name, func(t *testing.T) {
			server.SetStreamHandler(mk12.DealV121, behave)
			limit := 3 * time.Minute
			if name == "is silent" {
				limit = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := client.Propose(ctx, info(server), deal)
			if !fault.Is(err, fault.Unavailable) || !errors.Is(err, mk12.ErrUnanswered) {
				t.Fatalf("got %v", err)
			}
			for _, part := range []string{server.ID().String(), string(mk12.DealV121), deal.DealUUID.String()} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error does not name %s: %v", part, err)
				}
			}
		})
	}
}

// endless is a CBOR text that goes on and on, in chunks of nested arrays.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0x81
	}
	return len(p), nil
}

func TestClientOfWrongAnswers(t *testing.T) {
	server, dialer, provider := host(t), host(t), &tape{}
	t.Cleanup(mk12.Serve(server, provider, nil))
	client := mk12.NewClient(dialer)
	sign := func([]byte) (crypto.Signature, error) {
		return crypto.Signature{Type: crypto.SigTypeSecp256k1, Data: make([]byte, 65)}, nil
	}
	provider.answer = &mk12.DealStatusResponse{DealUUID: uuid.New()}
	if _, err := client.Status(t.Context(), info(server), uuid.New(), sign); !fault.Is(err, fault.Unavailable) {
		t.Errorf("status of another deal: %v", err)
	}
	provider.answer = &mk12.DealStatusResponse{DealUUID: uuid.New(), DealStatus: new(mk12.DealStatus)}
	if _, err := client.Status(t.Context(), info(server), uuid.New(), sign); !errors.Is(err, mk12.ErrUnanswered) {
		t.Errorf("status that cannot be encoded: %v", err)
	}

	ours, theirs := mustID(t, 1000), mustID(t, 1001)
	provider.answer = &mk12.AskResponse{}
	if _, err := client.Ask(t.Context(), info(server), ours); !fault.Is(err, fault.NotFound) {
		t.Errorf("no ask set: %v", err)
	}
	provider.answer = &mk12.AskResponse{Ask: &mk12.SignedStorageAsk{Ask: &mk12.StorageAsk{Miner: theirs}}}
	if _, err := client.Ask(t.Context(), info(server), ours); !fault.Is(err, fault.Unavailable) {
		t.Errorf("ask of another provider: %v", err)
	}

	if _, err := client.Propose(t.Context(), info(server), mk12.DealParams{}); !fault.Is(err, fault.Invalid) || errors.Is(err, mk12.ErrUnanswered) {
		t.Errorf("a proposal that cannot be sent: %v", err)
	}
	refusal := errors.New("wallet is locked")
	_, err := client.Status(t.Context(), info(server), uuid.New(), func([]byte) (crypto.Signature, error) { return crypto.Signature{}, refusal })
	if !errors.Is(err, refusal) {
		t.Errorf("signer refused: %v", err)
	}
}

func mustID(t *testing.T, id uint64) address.Address {
	t.Helper()
	a, err := address.NewIDAddress(id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
