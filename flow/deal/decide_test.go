package deal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/big"

	"github.com/firth-project/firth/flow/provider"
)

func fit(actors ...string) (ps []provider.Provider) {
	for _, a := range actors {
		ps = append(ps, provider.Provider{Actor: a, Price: "7"})
	}
	return ps
}

func with(state State, actors ...string) (ds []Deal) {
	for _, a := range actors {
		ds = append(ds, Deal{Provider: a, State: state})
	}
	return ds
}

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	later := now.Add(time.Minute)
	three := Policy{ID: 1, Copies: 3, State: PolicyActive}
	const here, there = "https://here/x", "https://there/x"
	// absent says that providers could not fetch from a place, and are asked again at a time.
	absent := func(at time.Time, url string, actors ...string) map[string]attempt {
		all := map[string]attempt{}
		for _, a := range actors {
			all[a] = attempt{NextAttempt: at, FetchURL: url, Reason: "code: 404"}
		}
		return all
	}
	outside := map[int64]string{1: here}
	four := map[int64][]provider.Provider{1: fit("f01", "f02", "f03", "f04")}
	fetching := []Deal{{Provider: "f03", State: Transferring, URL: here}}
	proven := []Deal{{Provider: "f03", State: Published, URL: here}}
	picky := Policy{ID: 2, Copies: 1, Providers: []string{"f09"}, State: PolicyActive}
	paused := Policy{ID: 3, Copies: 3, State: PolicyPaused, Reason: "no money"}
	tests := []struct {
		name string
		v    view
		want string // action:provider of each step
		next *time.Time
	}{
		{"nothing there", view{policies: []Policy{three}, candidates: map[int64][]provider.Provider{1: fit("f01", "f02", "f03", "f04")}},
			"propose:f01 propose:f02 propose:f03", nil},
		{"some there", view{policies: []Policy{three}, live: with(Active, "f02"), candidates: map[int64][]provider.Provider{1: fit("f01", "f02", "f03")}},
			"propose:f01 propose:f03", nil},
		{"enough on their way", view{policies: []Policy{three}, live: with(Proposed, "f01", "f02", "f03")}, "keep:", nil},
		{"one waits, the others do not", view{policies: []Policy{three}, attempts: map[string]attempt{"f01": {NextAttempt: later}},
			candidates: map[int64][]provider.Provider{1: fit("f01", "f02", "f03")}}, "propose:f02 propose:f03 wait:", &later},
		{"its wait is over", view{policies: []Policy{three}, attempts: map[string]attempt{"f01": {NextAttempt: now}},
			candidates: map[int64][]provider.Provider{1: fit("f01")}}, "propose:f01 wait:", nil},
		{"nobody fits", view{policies: []Policy{three}}, "wait:", nil},
		{"paused", view{policies: []Policy{paused}, candidates: map[int64][]provider.Provider{3: fit("f01")}}, "keep:", nil},
		{"a copy elsewhere does not count", view{policies: []Policy{picky}, live: with(Active, "f01"), candidates: map[int64][]provider.Provider{2: fit("f09")}},
			"propose:f09", nil},
		{"one copy serves two policies", view{policies: []Policy{picky, three}, live: with(Active, "f01", "f02"),
			candidates: map[int64][]provider.Provider{1: fit("f09", "f03"), 2: fit("f09")}}, "propose:f09 keep:", nil},
		{"no policy", view{}, "", nil},
		{"one could not fetch it", view{policies: []Policy{three}, outside: outside, candidates: four, attempts: absent(later, here, "f01")},
			"propose:f02 propose:f03 propose:f04", &later},
		{"two could not", view{policies: []Policy{three}, outside: outside, candidates: four, attempts: absent(later, here, "f01", "f02")}, "wait:", &later},
		{"two could not, a while ago", view{policies: []Policy{three}, outside: outside, candidates: four, attempts: absent(now, here, "f01", "f02")},
			"propose:f03 wait:", nil},
		{"all could not, a while ago", view{policies: []Policy{three}, outside: outside, candidates: four, attempts: absent(now, here, "f01", "f02", "f03", "f04")},
			"propose:f01 wait:", nil},
		{"two could not, one is at it", view{policies: []Policy{three}, outside: outside, candidates: four, live: fetching, attempts: absent(now, here, "f01", "f02")},
			"wait:", nil},
		{"two could not, one could", view{policies: []Policy{three}, outside: outside, candidates: four, live: proven, attempts: absent(now, here, "f01", "f02")},
			"propose:f01 propose:f02", nil},
		{"two could not elsewhere", view{policies: []Policy{three}, outside: outside, candidates: four, attempts: absent(later, there, "f01", "f02")},
			"propose:f01 propose:f02 propose:f03", nil},
		{"two could not outside", view{policies: []Policy{three}, candidates: four, attempts: absent(later, here, "f01", "f02")},
			"propose:f01 propose:f02 propose:f03", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.v.now = now
			steps, next := tt.v.decide()
			var got []string
			for _, s := range steps {
				got = append(got, fmt.Sprintf("%s:%s", s.Action, s.Provider))
				if s.Reason == "" {
					t.Errorf("%s has no reason", s.Action)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("steps %q, want %q", strings.Join(got, " "), tt.want)
			}
			if (next == nil) != (tt.next == nil) || next != nil && !next.Equal(*tt.next) {
				t.Errorf("next %v, want %v", next, tt.next)
			}
		})
	}
}

func TestWaitAfter(t *testing.T) {
	for n, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 5: 16 * time.Minute, 11: 1024 * time.Minute, 12: maxBackOff, 500: maxBackOff} {
		for _, draw := range []uint64{0, 1 << 20, 1<<64 - 1} {
			if got := waitAfter(time.Minute, n, draw); got > want || got < want-want/5 {
				t.Errorf("after %d failures %s, want %s less a fifth at most", n, got, want)
			}
		}
	}
}

func TestMoney(t *testing.T) {
	if got := perEpoch(big.NewInt(3), 1<<29); !got.Equals(big.NewInt(2)) {
		t.Errorf("half a GiB at 3 costs %s, want 2: rounded up", got)
	}
	if got := collateral(big.NewInt(100), big.NewInt(1000)); !got.Equals(big.NewInt(120)) {
		t.Errorf("collateral %s, want 120", got)
	}
	if got := collateral(big.NewInt(100), big.NewInt(110)); !got.Equals(big.NewInt(110)) {
		t.Errorf("collateral %s, want no more than the most, 110", got)
	}
}

func TestStates(t *testing.T) {
	for from, to := range moves {
		for state := range to {
			if !state.known() || !from.Live() {
				t.Errorf("a move from %s to %s", from, state)
			}
		}
	}
	for _, s := range liveStates() {
		if !s.known() || len(moves[s]) == 0 {
			t.Errorf("%s is a dead end", s)
		}
	}
	if State("done").known() || Failed.Live() || may(Failed, Draft) || may(Active, Published) {
		t.Error("a move there is not")
	}
}

func TestSentBefore(t *testing.T) {
	const mine = "6f6dcbbb-2f0e-4dc4-9dd3-3b1ea5b6ba3c"
	for message, want := range map[string]bool{
		"deal proposal is identical to deal " + mine + " (proposed at 2026-11-21)":                true,
		"deal has the same uuid as deal " + mine + " (proposed at 2026-11-21)":                    true,
		"deal proposal is identical to deal 00000000-0000-4000-8000-000000000000 (proposed at x)": false,
		"deal filter says no": false,
	} {
		if sentBefore(message, mine) != want {
			t.Errorf("%q: %v", message, !want)
		}
	}
}

// A CAR is let go when every policy over its piece has as many active deals of
// its own as it says.
func TestSpares(t *testing.T) {
	two := Policy{ID: 1, Copies: 3, DeleteCARAfter: 2, State: PolicyActive}
	keeps := Policy{ID: 2, Copies: 1, State: PolicyActive}
	picky := Policy{ID: 3, Copies: 1, DeleteCARAfter: 1, Providers: []string{"f09"}, State: PolicyPaused}
	for _, tt := range []struct {
		name string
		v    view
		want bool
	}{
		{"no policy", view{live: with(Active, "f01", "f02")}, false},
		{"too few", view{policies: []Policy{two}, live: append(with(Active, "f01"), with(Published, "f02", "f03")...)}, false},
		{"enough", view{policies: []Policy{two}, live: with(Active, "f01", "f02")}, true},
		{"another keeps it", view{policies: []Policy{two, keeps}, live: with(Active, "f01", "f02", "f03")}, false},
		{"not with whom another wants it", view{policies: []Policy{two, picky}, live: with(Active, "f01", "f02")}, false},
		{"enough for both", view{policies: []Policy{two, picky}, live: with(Active, "f01", "f09")}, true},
	} {
		if reason, got := tt.v.spares(); got != tt.want || got != (reason != "") {
			t.Errorf("%s: %v %q", tt.name, got, reason)
		}
	}
	for n, fine := range map[int]bool{-1: false, 0: true, 1: true, 3: true, 4: false} {
		p := Policy{Copies: 3, MaxPrice: "0", DurationEpochs: minDuration, StartDelayEpochs: 1, DeleteCARAfter: n}
		if err := p.check(); (err == nil) != fine {
			t.Errorf("delete after %d of 3: %v", n, err)
		}
	}
}
