package dataset

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/firth-project/firth/base/fault"
)

// Dataset is a named set of sources that are prepared together.
type Dataset struct {
	ID        int64
	Project   int64
	Name      string // unique among the project's datasets
	Rules     Rules
	Revision  int64 // of the rules, from 1; grows with every change
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Source is where bytes of a dataset are. Its options may hold credentials;
// they are encrypted in the database and never leave this package.
type Source struct {
	ID        int64
	Project   int64
	Dataset   int64
	At        string // directory of the dataset that the source fills; "" is its root
	URL       string
	CreatedAt time.Time
}

// NewSource says which source to add.
type NewSource struct {
	At      string // needed from the second source on
	URL     string
	Options map[string]string // see base/source; may hold credentials
}

// State is what a preparation is allowed to do.
type State string

// The states of a preparation.
const (
	Active   State = "active"   // works
	Paused   State = "paused"   // rests until it is resumed
	Complete State = "complete" // over: has a root, and an index
	Failed   State = "failed"   // something failed for good; chunks that can go on do
	Removed  State = "removed"  // its owner wants it no more
)

// works reports whether jobs of the preparation may run.
func (s State) works() bool { return s == Active || s == Failed }

// Stage is how far a preparation has come.
type Stage string

// The stages of a preparation, in order.
const (
	Scanning Stage = "scan"  // finds out what there is; chunks are packed meanwhile
	Packing  Stage = "pack"  // all chunks are known
	Indexing Stage = "index" // all chunks are packed
	Over     Stage = "over"
)

// Preparation is one run over a dataset.
type Preparation struct {
	ID          int64
	Project     int64
	Dataset     int64
	Ordinal     int64 // of the dataset's runs, from 1
	State       State
	Stage       Stage
	Reason      string     // why it failed, or what it waits for
	Fault       fault.Kind // of the reason, where there is one
	Attempt     int64      // failures in a row; 0 with a reason is a source that is being waited for
	NextAttempt *time.Time // when it goes on by itself after a failure
	Files       int64      // regular files and links found so far
	Bytes       int64      // bytes of the regular files
	Carried     int64      // of Files, those packed by an earlier preparation
	Skipped     int64      // files and directories that are in no piece; the catalog says why
	Chunks      int64
	ChunksDone  int64  // packed or removed
	Root        string // CID of the dataset's UnixFS directory, once complete
	IndexRoot   string // CID of the index DAG, once complete
	IndexPiece  int64  // id of the (first) piece that holds the index DAG
	StartedAt   time.Time
	FinishedAt  *time.Time
	UpdatedAt   time.Time
}

// ChunkState is where a chunk is in its life.
type ChunkState string

// The states of a chunk.
const (
	ChunkWaiting ChunkState = "waiting" // for a worker, or for the chunks before it
	ChunkPacking ChunkState = "packing" // a worker has it
	ChunkPacked  ChunkState = "packed"  // its pieces exist
	ChunkPaused  ChunkState = "paused"  // rests until it is resumed
	ChunkFailed  ChunkState = "failed"  // with a reason; tried again if it has a next attempt
	ChunkRemoved ChunkState = "removed" // its files are left out
)

// ChunkStates lists all states, in the order of a life.
func ChunkStates() []ChunkState {
	return []ChunkState{ChunkWaiting, ChunkPacking, ChunkPaused, ChunkFailed, ChunkPacked, ChunkRemoved}
}

// openStates are those of a chunk that is not over.
func openStates() []ChunkState {
	return []ChunkState{ChunkWaiting, ChunkPacking, ChunkPaused, ChunkFailed}
}

// Chunk is the slice of a preparation that becomes one piece. The last one also
// holds the nodes above all cuts and the directories, which may take further
// pieces.
type Chunk struct {
	ID          int64
	Project     int64
	Preparation int64
	Ordinal     int64 // from 1, in the order of paths
	Last        bool
	State       ChunkState
	Reason      string
	Fault       fault.Kind // of the reason, where there is one
	Attempt     int64      // failures in a row
	NextAttempt *time.Time // when it is tried again after a failure
	Worker      string     // who has it, or had it last
	Files       int64      // to pack, a part counting as one
	Bytes       int64      // to pack
	DoneFiles   int64
	DoneBytes   int64
	Skipped     int64
	First       string  // path
	Final       string  // path
	Pieces      []int64 // ids, once packed
	StartedAt   *time.Time
	FinishedAt  *time.Time
	UpdatedAt   time.Time
}

// Status is what a preparation has done and has still to do.
type Status struct {
	Preparation Preparation
	Chunks      map[ChunkState]Count
	Total       Count // to pack, as far as it is known
	Done        Count
	BytesPerSec float64       // over the last minutes
	Remaining   time.Duration // at that rate; 0 if unknown or nothing remains
}

// Count is a number of chunks with what they hold.
type Count struct {
	Chunks int64
	Files  int64
	Bytes  int64
}

// Bounds of texts, in bytes.
const (
	maxName   = 200
	maxURL    = 4096
	maxReason = 4096
)

// checkName refuses names that people could not type, that read as an id, or
// that no URL can hold as an element of its path.
func checkName(name string) error {
	digits := strings.Trim(name, "0123456789") == ""
	hidden := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if digits || len(name) > maxName || name != strings.TrimSpace(name) || strings.ContainsFunc(name, hidden) || strings.Contains(name, "/") {
		return fault.New(fault.Invalid, "dataset name %.200q: must be 1 to %d bytes of printable text without \"/\" and not only digits", name, maxName)
	}
	if name == "." || name == ".." {
		return fault.New(fault.Invalid, "dataset name %q: means a directory in URLs; give it another", name)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// cleanReason makes an error a text that every engine stores.
func cleanReason(err error) string { return cleanText(err.Error(), maxReason) }

// kindOf is how the kind of an error is stored beside its text.
func kindOf(err error) string { return fault.KindOf(err).String() }

// cleanText is text with what is no UTF-8 or a control character replaced,
// limit bytes of it at most.
func cleanText(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if isControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
	for len(text) > limit {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}
