package devnet

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/chain"
)

// lotusAPI is what a program of somebody else declares to go-jsonrpc.
type lotusAPI struct {
	ChainHead               func(ctx context.Context) (*chain.TipSet, error)
	ChainNotify             func(ctx context.Context) (<-chan []chain.HeadChange, error)
	SubscribeActorEventsRaw func(ctx context.Context, f *chain.ActorEventFilter) (<-chan *chain.ActorEvent, error)
	StateNetworkName        func(ctx context.Context) (string, error)
	Nope                    func(ctx context.Context) (string, error)
}

func jsonrpcClient(t *testing.T, url string) *lotusAPI {
	t.Helper()
	var api lotusAPI
	closer, err := jsonrpc.NewMergeClient(t.Context(), url+"/rpc/v1", "Filecoin", []any{&api}, http.Header{"Authorization": {"Bearer x"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closer)
	return &api
}

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("the channel was closed")
		}
		return v
	case <-time.After(3 * time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestGoJSONRPCClient(t *testing.T) {
	b := newBench(t)
	url := serve(t, b)
	for _, scheme := range []string{"http", "ws"} {
		api := jsonrpcClient(t, scheme+strings.TrimPrefix(url, "http"))
		head, err := api.ChainHead(t.Context())
		b.no(err)
		name, err := api.StateNetworkName(t.Context())
		b.no(err)
		if head.Height != testHead || name != networkName {
			t.Errorf("%s: head %d of %q", scheme, head.Height, name)
		}
		if _, err := api.Nope(t.Context()); err == nil || !strings.Contains(err.Error(), "-32601") {
			t.Errorf("%s: an unknown method: %v", scheme, err)
		}
	}
}

func TestGoJSONRPCChannels(t *testing.T) {
	b := newBench(t)
	api := jsonrpcClient(t, "ws"+strings.TrimPrefix(serve(t, b), "http"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heads, err := api.ChainNotify(ctx)
	b.no(err)
	if c := receive(t, heads); c[0].Type != chain.HeadCurrent || c[0].Val.Height != testHead {
		t.Fatalf("first change %+v", c)
	}
	from := testHead + 1
	events, err := api.SubscribeActorEventsRaw(ctx, &chain.ActorEventFilter{FromHeight: &from})
	b.no(err)
	id := b.publish(nil)
	for i := range 3 {
		b.Advance(1)
		if c := receive(t, heads); len(c) != 1 || c[0].Type != chain.HeadApply || c[0].Val.Height != testHead+abi.ChainEpoch(i)+1 {
			t.Fatalf("change %d: %+v", i, c)
		}
	}
	if d, ok := receive(t, events).Deal(); !ok || d.Type != chain.DealPublished || d.ID != id {
		t.Errorf("event %+v", d)
	}
	cancel()
	for range heads {
	}
	for range events {
	}
}

func TestSocketCancelEndsAStream(t *testing.T) {
	b := newBench(t)
	conn, _, err := websocket.Dial(t.Context(), serve(t, b)+"/rpc/v1", nil)
	b.no(err)
	defer conn.CloseNow()
	exchange := func(send string, want ...string) {
		t.Helper()
		b.no(conn.Write(t.Context(), websocket.MessageText, []byte(send)))
		for _, w := range want {
			_, data, err := conn.Read(t.Context())
			b.no(err)
			if !strings.HasPrefix(string(data), w) {
				t.Fatalf("frame %.200s, want %s", data, w)
			}
		}
	}
	exchange(`{"id":0,"method":"Filecoin.ChainNotify","params":[]}`,
		`{"jsonrpc":"2.0","id":0,"result":1}`, `{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1,[{"Type":"current",`)
	exchange(`{"method":"xrpc.cancel","params":[0]}`, `{"jsonrpc":"2.0","method":"xrpc.ch.close","params":[1]}`)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.heads); n != 0 {
		t.Errorf("%d subscriptions are left after cancel", n)
	}
}

func TestSocketRefusesForeignPages(t *testing.T) {
	url := serve(t, newBench(t))
	_, resp, err := websocket.Dial(t.Context(), url+"/rpc/v1", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestSocketBoundsItsCalls(t *testing.T) {
	b := newBench(t)
	conn, _, err := websocket.Dial(t.Context(), serve(t, b)+"/rpc/v1", nil)
	b.no(err)
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	send := func(id int, method string, params ...any) {
		data, err := json.Marshal(map[string]any{"id": id, "method": "Filecoin." + method, "params": params})
		b.no(err)
		b.no(conn.Write(t.Context(), websocket.MessageText, data))
	}
	forever := map[string]string{"/": "bafy2bzacec3pmpifbzwctx3gbev2uc6hqjmwezwopywwry37fbxxgzrv4x2ku"}
	for i := range maxSocketCalls {
		send(i, "StateWaitMsg", forever, 0)
	}
	send(9999, "Version")
	_, data, err := conn.Read(t.Context())
	b.no(err)
	if !strings.Contains(string(data), "too many calls") || !strings.Contains(string(data), "9999") {
		t.Errorf("answer %s", data)
	}
}

// withoutSockets is a proxy as public gateways have it.
func withoutSockets(rpc http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			http.Error(w, "POST only", http.StatusBadRequest)
			return
		}
		rpc.ServeHTTP(w, r)
	})
}

func TestFollowDevnet(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"by websocket": func(h http.Handler) http.Handler { return h },
		"by polling":   withoutSockets,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
			defer stop()
			srv := httptest.NewServer(wrap(newRPC(ctx, b.Ledger, nil)))
			defer srv.Close()
			c, err := chain.Dial(ctx, srv.URL, "", nil, chain.PollEvery(5*time.Millisecond))
			b.no(err)
			defer c.Close()
			next, end := iter.Pull2(c.Follow(ctx))
			defer end()
			change, err, ok := next()
			if err != nil || !ok || change.Type != chain.HeadCurrent {
				t.Fatalf("first change %+v, %v", change, err)
			}
			b.Advance(40)
			for height := change.Val.Height + 1; height <= testHead+40; height++ {
				change, err, ok = next()
				if err != nil || !ok || change.Type != chain.HeadApply || change.Val.Height != height {
					t.Fatalf("at %d: %+v, %v", height, change, err)
				}
			}
		})
	}
}

func TestRunTicks(t *testing.T) {
	l := newLedger(ledgerConfig{Head: 10, Epoch: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	reached := make(chan abi.ChainEpoch, 1)
	l.After(5, func() { reached <- l.Head() })
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	if head := receive(t, reached); head != 15 {
		t.Errorf("the timer ran at %d", head)
	}
	cancel()
	if err := receive(t, done); err != context.Canceled {
		t.Errorf("Run returned %v", err)
	}
}
