package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/devnet"
)

// epoch is the length of an epoch where nothing depends on it.
const epoch = 50 * time.Millisecond

// network is a local Filecoin network in a process of its own.
type network struct{ devnet.Info }

func startNetwork(t *testing.T, providers int, args ...string) network {
	t.Helper()
	args = append([]string{"devnet", "--json", "--home", t.TempDir(), "--providers", fmt.Sprint(providers), "--epoch", epoch.String()}, args...)
	p := launch(t, newAccount(t, "the network"), nil, args...)
	var n network
	select {
	case <-p.ready:
		if err := json.Unmarshal([]byte(p.line), &n.Info); err != nil {
			t.Fatalf("devnet printed %q: %v", p.line, err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("the network did not start within 30s")
	}
	if n.RPC == "" || len(n.Providers) != providers || len(n.Wallets) == 0 {
		t.Fatalf("the network says %+v", n.Info)
	}
	return n
}

// actors are the providers' names.
func (n network) actors() []string {
	var all []string
	for _, p := range n.Providers {
		all = append(all, p.ID)
	}
	return all
}

// misbehave gives a provider a fault, or takes it away ("none").
func (n network) misbehave(t *testing.T, actor, fault string) {
	t.Helper()
	q := url.Values{"provider": {actor}, "fault": {fault}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.RPC+"/devnet/fault?"+q.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Firth-Devnet", "1")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("fault %s of %s: %s: %s", fault, actor, res.Status, text)
	}
}

// deals reads every deal the chain has, by its number.
func (n network) deals(t *testing.T) map[string]chain.MarketDeal {
	t.Helper()
	ask := []byte(`{"jsonrpc":"2.0","id":1,"method":"Filecoin.StateMarketDeals","params":[null]}`)
	res, err := http.Post(n.RPC+"/rpc/v1", "application/json", bytes.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Result map[string]chain.MarketDeal
		Error  *struct{ Message string }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != nil {
		t.Fatalf("StateMarketDeals: %v %+v", err, answer.Error)
	}
	return answer.Result
}
