package devnet

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// serve puts a bench behind its RPC.
func serve(t *testing.T, b *bench) string {
	t.Helper()
	srv := httptest.NewServer(newRPC(t.Context(), b.Ledger, nil))
	t.Cleanup(srv.Close)
	return srv.URL
}

func post(t *testing.T, url, body string) (status int, answer map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer whatever")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 0 && data[0] == '{' {
		if err := json.Unmarshal(data, &answer); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
	}
	return resp.StatusCode, answer
}

type transcript struct {
	Flow      string `json:"flow"`
	Exchanges []struct {
		Path    string `json:"path"`
		Body    string `json:"request_body_text"`
		Request struct {
			Method string `json:"method"`
		} `json:"request"`
		Response map[string]any `json:"response"`
	} `json:"exchanges"`
}

// asRecorded prepares what the transcripts speak of: three providers, the
// clients' accounts, a deal, and datacap where the answer had some.
func asRecorded(t *testing.T, file string) *bench {
	b := newBench(t)
	b.AddMiner(chain.MinerInfo{}, big.Zero())
	b.AddMiner(chain.MinerInfo{}, big.Zero())
	for _, a := range []string{
		"f3ulno5pj2u6ji2guhqwlykbqwcxedjtkid34cvh3crjjutnwtcb532rijrsil4nopwzkpnscmoi2ah3cpe4ca",
		"f3w4ix4xkylpqs2qyj3knjduqk7vztlhgx57dfmyfqns3oyh2hee7yljpyhl5gzlqn6eqojrgzi3zvzosttica",
		"f3wbj5eoc3uo7ekg2urpcam5me6tkvqz7xvsoeqoqli5fkk4bm7tni2jryiedtvjivgwf72p6xx6ah4xpd3jfq",
		"f410foo62b2rr7baigcapeh5och75fif623cyomnbnjq",
	} {
		addr, err := address.NewFromString(a)
		b.no(err)
		b.AddAccount(addr, fil(1))
	}
	b.publish(nil)
	if file != "boost-cli.json" {
		b.SetDatacap(b.client, big.NewInt(1<<40))
	}
	return b
}

// Every request that real programs made gets an answer of the recorded shape.
func TestTranscripts(t *testing.T) {
	for _, file := range []string{"boost-cli.json", "boost-engine.json", "singularity.json"} {
		data, err := os.ReadFile("testdata/rpc/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var flows []transcript
		if err := json.Unmarshal(data, &flows); err != nil {
			t.Fatal(err)
		}
		url := serve(t, asRecorded(t, file))
		for _, flow := range flows {
			for i, e := range flow.Exchanges {
				t.Run(fmt.Sprintf("%s/%s/%d/%s", file, flow.Flow, i, e.Request.Method), func(t *testing.T) {
					status, got := post(t, url+e.Path, e.Body)
					if status != http.StatusOK {
						t.Errorf("status %d", status)
					}
					if got["id"] != e.Response["id"] {
						t.Errorf("id %v, want %v", got["id"], e.Response["id"])
					}
					sameShape(t, "answer", got, e.Response)
				})
			}
		}
	}
}

// sameShape holds that two documents have the same member names and JSON types.
// A map keyed by numbers is compared by its entries, an array by its first.
func sameShape(t *testing.T, at string, got, want any) {
	t.Helper()
	if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
		t.Errorf("%s is %T (%v), want %T (%v)", at, got, got, want, want)
		return
	}
	switch w := want.(type) {
	case map[string]any:
		g := got.(map[string]any)
		if len(w) > 0 && numbered(w) {
			if len(g) == 0 || !numbered(g) {
				t.Errorf("%s has no numbered entries: %v", at, g)
			}
			for _, entry := range g {
				for _, other := range w {
					sameShape(t, at+"[]", entry, other)
				}
			}
			return
		}
		for k, v := range w {
			if k == "DelegatedAddress" {
				continue // the recorded chain had none for its f410 account, which no real one lacks
			}
			if _, ok := g[k]; !ok {
				t.Errorf("%s has no %q", at, k)
				continue
			}
			sameShape(t, at+"."+k, g[k], v)
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				t.Errorf("%s has %q, which was not recorded", at, k)
			}
		}
	case []any:
		if g := got.([]any); len(g) > 0 && len(w) > 0 {
			sameShape(t, at+"[0]", g[0], w[0])
		} else if len(w) != len(g) {
			t.Errorf("%s has %d entries, want %d", at, len(g), len(w))
		}
	}
}

func numbered(m map[string]any) bool {
	for k := range m {
		if _, err := strconv.Atoi(k); err != nil {
			return false
		}
	}
	return true
}

func TestWhatClientsSend(t *testing.T) {
	b := newBench(t)
	url := serve(t, b)
	errorCode := func(answer map[string]any) any {
		if e, ok := answer["error"].(map[string]any); ok {
			return e["code"]
		}
		return nil
	}
	tests := map[string]struct {
		body string
		code any // nil: a result
	}{
		"no params":           {`{"jsonrpc":"2.0","id":0,"method":"Filecoin.ChainHead"}`, nil},
		"null params":         {`{"jsonrpc":"2.0","id":"x","method":"Filecoin.ChainHead","params":null}`, nil},
		"no tipset key":       {`{"id":1,"method":"Filecoin.StateMinerInfo","params":["f01000"]}`, nil},
		"tipset key as array": {`{"id":1,"method":"Filecoin.StateMinerInfo","params":["f01000",[{"/":"bafy2bzacec3pmpifbzwctx3gbev2uc6hqjmwezwopywwry37fbxxgzrv4x2ku"}]]}`, nil},
		"t address":           {`{"id":1,"method":"Filecoin.WalletBalance","params":["t01500"]}`, nil},
		"unknown member":      {`{"id":1,"method":"Filecoin.ChainHead","meta":{"SpanContext":"AA=="},"more":[1]}`, nil},
		"unknown method":      {`{"id":1,"method":"Filecoin.Nope","params":[]}`, float64(-32601)},
		"stream by POST":      {`{"id":1,"method":"Filecoin.ChainNotify","params":[]}`, float64(-32601)},
		"named params":        {`{"id":1,"method":"Filecoin.ChainHead","params":{"a":1}}`, float64(-32602)},
		"wrong parameter":     {`{"id":1,"method":"Filecoin.WalletBalance","params":[7]}`, float64(-32602)},
		"not JSON":            {`{"id":`, float64(-32700)},
		"empty":               {``, float64(-32700)},
		"unknown actor":       {`{"id":1,"method":"Filecoin.StateMinerInfo","params":["f09"]}`, float64(1)},
		"unknown deal":        {`{"id":1,"method":"Filecoin.StateMarketStorageDeal","params":[5,[]]}`, float64(1)},
		"no address":          {`{"id":1,"method":"Filecoin.StateLookupID","params":[]}`, float64(1)},
		"no message":          {`{"id":1,"method":"Filecoin.MpoolPush","params":[null]}`, float64(1)},
		"no gas message":      {`{"id":1,"method":"Filecoin.GasEstimateMessageGas","params":[]}`, float64(1)},
		"no search CID":       {`{"id":1,"method":"Filecoin.StateSearchMsg","params":[]}`, float64(-32602)},
		"no block CID":        {`{"id":1,"method":"Filecoin.ChainGetBlock","params":[]}`, float64(1)},
		"too large":           {`{"id":1,"method":"Filecoin.ChainHead","x":"` + strings.Repeat("x", maxRequestBytes) + `"}`, float64(-32600)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/rpc/v0", "/rpc/v1"} {
				_, answer := post(t, url+path, tt.body)
				_, ok := answer["result"]
				if code := errorCode(answer); code != tt.code || ok != (tt.code == nil) {
					t.Errorf("%s: %v, want code %v", path, answer, tt.code)
				}
			}
		})
	}
	if status, answer := post(t, url+"/rpc/v1", `{"jsonrpc":"2.0","method":"Filecoin.ChainHead"}`); status != http.StatusNoContent || answer != nil {
		t.Errorf("a notification was answered: %d %v", status, answer)
	}
	if status, _ := post(t, url+"/elsewhere", `{}`); status != http.StatusNotFound {
		t.Errorf("another path: %d", status)
	}
}

func TestBatch(t *testing.T) {
	url := serve(t, newBench(t)) + "/rpc/v1"
	resp, err := http.Post(url, "application/json", strings.NewReader(
		`[{"id":7,"method":"Filecoin.StateNetworkName"},{"method":"Filecoin.ChainHead"},{"id":8,"method":"Filecoin.Nope"}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answers []struct {
		ID     int
		Result string
		Error  *struct{ Code int }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != 2 || answers[0].Result != networkName || answers[1].ID != 8 || answers[1].Error.Code != -32601 {
		t.Errorf("answers %+v", answers)
	}
}

// Our own client against our own server, through everything it can ask.
func TestClientAgainstDevnet(t *testing.T) {
	b := newBench(t)
	b.SetDatacap(b.client, big.NewInt(1<<30))
	c, err := chain.Dial(t.Context(), serve(t, b), "", nil)
	b.no(err)
	defer c.Close()
	ctx := t.Context()

	head, err := c.Head(ctx)
	b.no(err)
	genesis, err := c.Genesis(ctx)
	b.no(err)
	if got := chain.EpochAt(genesis.Time(), chain.EpochDuration, head.Time()); got != head.Height || head.Height != testHead {
		t.Errorf("genesis %s and head %s are %d epochs apart, height %d", genesis.Time(), head.Time(), got, head.Height)
	}
	if name, err := head.Blocks[0].Cid(); err != nil || !name.Equals(head.Cids[0]) {
		t.Errorf("the head's block is named %s, its bytes %s", head.Cids[0], name)
	}
	b.Advance(3)
	ts, err := c.TipSetAt(ctx, testHead+1)
	b.no(err)
	again, err := c.TipSet(ctx, ts.Key())
	b.no(err)
	if ts.Height != testHead+1 || !again.Key().Equal(ts.Key()) || !ts.Parents().Equal(head.Key()) {
		t.Errorf("tipset %d, its parents %s", ts.Height, ts.Parents())
	}
	version, err := c.Version(ctx)
	b.no(err)
	nv, err := c.NetworkVersion(ctx)
	b.no(err)
	name, err := c.NetworkName(ctx)
	b.no(err)
	if version.BlockDelay != 30 || nv != networkVersion || name != networkName {
		t.Errorf("%+v, network %d %q", version, nv, name)
	}

	m, err := c.MinerInfo(ctx, b.provider)
	b.no(err)
	if info, err := m.AddrInfo(); err != nil || len(info.Addrs) != 1 {
		t.Errorf("address of the provider: %v, %v", info, err)
	}
	power, err := c.MinerPower(ctx, b.provider)
	b.no(err)
	if !power.HasMinPower || power.MinerPower.RawBytePower.IsZero() {
		t.Errorf("power %+v", power)
	}
	id, err := c.LookupID(ctx, b.key.Address())
	b.no(err)
	key, err := c.AccountKey(ctx, id)
	b.no(err)
	robust, err := c.LookupRobust(ctx, id)
	b.no(err)
	if id != b.client || key != b.key.Address() || robust != key {
		t.Errorf("id %s, key %s, robust %s", id, key, robust)
	}
	if _, err := c.AccountKey(ctx, b.provider); err == nil {
		t.Error("a provider has an account key")
	}
	actor, err := c.Actor(ctx, id)
	b.no(err)
	balance, err := c.WalletBalance(ctx, id)
	b.no(err)
	if !balance.Equals(fil(900)) || !actor.Balance.Equals(balance) {
		t.Errorf("balance %s, actor %+v", balance, actor)
	}
	left, ok, err := c.Datacap(ctx, id)
	b.no(err)
	if !ok || left.Int64() != 1<<30 {
		t.Errorf("datacap %s %v", left, ok)
	}
	if _, ok, err := c.Datacap(ctx, b.provider); ok || err != nil {
		t.Errorf("datacap of a provider: %v %v", ok, err)
	}
	bounds, err := c.CollateralBounds(ctx, 32<<30, false)
	b.no(err)
	if milli := big.Div(bounds.Min, big.NewInt(1e15)).Int64(); milli != 8 {
		t.Errorf("at least %s attoFIL for 32 GiB", bounds.Min)
	}
	if _, err := c.MarketDeal(ctx, 5); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown deal: %v", err)
	}
	if _, err := c.WalletSign(ctx, id, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a method the devnet does not have: %v", err)
	}
}

// A client funds its escrow, a provider publishes, activates and loses a deal;
// all of it is seen from outside only.
func TestDealSeenFromOutside(t *testing.T) {
	b := newBench(t)
	c, err := chain.Dial(t.Context(), serve(t, b), "", nil)
	b.no(err)
	defer c.Close()
	ctx := t.Context()

	nonce, err := c.Nonce(ctx, b.key.Address())
	b.no(err)
	m, err := c.EstimateGas(ctx, chain.Message{
		To: singletons()[5], From: b.key.Address(), Nonce: nonce, Method: 2, Value: fil(1), Params: addressParams(t, b.key.Address()),
	})
	b.no(err)
	sent, err := c.Push(ctx, *sign(b, m))
	b.no(err)
	if _, err := c.SearchMsg(ctx, sent); !fault.Is(err, fault.NotFound) {
		t.Errorf("found before a tipset has it: %v", err)
	}
	waited := make(chan chain.MsgLookup, 1)
	go func() {
		l, err := c.WaitMsg(ctx, sent, 2)
		if err != nil {
			t.Error(err)
		}
		waited <- l
	}()
	b.Advance(3)
	if l := <-waited; l.Receipt.ExitCode != 0 || l.Height != testHead+1 {
		t.Errorf("AddBalance: %+v", l)
	}
	money, err := c.MarketBalance(ctx, b.client)
	b.no(err)
	if !money.Escrow.Equals(fil(101)) {
		t.Errorf("escrow %s", money.Escrow)
	}

	id := b.publish(nil)
	b.Advance(1)
	deal, err := c.MarketDeal(ctx, id)
	b.no(err)
	if deal.State.SectorStartEpoch != chain.Undefined || deal.Proposal.PieceCID.String() != testPieceCID {
		t.Errorf("published: %+v", deal)
	}
	b.no(b.Activate(3, id))
	b.Advance(1)
	b.no(b.Slash(id))
	b.Advance(1)
	from := testHead
	events, err := c.ActorEvents(ctx, chain.ActorEventFilter{FromHeight: &from, Addresses: []address.Address{singletons()[5]}})
	b.no(err)
	var kinds []string
	for _, e := range events {
		d, ok := e.Deal()
		if !ok || d.ID != id || d.Provider != firstMinerID || d.Client != firstAccountID {
			t.Errorf("event %+v is %+v", e, d)
		}
		kinds = append(kinds, fmt.Sprintf("%s@%d", d.Type, e.Height-testHead))
	}
	if got := strings.Join(kinds, " "); got != "deal-published@4 deal-activated@5 deal-terminated@6" {
		t.Errorf("events %s", got)
	}
	published, err := c.SearchMsg(ctx, events[0].MsgCid)
	b.no(err)
	if message, err := c.Message(ctx, events[0].MsgCid); err != nil || message.Method != 4 || len(message.Params) == 0 || len(published.Receipt.Return) == 0 {
		t.Errorf("publish message %+v, %v", message, err)
	}
	only, err := c.ActorEvents(ctx, chain.ActorEventFilter{FromHeight: &from, Fields: map[string][]chain.ActorEventBlock{
		"$type": {{Codec: chain.EventCodecCBOR, Value: chain.DealEvent{Type: chain.DealActivated}.Entries()[0].Value}}, "id": {},
	}})
	b.no(err)
	if len(only) != 1 {
		t.Errorf("%d events of a type, want 1", len(only))
	}
}

func sign(b *bench, m chain.Message) *chain.SignedMessage {
	s := b.signed(b.key, chain.Message{To: m.To, Nonce: m.Nonce, Method: m.Method, Value: m.Value, Params: m.Params})
	if m.GasLimit < gasUsed(&m) || m.GasFeeCap.Sign() <= 0 || m.GasPremium.Sign() <= 0 {
		b.t.Errorf("gas estimate %+v", m)
	}
	return s
}

func FuzzRPC(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"method":"Filecoin.ChainHead","params":[]}`, `[{"id":1,"method":"Filecoin.Version"}]`,
		`{"id":1,"method":"Filecoin.StateSearchMsg","params":[[],{"/":"bafy2bzaceb"}]}`,
		`{"id":1,"method":"Filecoin.ChainGetTipSetByHeight","params":[-1,null]}`,
		`{"id":1,"method":"Filecoin.GetActorEventsRaw","params":[{"fields":{"a":[]},"toHeight":1}]}`,
	} {
		f.Add(s)
	}
	l := newLedger(ledgerConfig{Seed: "fuzz", Head: testHead})
	l.AddMiner(chain.MinerInfo{}, abi.NewTokenAmount(5))
	rpc := newRPC(f.Context(), l, nil)
	f.Fuzz(func(t *testing.T, body string) {
		if strings.Contains(body, "WaitMsg") {
			t.Skip("waits for ever by contract")
		}
		w := httptest.NewRecorder()
		rpc.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/rpc/v1", strings.NewReader(body)))
		if w.Code != http.StatusNoContent && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	})
}
