package deal

import (
	"fmt"
	"time"

	"github.com/firth-project/firth/flow/provider"
)

// Action is what is done about a piece.
type Action string

// The actions.
const (
	ActionKeep    Action = "keep"    // nothing is lacking
	ActionPropose Action = "propose" // a deal is proposed to Provider
	ActionWait    Action = "wait"    // copies are lacking and cannot be had now
)

// Step is one thing a policy does about a piece, and why.
type Step struct {
	Action   Action
	Policy   int64
	Piece    int64
	PieceCID string
	Provider string // of ActionPropose
	Reason   string
}

// view is all that a turn at a piece is decided by.
type view struct {
	now        time.Time
	target     target
	policies   []Policy
	live       []Deal
	attempts   map[string]attempt            // by provider
	outside    map[int64]string              // by policy: where it has the piece fetched instead of from this node
	candidates map[int64][]provider.Provider // by policy, best first
}

func (v view) policy(id int64) Policy {
	for _, p := range v.policies {
		if p.ID == id {
			return p
		}
	}
	return Policy{}
}

// has counts the copies there are, or may come to be, that a policy accepts.
func (v view) has(p Policy) (n int) {
	for _, d := range v.live {
		if p.accepts(d.Provider) {
			n++
		}
	}
	return n
}

// decide compares what the policies want with what there is. next is when a
// provider that had refused or failed may be asked again, nil if none is.
func (v view) decide() (steps []Step, next *time.Time) {
	taken := map[string]bool{}
	for _, d := range v.live {
		taken[d.Provider] = true
	}
	for _, p := range v.policies {
		lacks := p.Copies - v.has(p)
		switch {
		case p.State != PolicyActive:
			steps = append(steps, v.step(p, ActionKeep, "", pausedReason(p)))
			continue
		case lacks <= 0:
			steps = append(steps, v.step(p, ActionKeep, "", fmt.Sprintf("has %d of %d copies, made or on their way", v.has(p), p.Copies)))
			continue
		}
		chosen, waiting := v.choose(p, lacks, taken)
		for _, c := range chosen {
			steps = append(steps, v.step(p, ActionPropose, c.Actor, fmt.Sprintf("copy %d of %d, at %s attoFIL per GiB and epoch",
				p.Copies-lacks+1, p.Copies, c.AskPrice(p.Verified))))
			taken[c.Actor] = true
			v.live = append(v.live, Deal{Provider: c.Actor, Policy: p.ID})
			lacks--
		}
		if lacks > 0 {
			steps = append(steps, v.step(p, ActionWait, "", v.lackReason(p, lacks, waiting)))
		}
		if at := waiting.until; waiting.n > 0 && (next == nil || at.Before(*next)) {
			next = &at
		}
	}
	return steps, next
}

// waits are providers that are not asked now.
type waits struct {
	n      int
	until  time.Time // when the first of them may be
	reason string    // what went wrong with it
	absent *absence  // why nobody is asked, or one only
}

// choose picks whom a policy proposes to, the best first, and tells who waits.
func (v view) choose(p Policy, lacks int, taken map[string]bool) (chosen []provider.Provider, w waits) {
	candidates := v.candidates[p.ID]
	if w.absent = v.absence(p); w.absent != nil {
		lacks = w.absent.room(v.now)
		candidates = w.absent.freshFirst(candidates)
	}
	for _, c := range candidates {
		a, tried := v.attempts[c.Actor]
		switch {
		case taken[c.Actor]:
		case tried && a.NextAttempt.After(v.now) && (a.FetchURL == "" || a.FetchURL == v.outside[p.ID]):
			if w.n++; w.n == 1 || a.NextAttempt.Before(w.until) {
				w.until, w.reason = a.NextAttempt, a.Reason
			}
		case len(chosen) < lacks:
			chosen = append(chosen, c)
		}
	}
	if w.absent != nil && w.absent.until.After(v.now) {
		w.n, w.until = max(w.n, 1), w.absent.until
	}
	return chosen, w
}

// spares reports whether no policy wants the CARs of the piece any more, and
// says why. One policy that keeps them is enough; each counts the active deals
// it accepts.
func (v view) spares() (reason string, ok bool) {
	for _, p := range v.policies {
		active := 0
		for _, d := range v.live {
			if d.State == Active && p.accepts(d.Provider) {
				active++
			}
		}
		if p.DeleteCARAfter == 0 || active < p.DeleteCARAfter {
			return "", false
		}
		reason = fmt.Sprintf("policy %d: %d deals are active, the CAR is kept until %d are", p.ID, active, p.DeleteCARAfter)
	}
	return reason, len(v.policies) > 0
}

func (v view) step(p Policy, a Action, actor, reason string) Step {
	return Step{Action: a, Policy: p.ID, Piece: v.target.ID, PieceCID: v.target.PieceCID, Provider: actor, Reason: reason}
}

func pausedReason(p Policy) string {
	if p.Reason == "" {
		return "the policy is paused"
	}
	return "the policy is paused: " + p.Reason
}

// lackReason says why copies are lacking, and what would help.
func (v view) lackReason(p Policy, lacks int, w waits) string {
	why := fmt.Sprintf("lacks %d of %d copies: ", lacks, p.Copies)
	if w.absent != nil {
		return why + w.absent.explain(v.now)
	}
	why += fmt.Sprintf("%d providers in the index fit by state, size and price", len(v.candidates[p.ID]))
	if w.n > 0 {
		return fmt.Sprintf("%s, %d of them failed before and are asked again, the first at %s (%.300s)", why, w.n, w.until.Format(time.RFC3339), w.reason)
	}
	return why + "; add more with `firth provider add`"
}

const maxBackOff = 24 * time.Hour

// waitAfter is how long a provider is left alone after its n-th failure: first,
// doubled each time, a day at most, less up to a fifth that draw decides.
func waitAfter(first time.Duration, n int, draw uint64) time.Duration {
	wait := maxBackOff
	if shift := min(n-1, 30); first < maxBackOff>>shift {
		wait = first << shift
	}
	return wait - time.Duration(draw%uint64(wait/5+1))
}
