package deal

import (
	"encoding/json"
	"slices"
	"time"
)

// State is where a deal is in its life.
type State string

// The states of a deal. The first six are live.
const (
	Draft           State = "draft"        // chosen, nothing signed
	Sending         State = "sending"      // signed and kept; the provider's answer is not known
	Proposed        State = "proposed"     // accepted by the provider
	Transferring    State = "transferring" // the provider fetches, checks or publishes it
	Published       State = "published"    // on chain, not proven yet
	Active          State = "active"       // proven on chain
	Slashed         State = "slashed"      // the chain terminated it and punished the provider
	Terminated      State = "terminated"   // gone from the chain before its end
	Expired         State = "expired"      // ran its whole time
	Rejected        State = "rejected"     // refused by the provider
	ProposalExpired State = "proposal_expired"
	Failed          State = "failed" // the reason says why
)

// liveStates are those in which a provider cannot be offered the piece again.
// The unique index deal_live repeats them.
func liveStates() []State {
	return []State{Draft, Sending, Proposed, Transferring, Published, Active}
}

// Live reports whether a deal in this state counts, or may come to count, as a
// copy.
func (s State) Live() bool { return slices.Contains(liveStates(), s) }

// known reports whether s is a state at all.
func (s State) known() bool { return s.Live() || moves[Active][s] || moves[Sending][s] }

// moves is the state machine: from, to. A deal may skip states, because between
// two looks at it the world may have gone further than one step.
var moves = map[State]map[State]bool{
	Draft:        {Sending: true, Failed: true},
	Sending:      {Proposed: true, Rejected: true, ProposalExpired: true, Failed: true},
	Proposed:     {Transferring: true, Published: true, Active: true, ProposalExpired: true, Failed: true, Slashed: true},
	Transferring: {Published: true, Active: true, ProposalExpired: true, Failed: true, Slashed: true},
	Published:    {Active: true, ProposalExpired: true, Failed: true, Slashed: true},
	Active:       {Slashed: true, Terminated: true, Expired: true},
}

// may reports whether a deal may go from one state to the other.
func may(from, to State) bool { return moves[from][to] }

// Deal is one agreement about one piece with one provider.
type Deal struct {
	ID          int64
	UUID        string // its name on both sides
	Project     int64
	Policy      int64
	Piece       int64
	PieceCID    string // v2
	Provider    string // f0…
	Market      string // protocol it is made by
	Client      string // address of the wallet that pays
	State       State
	Reason      string // why it ended, or what it waits for
	ProposalCID string // of the signed proposal
	PublishCID  string // of the message that published it
	DealID      int64  // on chain; 0 until the chain showed that it is this proposal
	StartEpoch  int64
	EndEpoch    int64
	Price       string // attoFIL per GiB and epoch
	URL         string // where the provider was told to fetch; "" until it is signed
	Outside     bool   // that is not this node, but where a template says
	CreatedAt   time.Time
	UpdatedAt   time.Time
	NextCheck   *time.Time

	request    []byte    // what is sent, in the market's form
	sealed     bool      // request is
	cost       string    // attoFIL the client binds
	progress   string    // how far the provider said it was, to see that it moves
	progressAt time.Time // when that last changed
	onChain    bool      // DealID means something: 0 is a deal too
	lostEpoch  int64     // since when the chain no longer shows it; 0 if it does
}

// Source is who said it.
type Source string

// The sources of observations.
const (
	FromUs       Source = "us"
	FromProvider Source = "provider"
	FromChain    Source = "chain"
	FromClock    Source = "clock"
)

// Observation is one change of a deal, as it was learned. From equals To where
// only the reason changed.
type Observation struct {
	At       time.Time
	Source   Source
	From     State
	To       State
	Reason   string
	Evidence json.RawMessage // what was seen, or nil
}

// Filter picks deals of a project; the zero value picks all.
type Filter struct {
	State    State
	Piece    int64
	Provider string
	Policy   int64
	Before   int64
	Limit    int // 0 is 50, at most 1000
}

// Settings are the rules by which deals are made and followed.
type Settings struct {
	Interval         time.Duration // how often rows are looked at without a hint, and how often a deal under way is checked
	ActiveInterval   time.Duration // how often an active deal is checked; 20 × Interval if zero
	Silence          time.Duration // without progress for this long, a deal that is not on chain ends
	Backoff          time.Duration // first wait before a provider is offered the same piece again; doubles
	FinalityEpochs   int64         // how many epochs old an end on chain must be to be believed
	Copies           int           // of a policy that does not say; 6 if zero
	DurationEpochs   int64         // of a policy that does not say; 180 days if zero
	StartDelayEpochs int64         // of a policy that does not say; 3 days if zero
	URLTemplate      string        // the Template of a policy that does not say; this node if empty
}

const epochsInDay = 2880

func (s Settings) withDefaults() Settings {
	if s.Interval <= 0 {
		s.Interval = 30 * time.Second
	}
	if s.ActiveInterval <= 0 {
		s.ActiveInterval = 20 * s.Interval
	}
	if s.Silence <= 0 {
		s.Silence = 24 * time.Hour
	}
	if s.Backoff <= 0 {
		s.Backoff = time.Minute
	}
	if s.Copies <= 0 {
		s.Copies = 6
	}
	if s.DurationEpochs <= 0 {
		s.DurationEpochs = 180 * epochsInDay
	}
	if s.StartDelayEpochs <= 0 {
		s.StartDelayEpochs = 3 * epochsInDay
	}
	return s
}
