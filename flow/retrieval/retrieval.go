package retrieval

import (
	"time"

	"github.com/ipfs/go-cid"
)

// State is where an attempt is in its life.
type State string

// The states of an attempt.
const (
	Running State = "running"
	OK      State = "ok" // all that was still missing came from it
	Failed  State = "failed"
)

// Method is how bytes are asked for.
type Method string

// The methods, in the order they are tried.
const (
	CAR   Method = "car"   // the DAG from a trustless gateway, /ipfs/{root}
	Piece Method = "piece" // byte ranges of the CAR that a deal is about, /piece/{cid}
)

// Retrieval is one attempt to get a DAG, or the rest of one, from a provider.
type Retrieval struct {
	ID       int64
	Project  int64
	Root     string
	PieceCID string // v2; of the first piece where several are read
	Provider string // f0…
	Method   Method
	State    State
	Reason   string // why it failed
	Bytes    int64  // that came over the wire as blocks
	Blocks   int64
	TTFB     time.Duration // to the first byte of an answer
	Took     time.Duration
	At       time.Time // when it began
}

// Request says what to fetch.
type Request struct {
	Project  int64
	Root     cid.Cid
	Plan     int64  // the plan that laid the root into pieces
	Provider string // f0…; "" is the best that holds it
}

// Filter picks attempts of a project; the zero value picks all.
type Filter struct {
	State    State
	Provider string
	Root     string
	Before   int64 // ids below this, 0 is from the newest
	Limit    int   // 0 is 50, at most 1000
}

// Outcome is what an attempt tells about a provider.
type Outcome struct {
	OK     bool
	Code   string // "ok", or what went wrong in a word: see Code constants
	Reason string
	Bytes  int64
	TTFB   time.Duration
	Took   time.Duration
	At     time.Time
}

// Codes of outcomes.
const (
	CodeOK          = "ok"
	CodeUnreachable = "unreachable" // no connection
	CodeRefused     = "refused"     // an HTTP status that is no success
	CodeTimeout     = "timeout"     // no byte for too long
	CodeBroken      = "broken"      // ended early
	CodeWrong       = "wrong_bytes" // not the DAG that was asked for
	CodeLimit       = "limit"       // more bytes than allowed
)

// Settings are the limits of a fetch. Zero fields take the default.
type Settings struct {
	FirstByte time.Duration // until an answer begins, 30 s
	Idle      time.Duration // between two bytes of an answer, 30 s
	MaxBytes  int64         // of one attempt, 1 TiB
	Redirects int           // followed in one request, 3; negative is none
	Lease     time.Duration // an attempt without a sign of life this long is over, 1 min
}

func (s Settings) withDefaults() Settings {
	if s.FirstByte <= 0 {
		s.FirstByte = 30 * time.Second
	}
	if s.Idle <= 0 {
		s.Idle = 30 * time.Second
	}
	if s.MaxBytes <= 0 {
		s.MaxBytes = 1 << 40
	}
	if s.Redirects == 0 {
		s.Redirects = 3
	}
	if s.Lease <= 0 {
		s.Lease = time.Minute
	}
	return s
}
