package chain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/fault"
)

// answering serves one fixed body and hands the last request to the test.
func answering(t *testing.T, status int, body string) (*Client, func() (http.Header, map[string]any)) {
	t.Helper()
	var header http.Header
	var request map[string]any
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		data, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(data, &request)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	c := dial(t, srv.URL, "secret")
	return c, func() (http.Header, map[string]any) { return header, request }
}

func dial(t *testing.T, url, token string, opts ...Option) *Client {
	t.Helper()
	c, err := Dial(t.Context(), url, token, nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// replay asks the client's method for what the transcript's request asked.
func replay(t *testing.T, c *Client, e exchange) (any, error) {
	t.Helper()
	ctx := t.Context()
	who := func() (a address.Address) { mustJSON(t, e.Request.Params[0], &a); return a }
	switch strings.TrimPrefix(e.Request.Method, "Filecoin.") {
	case "WalletBalance":
		return c.WalletBalance(ctx, who())
	case "StateMarketBalance":
		return c.MarketBalance(ctx, who())
	case "StateMinerInfo":
		return c.MinerInfo(ctx, who())
	case "StateLookupID":
		return c.LookupID(ctx, who())
	case "StateAccountKey":
		return c.AccountKey(ctx, who())
	case "StateGetActor":
		return c.Actor(ctx, who())
	case "ChainHead":
		return c.Head(ctx)
	case "ChainGetGenesis":
		return c.Genesis(ctx)
	case "StateDealProviderCollateralBounds":
		var size abi.PaddedPieceSize
		var verified bool
		mustJSON(t, e.Request.Params[0], &size)
		mustJSON(t, e.Request.Params[1], &verified)
		return c.CollateralBounds(ctx, size, verified)
	case "StateVerifiedClientStatus":
		left, ok, err := c.Datacap(ctx, who())
		if !ok {
			return nil, err
		}
		return left, err
	case "StateMarketDeals": // not a call of ours, but the shape of a deal is
		return get[map[string]MarketDeal](ctx, c, "StateMarketDeals", nil)
	case "StateGetAllocations", "StateGetClaims":
		return get[map[string]json.RawMessage](ctx, c, "StateGetAllocations", who(), nil)
	}
	t.Fatalf("the transcript has a method the test does not know: %s", e.Request.Method)
	return nil, nil
}

// Answers that real programs accepted must decode, and say the same again.
func TestAnswersOfTheTranscripts(t *testing.T) {
	for _, file := range []string{"boost-cli.json", "boost-engine.json", "singularity.json"} {
		for i, e := range loadExchanges(t, file) {
			t.Run(fmt.Sprintf("%s/%d/%s", file, i, e.Request.Method), func(t *testing.T) {
				body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "result": e.Response.Result})
				if e.Response.Error != nil {
					body, err = json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "error": e.Response.Error})
				}
				if err != nil {
					t.Fatal(err)
				}
				c, sent := answering(t, 200, string(body))
				got, err := replay(t, c, e)
				if e.Response.Error != nil {
					if !fault.Is(err, fault.NotFound) {
						t.Fatalf("error %v, want not_found", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				sameJSON(t, got, e.Response.Result)
				if h, _ := sent(); h.Get("Authorization") != "Bearer secret" {
					t.Errorf("Authorization %q", h.Get("Authorization"))
				}
			})
		}
	}
}

func TestMinerAddrInfo(t *testing.T) {
	for _, e := range loadExchanges(t, "singularity.json") {
		if e.Request.Method != "Filecoin.StateMinerInfo" {
			continue
		}
		var m MinerInfo
		mustJSON(t, e.Response.Result, &m)
		m.Multiaddrs = append(m.Multiaddrs, []byte("nonsense"))
		info, err := m.AddrInfo()
		if err != nil || info.ID.String() != *m.PeerId || len(info.Addrs) != 1 || info.Addrs[0].String() != "/ip4/127.0.0.1/tcp/26001" {
			t.Errorf("AddrInfo = %v, %v", info, err)
		}
		m.Multiaddrs = nil
		if _, err := m.AddrInfo(); !fault.Is(err, fault.NotFound) {
			t.Errorf("without addresses: %v", err)
		}
		m.PeerId = nil
		if _, err := m.AddrInfo(); !fault.Is(err, fault.NotFound) {
			t.Errorf("without a peer id: %v", err)
		}
		return
	}
	t.Fatal("no miner info in the transcript")
}

func TestErrorKinds(t *testing.T) {
	rpc := func(code int, text string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":%q}}`, code, text)
	}
	tests := map[string]struct {
		status int
		body   string
		want   fault.Kind
	}{
		"actor":              {200, rpc(1, "resolve address f1x: actor not found"), fault.NotFound},
		"deal":               {200, rpc(1, "deal 7 not found - deal may not have completed sealing"), fault.NotFound},
		"method":             {500, rpc(-32601, "method 'Filecoin.X' not found"), fault.Invalid},
		"params":             {500, rpc(-32602, "wrong param count"), fault.Invalid},
		"permission":         {200, rpc(1, "missing permission to invoke 'MpoolPush'"), fault.Forbidden},
		"funds":              {200, rpc(1, "mpool push: not enough funds: 1 < 2"), fault.Exhausted},
		"nonce":              {200, rpc(1, "message nonce too low: minimum expected nonce is 4"), fault.Conflict},
		"signature":          {200, rpc(1, "invalid signature for message"), fault.Invalid},
		"other":              {200, rpc(1, "blockstore: closed"), fault.Unavailable},
		"no result":          {200, `{"jsonrpc":"2.0","id":1}`, fault.Unavailable},
		"wrong result":       {200, `{"jsonrpc":"2.0","id":1,"result":{"Height":"x"}}`, fault.Unavailable},
		"null tipset":        {200, `{"jsonrpc":"2.0","id":1,"result":null}`, fault.Unavailable},
		"empty tipset":       {200, `{"jsonrpc":"2.0","id":1,"result":{"Cids":[],"Blocks":[],"Height":3}}`, fault.Unavailable},
		"not JSON":           {200, "<html>", fault.Unavailable},
		"unauthorised":       {401, "no", fault.Forbidden},
		"throttled":          {429, "slow down", fault.Exhausted},
		"bad gateway":        {502, "<html>", fault.Unavailable},
		"not there":          {404, "404 page not found", fault.Unavailable},
		"larger than agreed": {200, strings.Repeat(" ", maxAnswerBytes+2), fault.Exhausted},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := answering(t, tt.status, tt.body)
			_, err := c.Head(t.Context())
			if !fault.Is(err, tt.want) {
				t.Errorf("error %v is %v, want %v", err, fault.KindOf(err), tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), "ChainHead") {
				t.Errorf("error %v does not name the method", err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		srv := httptest.NewServer(nil)
		srv.Close()
		if _, err := dial(t, srv.URL, "").Head(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		c, _ := answering(t, 200, "{}")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Head(ctx); !fault.Is(err, fault.Unavailable) {
			t.Errorf("error %v", err)
		}
	})
}

func TestEndpoint(t *testing.T) {
	const jwt = "eyJhbGciOi.eyJBbGxv.x-_y"
	tests := map[string]endpoint{
		"http://127.0.0.1:1234":                 {"http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", ""},
		"http://127.0.0.1:1234/":                {"http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", ""},
		"https://api.node.example/rpc/v1/":      {"https://api.node.example/rpc/v1", "wss://api.node.example/rpc/v1", ""},
		"https://node.example/lotus/rpc/v0":     {"https://node.example/lotus/rpc/v0", "wss://node.example/lotus/rpc/v0", ""},
		"https://node.example/lotus":            {"https://node.example/lotus/rpc/v1", "wss://node.example/lotus/rpc/v1", ""},
		"wss://node.example/rpc/v1":             {"https://node.example/rpc/v1", "wss://node.example/rpc/v1", ""},
		"ws://[::1]:80":                         {"http://[::1]:80/rpc/v1", "ws://[::1]:80/rpc/v1", ""},
		jwt + ":/ip4/127.0.0.1/tcp/1234/http":   {"http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", jwt},
		jwt + ":http://127.0.0.1:1234":          {"http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1", jwt},
		"/ip6/::1/tcp/1234/http\n":              {"http://[::1]:1234/rpc/v1", "ws://[::1]:1234/rpc/v1", ""},
		jwt + ":/dns4/node.example/tcp/443/wss": {"https://node.example:443/rpc/v1", "wss://node.example:443/rpc/v1", jwt},
		"/dns/node.example/tcp/443/https":       {"https://node.example:443/rpc/v1", "wss://node.example:443/rpc/v1", ""},
	}
	for address, want := range tests {
		if got, err := parseEndpoint(address, ""); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", address, got, err, want)
		}
	}
	if e, err := parseEndpoint(jwt+":http://h", "mine"); err != nil || e.token != "mine" {
		t.Errorf("a token given apart does not win: %+v %v", e, err)
	}
	for _, bad := range []string{"", "node.example", "ftp://h", "http://", "/ip4/127.0.0.1", "/ip4/nowhere/tcp/1", "unix:/tmp/x", "http://%zz"} {
		if e, err := parseEndpoint(bad, ""); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %+v, %v; want invalid", bad, e, err)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"http://h", "t:/ip4/1.2.3.4/tcp/5/http", "t:http://h/rpc/v1", ":::", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseEndpoint(s, "")
		if err == nil && (!strings.HasPrefix(e.post, "http") || !strings.HasPrefix(e.socket, "ws")) {
			t.Errorf("%q gives %+v", s, e)
		}
	})
}
