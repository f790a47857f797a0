package deal

import (
	"fmt"
	"time"

	"github.com/firth-project/firth/flow/provider"
)

// absence is what is known of a piece that several providers could not get from
// outside: it is most likely not there, and asking everybody in the index would
// change nothing. So one is asked at a time, with waits that double.
type absence struct {
	url    string
	said   map[string]bool // the providers that could not get it
	reason string          // what the last of them said
	until  time.Time       // nobody is asked before
	trying string          // the provider that is at it now, if one is
}

// witnesses is how many providers must say so: one may have itself to blame.
const witnesses = 2

// absence gathers what providers said of where a policy has the piece fetched.
// It is nil while fewer than two say that it is not there, and as soon as one
// deal on chain shows that it is.
func (v view) absence(p Policy) *absence {
	a := absence{url: v.outside[p.ID], said: map[string]bool{}}
	if a.url == "" {
		return nil
	}
	for actor, one := range v.attempts {
		if one.FetchURL != a.url {
			continue
		}
		a.said[actor] = true
		if one.NextAttempt.After(a.until) {
			a.until, a.reason = one.NextAttempt, one.Reason
		}
	}
	if len(a.said) < witnesses {
		return nil
	}
	for _, d := range v.live {
		if d.URL != a.url && (d.URL != "" || d.Policy != p.ID) {
			continue
		}
		if d.State == Published || d.State == Active {
			return nil
		}
		a.trying = d.Provider
	}
	return &a
}

// room is how many providers may be asked now.
func (a *absence) room(now time.Time) int {
	if a.trying != "" || a.until.After(now) {
		return 0
	}
	return 1
}

// freshFirst puts those ahead who have not tried, each part best first.
func (a *absence) freshFirst(all []provider.Provider) []provider.Provider {
	var fresh, rest []provider.Provider
	for _, p := range all {
		if a.said[p.Actor] {
			rest = append(rest, p)
		} else {
			fresh = append(fresh, p)
		}
	}
	return append(fresh, rest...)
}

// explain says why no more providers are asked, and when one will be.
func (a *absence) explain(now time.Time) string {
	why := fmt.Sprintf("%d providers could not get the piece from %s, so no more than one at a time is asked", len(a.said), a.url)
	switch {
	case a.trying != "":
		why += ", now " + a.trying
	case a.until.After(now):
		why += ", the next at " + a.until.Format(time.RFC3339)
	}
	return fmt.Sprintf("%s (%.300s)", why, a.reason)
}
