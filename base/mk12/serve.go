package mk12

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/p2p"
)

// Provider is what the server half asks for answers. Its methods are called by
// many goroutines at once, after the request was read and before ctx ends
// (answerTimeout, or the server being stopped). What it returns before that is
// sent as it stands, also when the provider is not well: then it is a rejection,
// or has its Error set. What it returns later is dropped, so that giving up
// never looks like a rejection.
type Provider interface {
	Propose(ctx context.Context, from peer.ID, p DealParams) DealResponse
	// Status must verify the request's signature itself: it alone knows the
	// client of the deal.
	Status(ctx context.Context, r DealStatusRequest) DealStatusResponse
	Ask(ctx context.Context, miner address.Address) AskResponse
	Transports(ctx context.Context) TransportsResponse
}

// Bounds of the server half, on each of its hosts.
const (
	requestTimeout = 10 * time.Second // for a request to arrive
	answerTimeout  = 50 * time.Second // for a provider to answer, waiting for a slot included; below the client's patience
	writeTimeout   = 10 * time.Second // for an answer to leave
	maxAnswering   = 64               // answers in the making at a time
)

// Serve registers the protocols on h and answers for p until stop is called,
// which cancels the answers in the making and returns when they have ended; it
// may be called again. Streams that send nonsense are reset. A panic of p
// resets its stream, is logged and harms nothing else. Nothing is logged when
// log is nil.
func Serve(h *p2p.Host, p Provider, log *slog.Logger) (stop func()) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &server{log: log, slots: make(chan struct{}, maxAnswering)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	served := routes(p)
	for id, r := range served {
		h.SetStreamHandler(id, func(stream network.Stream) { s.serve(stream, r) })
	}
	return func() {
		for id := range served {
			h.RemoveStreamHandler(id)
		}
		s.stop()
	}
}

// route is one protocol: how its request is made room for (nil when it has
// none), and how it is answered.
type route struct {
	request func() cbg.CBORUnmarshaler
	answer  func(ctx context.Context, from peer.ID, request cbg.CBORUnmarshaler) cbg.CBORMarshaler
}

func routes(p Provider) map[protocol.ID]route {
	deal := routeOf(func(ctx context.Context, from peer.ID, q *DealParams) cbg.CBORMarshaler {
		r := p.Propose(ctx, from, *q)
		return &r
	})
	return map[protocol.ID]route{
		DealV120: deal,
		DealV121: deal,
		StatusV120: routeOf(func(ctx context.Context, _ peer.ID, q *DealStatusRequest) cbg.CBORMarshaler {
			r := p.Status(ctx, *q)
			return &r
		}),
		AskV110: routeOf(func(ctx context.Context, _ peer.ID, q *AskRequest) cbg.CBORMarshaler {
			r := p.Ask(ctx, q.Miner)
			return &r
		}),
		TransportsV100: {answer: func(ctx context.Context, _ peer.ID, _ cbg.CBORUnmarshaler) cbg.CBORMarshaler {
			r := p.Transports(ctx)
			return &r
		}},
	}
}

// routeOf makes the route of one type of request.
func routeOf[Q any, P interface {
	*Q
	cbg.CBORUnmarshaler
}](answer func(context.Context, peer.ID, P) cbg.CBORMarshaler) route {
	return route{
		request: func() cbg.CBORUnmarshaler { return P(new(Q)) },
		answer: func(ctx context.Context, from peer.ID, q cbg.CBORUnmarshaler) cbg.CBORMarshaler {
			return answer(ctx, from, q.(P))
		},
	}
}

type server struct {
	log    *slog.Logger
	ctx    context.Context // of every answer; ends with stop
	cancel context.CancelFunc
	slots  chan struct{}

	mu      sync.Mutex
	stopped bool
	streams sync.WaitGroup // counted up only under mu and while not stopped
}

// enter counts a stream in, unless the server is stopped.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.streams.Add(1)
	}
	return !s.stopped
}

func (s *server) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.streams.Wait()
}

// serve answers one stream and is the end of its errors.
func (s *server) serve(stream network.Stream, r route) {
	if !s.enter() {
		_ = stream.Reset()
		return
	}
	defer s.streams.Done()
	log := s.log.With("protocol", string(stream.Protocol()), "peer", stream.Conn().RemotePeer().String())
	defer func() {
		if cause := recover(); cause != nil {
			_ = stream.Reset()
			log.Error("deal protocol panicked", "panic", cause, "stack", string(debug.Stack()))
		}
	}()
	// Stopping must not wait for a slow peer.
	defer context.AfterFunc(s.ctx, func() { _ = stream.Reset() })()

	if err := s.answer(stream, r); err != nil {
		_ = stream.Reset()
		level := slog.LevelDebug // outsiders must not fill the log
		if fault.Is(err, fault.Internal) {
			level = slog.LevelError
		}
		log.Log(s.ctx, level, "deal protocol stream given up", "error", err)
		return
	}
	_ = stream.Close() // nobody is left to tell
}

// answer reads the request before it waits for a slot and sends the answer
// after it left it, so that peers that dawdle hold up nobody: their number is
// the host's limit on streams. An error that is Internal is the provider's, all
// others are the peer's.
func (s *server) answer(stream network.Stream, r route) error {
	request, err := receive(stream, r)
	if err != nil {
		return err
	}
	data, err := s.judge(stream.Conn().RemotePeer(), r, request)
	if err != nil {
		return err
	}
	return send(stream, data)
}

// judge gets the provider's answer, within a slot, as it goes over the wire.
func (s *server) judge(from peer.ID, r route, request cbg.CBORUnmarshaler) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.ctx, answerTimeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, fault.New(fault.Exhausted, "wait for one of %d slots: %w", maxAnswering, ctx.Err())
	}
	answer := r.answer(ctx, from, request)
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Unavailable, "the answer came too late: %w", err)
	}
	data, err := Encode(answer)
	if err != nil {
		return nil, fault.New(fault.Internal, "the provider's answer: %w", err)
	}
	return data, nil
}

func receive(stream network.Stream, r route) (cbg.CBORUnmarshaler, error) {
	if r.request == nil {
		return nil, nil
	}
	if err := stream.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, fault.Mark(fault.Unavailable, err)
	}
	request := r.request()
	return request, Read(stream, request)
}

func send(stream network.Stream, data []byte) error {
	if err := stream.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fault.Mark(fault.Unavailable, err)
	}
	_, err := stream.Write(data)
	return fault.Mark(fault.Unavailable, err)
}
