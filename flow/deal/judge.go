package deal

import (
	"fmt"
	"time"

	"github.com/firth-project/firth/base/chain"
)

// chainWord is what the chain was found to say about a deal's number.
type chainWord int

const (
	notAsked chainWord = iota // no number is known, or the node did not answer
	missing                   // there is no deal of that number
	foreign                   // there is one, and it is not ours
	ours                      // there is one, of our proposal
)

// finding is what was learned in one look at a deal.
type finding struct {
	now       time.Time
	head      int64   // epoch; 0 when it is not known
	report    *Report // nil when the provider was not asked or not reached
	unreached string  // why it was not
	word      chainWord
	number    int64 // the one the chain was asked about
	state     chain.DealState
}

// verdict is what follows from a finding.
type verdict struct {
	state   State
	source  Source
	reason  string
	proof   any
	lost    int64 // since when the chain no longer shows the deal
	onChain bool  // the number is ours
}

// judge applies the rules. The chain is believed over the provider; that a deal
// is over on chain is believed when it is final epochs old.
func judge(d Deal, f finding, s Settings) verdict {
	switch {
	case f.word == ours:
		return judgeChain(d, f, s.FinalityEpochs)
	case d.State == Published || d.State == Active:
		return judgeGone(d, f, s.FinalityEpochs)
	}
	return judgeWord(d, f, s.Silence)
}

// judgeChain is for deals that the chain shows.
func judgeChain(d Deal, f finding, final int64) verdict {
	v := verdict{state: d.State, source: FromChain, onChain: true, proof: f.state}
	slash, start := int64(f.state.SlashEpoch), int64(f.state.SectorStartEpoch)
	switch {
	case slash != int64(chain.Undefined):
		v.state, v.reason = Slashed, fmt.Sprintf("terminated on chain at epoch %d", slash)
		return believe(d, v, f.head, slash+final)
	case start != int64(chain.Undefined):
		v.state = Active
	case f.head > d.StartEpoch:
		v.state, v.reason = ProposalExpired, fmt.Sprintf("published, and not proven by its start epoch %d", d.StartEpoch)
		return believe(d, v, f.head, d.StartEpoch+final)
	case f.report != nil && f.report.Error != "":
		return verdict{state: Failed, source: FromProvider, reason: f.report.Error, proof: *f.report, onChain: true}
	default:
		v.state = Published
	}
	return v
}

// believe holds an end on chain back until it is final. Until then the deal
// stays as it is, with the reason to be seen.
func believe(d Deal, end verdict, head, from int64) verdict {
	if head >= from {
		return end
	}
	end.state, end.reason = d.State, fmt.Sprintf("%s; believed from epoch %d", end.reason, from)
	return end
}

// judgeGone is for deals that the chain showed once, and does not show now.
func judgeGone(d Deal, f finding, final int64) verdict {
	v := verdict{state: d.State, source: FromChain, reason: d.Reason, lost: d.lostEpoch, onChain: d.onChain}
	if f.word == notAsked || f.head == 0 {
		return v
	}
	if v.lost == 0 {
		v.lost = f.head
	}
	switch {
	case d.State == Active && f.head >= d.EndEpoch:
		v.state, v.reason = Expired, fmt.Sprintf("ended at epoch %d", d.EndEpoch)
		return believe(d, v, f.head, d.EndEpoch+final)
	case d.State == Active:
		v.state, v.reason = Terminated, fmt.Sprintf("the chain does not show it since epoch %d, before its end", v.lost)
	case f.head > d.StartEpoch:
		v.state, v.reason = ProposalExpired, fmt.Sprintf("published, and not proven by its start epoch %d", d.StartEpoch)
		return believe(d, v, f.head, d.StartEpoch+final)
	default:
		v.state, v.reason = Failed, fmt.Sprintf("the chain does not show it since epoch %d", v.lost)
	}
	return believe(d, v, f.head, v.lost+final)
}

// judgeWord is for deals that are not on chain: there is the provider's word
// and the clock.
func judgeWord(d Deal, f finding, silence time.Duration) verdict {
	v := verdict{state: d.State, source: FromProvider, reason: d.Reason}
	if r := f.report; r != nil {
		v.proof, v.reason = *r, ""
		switch {
		case r.Error != "":
			return verdict{state: Failed, source: FromProvider, reason: r.Error, proof: *r}
		case r.Unknown:
			return verdict{state: Failed, source: FromProvider, reason: "the provider no longer knows the deal", proof: *r}
		case r.Refusal != "":
			v.reason = "the provider does not tell how it stands: " + r.Refusal
		case f.word == foreign:
			v.reason = fmt.Sprintf("the provider names deal %d, which on chain is not this proposal", f.number)
		case r.Stage == Published || r.PublishCID != "":
			v.state, v.reason = Transferring, "published, says the provider; the chain does not show it yet"
		case d.State == Proposed:
			v.state = r.Stage
		}
	} else {
		v.reason = "the provider does not answer"
	}
	switch {
	case f.head > d.StartEpoch:
		return verdict{state: ProposalExpired, source: FromClock, reason: join(fmt.Sprintf("not on chain by its start epoch %d", d.StartEpoch), last(d, v, f))}
	case f.now.Sub(d.progressAt) >= silence:
		return verdict{state: Failed, source: FromClock, reason: join("no progress for "+silence.String(), last(d, v, f))}
	}
	return v
}

// last says in words how far a deal had come.
func last(d Deal, v verdict, f finding) string {
	switch {
	case f.unreached != "":
		return "the provider does not answer: " + f.unreached
	case v.reason != "":
		return v.reason
	case f.report != nil:
		return fmt.Sprintf("the provider says %s, %d bytes fetched", f.report.Step, f.report.Received)
	}
	return string(d.State)
}

func join(what, why string) string { return what + "; " + why }

// progressOf is equal between two reports when nothing moved.
func progressOf(r Report) string {
	return fmt.Sprintf("%s/%s/%d/%s", r.Step, r.Sealing, r.Received, r.PublishCID)
}
