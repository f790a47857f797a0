package p2p_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/p2p"
)

func open(t *testing.T, c p2p.Config) *p2p.Host {
	t.Helper()
	h, err := p2p.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func info(h *p2p.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

func TestIdentitySurvivesRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p2p", "peer.key")
	first := open(t, p2p.Config{KeyFile: file})
	first.Close()
	second := open(t, p2p.Config{KeyFile: file})
	if first.ID() != second.ID() {
		t.Errorf("peer id was %s, is %s", first.ID(), second.ID())
	}
	if !strings.HasPrefix(second.ID().String(), "12D3KooW") {
		t.Errorf("peer id %s is not of an Ed25519 key", second.ID())
	}
	stat, err := os.Stat(file)
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("key file: mode %v, error %v; want 0600", stat.Mode().Perm(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the key file: %v, %v", entries, err)
	}
}

func TestIdentityOfConcurrentFirstStarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peer.key")
	ids := make([]peer.ID, 4)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			h, err := p2p.New(p2p.Config{KeyFile: file})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = h.ID()
			h.Close()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one file gave several identities: %v", ids)
		}
	}
}

// A key made by other libp2p software is an identity too.
func TestIdentityOfAnotherKind(t *testing.T) {
	key, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	data, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "peer.key")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	want, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	h := open(t, p2p.Config{KeyFile: file, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if h.ID() != want {
		t.Errorf("peer id %s, want %s", h.ID(), want)
	}
	if !strings.Contains(logged.String(), file) {
		t.Errorf("an exposed key file went unmentioned: %q", logged.String())
	}
}

func TestBadConfigIsNamed(t *testing.T) {
	corrupt := filepath.Join(t.TempDir(), "corrupt.key")
	empty := filepath.Join(t.TempDir(), "empty.key")
	for file, data := range map[string]string{corrupt: "no key at all", empty: ""} {
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	taken := open(t, p2p.Config{})
	tests := map[string]struct {
		config p2p.Config
		kind   fault.Kind
		text   string
	}{
		"corrupt key":   {p2p.Config{KeyFile: corrupt}, fault.Invalid, corrupt},
		"empty key":     {p2p.Config{KeyFile: empty}, fault.Invalid, empty},
		"bad listen":    {p2p.Config{Listen: []string{"localhost:80"}}, fault.Invalid, "localhost:80"},
		"bad announce":  {p2p.Config{Announce: []string{"/ip4/300.0.0.1"}}, fault.Invalid, "/ip4/300.0.0.1"},
		"taken address": {p2p.Config{Listen: []string{taken.Addrs()[0].String()}}, fault.Unavailable, taken.Addrs()[0].String()},
		"one of two taken": {p2p.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0", taken.Addrs()[0].String()}},
			fault.Unavailable, taken.Addrs()[0].String()},
		"key path is a directory": {p2p.Config{KeyFile: t.TempDir()}, fault.Internal, "peer key file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, err := p2p.New(tt.config)
			if err == nil {
				h.Close()
				t.Fatal("the host started")
			}
			if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v error %q, want %v naming %q", fault.KindOf(err), err, tt.kind, tt.text)
			}
		})
	}
}

func TestListensOnLoopbackByDefault(t *testing.T) {
	h := open(t, p2p.Config{})
	if len(h.Addrs()) != 1 || !strings.HasPrefix(h.Addrs()[0].String(), "/ip4/127.0.0.1/tcp/") {
		t.Errorf("listens on %v", h.Addrs())
	}
	if got, want := h.Multiaddrs()[0].String(), h.Addrs()[0].String()+"/p2p/"+h.ID().String(); got != want {
		t.Errorf("full address %s, want %s", got, want)
	}
	announced := open(t, p2p.Config{Announce: []string{"/dns4/sp.example.com/tcp/24001"}})
	if got := announced.Addrs(); len(got) != 1 || got[0].String() != "/dns4/sp.example.com/tcp/24001" {
		t.Errorf("announces %v", got)
	}
}

const (
	newer protocol.ID = "/test/echo/2"
	older protocol.ID = "/test/echo/1"
)

func echo(s network.Stream) {
	_, _ = io.Copy(s, s)
	_ = s.Close()
}

func TestOpenTakesTheFirstSpokenProtocol(t *testing.T) {
	server, client := open(t, p2p.Config{}), open(t, p2p.Config{})
	ask := func() (protocol.ID, error) {
		s, err := client.Open(t.Context(), info(server), newer, older)
		if err != nil {
			return "", err
		}
		defer s.Close()
		if _, err := s.Write([]byte("tide")); err != nil {
			return "", err
		}
		if err := s.CloseWrite(); err != nil {
			return "", err
		}
		got, err := io.ReadAll(s)
		if string(got) != "tide" {
			err = fmt.Errorf("echo is %q, %w", got, err)
		}
		return s.Protocol(), err
	}

	if _, err := ask(); !errors.Is(err, p2p.ErrUnsupported) || !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), string(newer)) || !strings.Contains(err.Error(), server.ID().String()) {
		t.Errorf("no protocol shared: %v", err)
	}
	server.SetStreamHandler(older, echo)
	if got, err := ask(); got != older || err != nil {
		t.Errorf("with the older alone: %q, %v", got, err)
	}
	server.SetStreamHandler(newer, echo)
	if got, err := ask(); got != newer || err != nil {
		t.Errorf("with both: %q, %v", got, err)
	}
	server.RemoveStreamHandler(newer)
	if got, err := ask(); got != older || err != nil {
		t.Errorf("after the newer went away: %q, %v", got, err)
	}
}

func TestStreamEndsWithItsContext(t *testing.T) {
	server, client := open(t, p2p.Config{}), open(t, p2p.Config{})
	server.SetStreamHandler(newer, func(network.Stream) {}) // never answers

	read := func(ctx context.Context) error {
		s, err := client.Open(ctx, info(server), newer)
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = s.Read(make([]byte, 1))
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := read(ctx); err == nil {
		t.Error("a read outlived its cancelled context")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := read(ctx); err == nil {
		t.Error("a read outlived its deadline")
	}
}

func TestConnectErrors(t *testing.T) {
	client, gone := open(t, p2p.Config{DialTimeout: time.Minute}), open(t, p2p.Config{})
	target := info(gone)
	other := info(open(t, p2p.Config{}))
	gone.Close()
	for name, tt := range map[string]struct {
		to   peer.AddrInfo
		kind fault.Kind
	}{
		"gone":                {target, fault.Unavailable},
		"gone, once more":     {target, fault.Unavailable},
		"another lives there": {peer.AddrInfo{ID: target.ID, Addrs: other.Addrs}, fault.Unavailable},
		"no address":          {peer.AddrInfo{ID: other.ID}, fault.Invalid},
		"no id":               {peer.AddrInfo{Addrs: other.Addrs}, fault.Invalid},
		"itself":              {info(client), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			err := client.Connect(t.Context(), tt.to)
			if !fault.Is(err, tt.kind) {
				t.Fatalf("got %v, want %v", err, tt.kind)
			}
			if tt.to.ID != "" && !strings.Contains(err.Error(), tt.to.ID.String()) {
				t.Errorf("error does not name the peer: %v", err)
			}
			if strings.Contains(err.Error(), "dial backoff") {
				t.Errorf("turned away instead of tried: %v", err)
			}
		})
	}
}

// A peer that comes back under its old identity and address is reached at once.
func TestReconnectAfterRestart(t *testing.T) {
	client := open(t, p2p.Config{})
	file := filepath.Join(t.TempDir(), "peer.key")
	server := open(t, p2p.Config{KeyFile: file})
	target := info(server)
	for round := range 3 {
		server.SetStreamHandler(newer, echo)
		s, err := client.Open(t.Context(), target, newer)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("round %d: close: %v", round, err)
		}
		server.Close()
		if err := client.Network().ClosePeer(target.ID); err != nil {
			t.Fatal(err)
		}
		if err := client.Connect(t.Context(), target); err == nil {
			t.Fatalf("round %d: connected to a host that is closed", round)
		}
		server = open(t, p2p.Config{KeyFile: file, Listen: []string{target.Addrs[0].String()}})
	}
}
