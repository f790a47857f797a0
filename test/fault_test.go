package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/client"
)

// Of five providers one refuses, one lies about the data and one is gone. The
// policy finds the two good ones, and people can read what became of the others.
func TestFaults(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 5, "--faults", "1:reject,2:lie")
	refuses, lies, vanishes := n.Providers[0].ID, n.Providers[1].ID, n.Providers[2].ID
	bad := []string{refuses, lies, vanishes}
	d := newNode(t, "the node", n)
	d.env = append(d.env, "FIRTH_DEAL_SILENCE=5s")
	d.start(t)
	introduce(t, n, d, d)
	n.misbehave(t, vanishes, "vanish") // the index still takes it for a good one
	c := d.client(t)
	policy, err := c.CreatePolicy(t.Context(), client.NewPolicy{
		Copies: 2, Providers: bad, Wallet: n.Wallets[0].Address, DurationEpochs: 518_400, StartDelayEpochs: 100_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	source := plant(t, t.TempDir(), map[string]string{"a": "some", "b": string(noise(3, 300_000))})
	added := decode[client.Content](t, d.firth(t, "add", "--json", source))
	d.firth(t, "bucket", "close", fmt.Sprint(added.Bucket))

	says := map[string]string{refuses: "", lies: "", vanishes: ""}
	await(t, 3*time.Minute, "every bad provider ends a deal", func() string {
		for _, deal := range all(t, c.Deals(t.Context(), client.DealFilter{})) {
			if slices.Contains([]string{"rejected", "failed"}, deal.State) {
				says[deal.Provider] = deal.Reason
			}
		}
		if says[refuses] == "" || says[lies] == "" || says[vanishes] == "" {
			return fmt.Sprintf("known: %q", says)
		}
		return ""
	})
	t.Logf("%q", says)
	table := d.firth(t, "deal", "ls")
	for actor, words := range map[string]string{refuses: "deal filter", lies: "commp", vanishes: "could not be reached"} {
		if !strings.Contains(strings.ToLower(says[actor]), words) {
			t.Errorf("%s: reason %q does not speak of %s", actor, says[actor], words)
		}
		if !strings.Contains(table, firstLine(says[actor])) {
			t.Errorf("firth deal ls does not tell %q:\n%s", says[actor], table)
		}
	}

	any := []string{}
	if _, err := c.UpdatePolicy(t.Context(), policy.ID, client.PolicyChange{Providers: &any}); err != nil {
		t.Fatal(err)
	}
	kept(t, c, added.ID, 3*time.Minute)
	for _, deal := range all(t, c.Deals(t.Context(), client.DealFilter{State: "active"})) {
		if slices.Contains(bad, deal.Provider) {
			t.Errorf("a bad provider has an active deal: %+v", deal)
		}
	}
	detail := decode[client.DealDetail](t, d.firth(t, "deal", "show", "--json", dealWith(t, c, lies).UUID))
	if len(detail.Observations) < 3 || detail.Observations[len(detail.Observations)-1].Reason == "" {
		t.Errorf("the history of a deal that failed: %+v", detail.Observations)
	}
	out := t.TempDir() + "/back"
	d.firth(t, "get", added.CID, "--provider", "any", "-o", out)
	sameTree(t, source, out)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func dealWith(t *testing.T, c *client.Client, actor string) client.Deal {
	t.Helper()
	for _, d := range all(t, c.Deals(t.Context(), client.DealFilter{Provider: actor})) {
		if d.Reason != "" {
			return d
		}
	}
	t.Fatalf("no deal with %s ended", actor)
	return client.Deal{}
}
