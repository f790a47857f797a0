package mk12_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
)

// lambda is a tape whose proposals are judged by a function.
type lambda struct {
	tape
	propose func(context.Context) mk12.DealResponse
}

func (p *lambda) Propose(ctx context.Context, _ peer.ID, _ mk12.DealParams) mk12.DealResponse {
	return p.propose(ctx)
}

func TestServeSurvivesNonsense(t *testing.T) {
	server, dialer, provider := host(t), host(t), &tape{answer: &mk12.DealResponse{Accepted: true}}
	t.Cleanup(mk12.Serve(server, provider, nil))
	for name, data := range map[string][]byte{
		"nothing":    {},
		"nonsense":   []byte("GET / HTTP/1.1\r\n\r\n"),
		"half a key": {0xa7, 0x68, 'D', 'e', 'a', 'l'},
		"endless":    bytes.Repeat([]byte{0x81}, mk12.MaxMessage+1),
		"wrong type": {0x80},
	} {
		s, err := dialer.Open(t.Context(), info(server), mk12.DealV121)
		if err != nil {
			t.Fatal(err)
		}
		// Either may find the stream reset already.
		_, _ = s.Write(data)
		_ = s.CloseWrite()
		if got, err := io.ReadAll(s); err == nil || len(got) > 0 {
			t.Errorf("%s was answered: %x, %v", name, got, err)
		}
		_ = s.Close()
	}
	if len(provider.asked) > 0 {
		t.Errorf("the provider was bothered: %v", provider.asked)
	}
	if r, err := mk12.NewClient(dialer).Propose(t.Context(), info(server), recordedDeal(t)); err != nil || !r.Accepted {
		t.Errorf("a proposal after all that: %+v, %v", r, err)
	}
}

func TestServeSurvivesProviderPanic(t *testing.T) {
	server, dialer := host(t), host(t)
	var logged synced
	panics := true
	provider := &lambda{propose: func(context.Context) mk12.DealResponse {
		if panics {
			panics = false
			panic("tide is out")
		}
		return mk12.DealResponse{Accepted: true}
	}}
	stop := mk12.Serve(server, provider, slog.New(slog.NewTextHandler(&logged, nil)))
	client := mk12.NewClient(dialer)
	if _, err := client.Propose(t.Context(), info(server), recordedDeal(t)); !errors.Is(err, mk12.ErrUnanswered) {
		t.Errorf("during the panic: %v", err)
	}
	if r, err := client.Propose(t.Context(), info(server), recordedDeal(t)); err != nil || !r.Accepted {
		t.Errorf("after the panic: %+v, %v", r, err)
	}
	stop()
	for _, part := range []string{"tide is out", string(mk12.DealV121), dialer.ID().String(), "serve_test.go"} {
		if !strings.Contains(logged.String(), part) {
			t.Errorf("the log lacks %q: %s", part, logged.String())
		}
	}
}

// synced is a buffer for a logger that other goroutines use.
type synced struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func TestStopCancelsAndWaits(t *testing.T) {
	server, dialer := host(t), host(t)
	judging, ended := make(chan struct{}), atomic.Bool{}
	provider := &lambda{propose: func(ctx context.Context) mk12.DealResponse {
		close(judging)
		<-ctx.Done()
		ended.Store(true)
		return mk12.DealResponse{}
	}}
	stop := mk12.Serve(server, provider, nil)
	client, result := mk12.NewClient(dialer), make(chan error)
	go func() {
		_, err := client.Propose(t.Context(), info(server), recordedDeal(t))
		result <- err
	}()
	<-judging
	stop()
	if !ended.Load() {
		t.Error("stop returned before the provider did")
	}
	if err := <-result; !errors.Is(err, mk12.ErrUnanswered) {
		t.Errorf("the proposal in the making: %v", err)
	}
	if _, err := client.Propose(t.Context(), info(server), recordedDeal(t)); !errors.Is(err, p2p.ErrUnsupported) {
		t.Errorf("a proposal after stop: %v", err)
	}
	stop()
}

// More proposals than may be judged at a time wait for their turn, and peers
// that dawdle over their request do not count.
func TestServeBoundsAnswers(t *testing.T) {
	const slots = 64
	const each = 50 // streams of one peer, below the host's limit of 64 a peer and protocol
	server, dawdler := host(t), host(t)
	var now, most atomic.Int32
	var once sync.Once
	full := make(chan struct{})
	release := make(chan struct{})
	provider := &lambda{propose: func(context.Context) mk12.DealResponse {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == slots {
			once.Do(func() { close(full) })
		}
		<-release
		return mk12.DealResponse{Accepted: true}
	}}
	t.Cleanup(mk12.Serve(server, provider, nil))
	for range each {
		s, err := dawdler.Open(t.Context(), info(server), mk12.DealV121)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		if _, err := s.Write([]byte{0xa7}); err != nil {
			t.Fatal(err)
		}
	}
	deal := recordedDeal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for _, client := range []*mk12.Client{mk12.NewClient(host(t)), mk12.NewClient(host(t))} {
		for range each {
			all.Go(func() {
				if r, err := client.Propose(ctx, info(server), deal); err != nil || !r.Accepted {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
	}
	select {
	case <-full:
	case <-ctx.Done():
		t.Error("the slots never filled")
	}
	close(release)
	all.Wait()
	if got := most.Load(); got != slots {
		t.Errorf("%d answers in the making at a time, want %d", got, slots)
	}
}
