package piece

import (
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

// PlanState is where a plan is in its life.
type PlanState string

// The states of a plan.
const (
	Planned PlanState = "planned" // waits for a packer
	Packing PlanState = "packing" // is being laid out and hashed
	Packed  PlanState = "packed"  // its pieces exist
	Failed  PlanState = "failed"  // over; the reason says why
)

// Root is one DAG a plan holds.
type Root struct {
	CID  string `json:"cid"`
	Name string `json:"name"` // in the piece's directory; made unique there
	Size int64  `json:"size"` // bytes of content, as a hint
}

// Plan is an ordered set of DAGs that become pieces together.
type Plan struct {
	ID        int64
	Project   int64
	Label     string // who wants it: "bucket/12"
	State     PlanState
	Reason    string
	Pieces    []Piece // in the order of their parts, once packed
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Piece is what deals are made about.
type Piece struct {
	ID         int64
	Project    int64
	CID        string // piece CID v2, FRC-0069
	CIDv1      string // as mk1.2 and the chain know it
	Root       string // the CAR's one root, a UnixFS directory
	CARSize    int64  // bytes
	PaddedSize int64  // bytes after Fr32 and padding, a power of two
	Blocks     int64
	Cached     bool   // the CAR stands in the blob store too
	CAR        string // path at which the CAR stands as a file of somebody's; "" if it does not
	CARTime    int64  // when that file was last changed, in nanoseconds since 1970
	CARAt      int64  // where in that file the CAR begins, behind the head of a CARv2
	CARLength  int64  // bytes of that file; 0 is CARSize, the file is the CAR
	Wrong      string // why it is not what its CID says: a node apart lied; "" is: it is
	CreatedAt  time.Time
}

// Filter picks pieces of a project; the zero value picks all.
type Filter struct {
	Plan   int64
	Before int64
	Limit  int // 0 is 50, at most 1000
}

// Settings are the rules by which pieces are made.
type Settings struct {
	MaxPadded int64 // largest piece, a power of two; 0 is 32 GiB
	MinPadded int64 // smaller pieces are padded up to this power of two
	CacheCAR  bool  // keep each CAR in the blob store

	Worker       string        // who does imports, as people see it
	Lease        time.Duration // how long the owner of an import may be silent; 0 is a minute
	ImportsApart bool          // leave reading CARs to nodes of role commp
	WorkDir      string        // where copies grow, this node's alone; "" is in the system's directory of temporary files
	KeepBytes    int64         // of a CAR between two points an import goes on from after a stop; 0 is 1 GiB
	KeepAfter    time.Duration // time between them, if that is sooner; 0 is 15 s
}

// payload is how many bytes of CAR fit into the largest piece.
func (s Settings) payload() int64 { return int64(commp.MaxRawSize(uint64(s.MaxPadded))) }

// MaxRoots bounds a plan; its roots travel as one row.
const MaxRoots = 100_000

// checkRoots refuses plans that could not become pieces.
func checkRoots(label string, roots []Root) error {
	if len(roots) == 0 {
		return fault.New(fault.Invalid, "plan %s: has no roots", label)
	}
	if len(roots) > MaxRoots {
		return fault.New(fault.Invalid, "plan %s: has %d roots, limit %d", label, len(roots), MaxRoots)
	}
	for _, r := range roots {
		if _, err := cid.Decode(r.CID); err != nil {
			return fault.New(fault.Invalid, "plan %s: root %q: %w", label, r.CID, err)
		}
	}
	return nil
}

// indexKey and carKey are where a piece's files stand in the blob store.
func indexKey(pieceCID string) string { return fmt.Sprintf("piece/%s.index", pieceCID) }
func carKey(pieceCID string) string   { return fmt.Sprintf("piece/%s.car", pieceCID) }

// canonical returns both spellings of a piece CID that was given as v1 or v2;
// v2 is "" for a v1, which does not carry the raw size.
func canonical(ref string) (v2, v1 string, err error) {
	c, version, err := commp.ParseCID(ref)
	if err != nil {
		return "", "", fault.New(fault.Invalid, "%q is neither a piece's id nor a piece CID: %w", ref, err)
	}
	if version == 1 {
		return "", c.String(), nil
	}
	one, _, err := commp.CIDv1(c)
	if err != nil {
		return "", "", fault.New(fault.Invalid, "piece CID %q: %w", ref, err)
	}
	return c.String(), one.String(), nil
}
