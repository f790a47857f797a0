package deal

import (
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/chain"
)

// state is a deal's on chain: when it was proven and slashed, -1 for never.
func state(start, slash abi.ChainEpoch) chain.DealState {
	return chain.DealState{SectorStartEpoch: start, SlashEpoch: slash}
}

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := Settings{Silence: time.Hour, FinalityEpochs: 10}
	tests := []struct {
		name   string
		from   State
		lost   int64
		f      finding
		want   State
		source Source
		reason string
	}{
		{"accepted", Proposed, 0, finding{head: 50, report: &Report{Step: "Accepted", Stage: Proposed}}, Proposed, FromProvider, ""},
		{"fetching", Proposed, 0, finding{head: 50, report: &Report{Step: "Accepted", Stage: Transferring, Received: 5}}, Transferring, FromProvider, ""},
		{"never back", Transferring, 0, finding{head: 50, report: &Report{Step: "Accepted", Stage: Proposed}}, Transferring, FromProvider, ""},
		{"its error", Transferring, 0, finding{head: 50, report: &Report{Error: "commp mismatch"}}, Failed, FromProvider, "commp mismatch"},
		{"forgotten", Proposed, 0, finding{head: 50, report: &Report{Unknown: true}}, Failed, FromProvider, "no longer knows"},
		{"no telling", Proposed, 0, finding{head: 50, report: &Report{Refusal: "signature verification failed"}}, Proposed, FromProvider, "does not tell"},
		{"away", Proposed, 0, finding{head: 50, unreached: "dial"}, Proposed, FromProvider, "does not answer"},
		{"silent", Proposed, 0, finding{head: 50, now: now.Add(time.Hour), unreached: "dial"}, Failed, FromClock, "no progress for 1h0m0s; the provider does not answer: dial"},
		{"too late", Transferring, 0, finding{head: 101, report: &Report{Step: "Transferred", Stage: Transferring}}, ProposalExpired, FromClock, "start epoch 100; the provider says Transferred"},
		{"says published", Transferring, 0, finding{head: 50, word: missing, report: &Report{Stage: Published, PublishCID: "x"}}, Transferring, FromProvider, "does not show it yet"},
		{"another's deal", Proposed, 0, finding{head: 50, word: foreign, number: 7, report: &Report{Stage: Published, PublishCID: "x"}}, Proposed, FromProvider, "names deal 7"},

		{"published", Transferring, 0, finding{head: 50, word: ours, state: state(-1, -1)}, Published, FromChain, ""},
		{"proven", Published, 0, finding{head: 60, word: ours, state: state(55, -1)}, Active, FromChain, ""},
		{"chain over provider", Proposed, 0, finding{head: 60, word: ours, state: state(55, -1), report: &Report{Error: "gave up"}}, Active, FromChain, ""},
		{"gave up sealing", Published, 0, finding{head: 60, word: ours, state: state(-1, -1), report: &Report{Error: "gave up"}}, Failed, FromProvider, "gave up"},
		{"slashed, not final", Active, 0, finding{head: 209, word: ours, state: state(55, 200)}, Active, FromChain, "terminated on chain at epoch 200; believed from epoch 210"},
		{"slashed", Active, 0, finding{head: 210, word: ours, state: state(55, 200)}, Slashed, FromChain, "terminated on chain at epoch 200"},
		{"not proven, not final", Published, 0, finding{head: 109, word: ours, state: state(-1, -1)}, Published, FromChain, "believed from epoch 110"},
		{"not proven", Published, 0, finding{head: 110, word: ours, state: state(-1, -1)}, ProposalExpired, FromChain, "not proven by its start epoch 100"},

		{"gone after its end", Active, 0, finding{head: 1010, word: missing}, Expired, FromChain, "ended at epoch 1000"},
		{"gone, not final", Active, 0, finding{head: 1005, word: missing}, Active, FromChain, "believed from epoch 1010"},
		{"gone too early", Active, 500, finding{head: 510, word: missing}, Terminated, FromChain, "since epoch 500"},
		{"just gone", Active, 0, finding{head: 500, word: missing}, Active, FromChain, "believed from epoch 510"},
		{"number is another's now", Active, 500, finding{head: 510, word: foreign}, Terminated, FromChain, "since epoch 500"},
		{"unpublished by a fork", Published, 60, finding{head: 70, word: missing}, Failed, FromChain, "since epoch 60"},
		{"deleted unproven", Published, 0, finding{head: 111, word: missing}, ProposalExpired, FromChain, "start epoch 100"},
		{"node is away", Active, 0, finding{head: 2000}, Active, FromChain, ""},
		{"head is not known", Active, 0, finding{word: missing}, Active, FromChain, ""},
		{"silence does not end what is on chain", Published, 0, finding{head: 60, now: now.Add(24 * time.Hour), unreached: "dial"}, Published, FromChain, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.f.now.IsZero() {
				tt.f.now = now
			}
			d := Deal{State: tt.from, StartEpoch: 100, EndEpoch: 1000, progressAt: now, lostEpoch: tt.lost, onChain: tt.from == Active || tt.from == Published}
			v := judge(d, tt.f, s)
			if v.state != tt.want || v.source != tt.source || !strings.Contains(v.reason, tt.reason) || tt.reason == "" && v.reason != "" {
				t.Errorf("%s by %s: %q; want %s by %s: %q", v.state, v.source, v.reason, tt.want, tt.source, tt.reason)
			}
			if v.state != tt.from && !may(tt.from, v.state) {
				t.Errorf("judged a move from %s to %s, which there is not", tt.from, v.state)
			}
		})
	}
}
