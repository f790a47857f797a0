package piece

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// ImportState is where an import is in its life.
type ImportState string

// The states of an import.
const (
	ImportWaiting ImportState = "waiting" // for its turn, or for another attempt
	ImportRunning ImportState = "running" // is being read under a lease
	ImportDone    ImportState = "done"    // the piece exists
	ImportFailed  ImportState = "failed"  // over; the reason says why
)

// Import is a CAR of somebody's on its way to become a piece.
type Import struct {
	ID          int64
	Project     int64
	Place       string // an absolute path, or an http(s) URL
	Copy        bool   // into the blob store; else the CAR stays where it stands
	PieceCID    string // that was given, of either version; "" is any
	Root        string // that was given; "" is the CAR's own
	State       ImportState
	Reason      string
	FaultKind   string // fault.Kind of the reason, as it is written; "" without one
	Known       bool   // the piece was there before, made by other means or by another import
	Note        string // what to know of a piece that came of it, "" if nothing
	Attempts    int
	NextAttempt time.Time // not before, while waiting; zero is now
	DoneBytes   int64
	Size        int64 // bytes to read; 0 is not known yet
	Worker      string
	Epoch       int64 // counts the claims: who shows another one has lost the import
	LeaseUntil  time.Time
	Piece       int64 // id, once done
	CreatedAt   time.Time
	UpdatedAt   time.Time

	Version   string // of an URL, as its server names it
	Committed bool   // a node apart has read it; the check of that, and the copy, are left

	mtime int64  // of the file, when it was claimed
	token int64  // of its owner; 0 is this node
	own   bool   // nodes apart do not get it
	login []byte // secrets of an URL, sealed
	work  string // name of the file its copy grows in
	kept  int64  // bytes of that which are durable
	found found
}

// found is what a node apart found in a CAR.
type found struct {
	index string // key of the index in the blob store, "" if nothing is found yet
	root  string
	at    int64 // where the CAR begins in the file
	by    int64 // token
}

// Tag names the version of the CAR's place that was claimed, as an entity tag.
func (im Import) Tag() string {
	if IsURL(im.Place) {
		return im.Version
	}
	return fmt.Sprintf(`"%x-%x"`, im.Size, im.mtime)
}

// over reports whether nothing more will come of it.
func (im Import) over() bool { return im.State == ImportDone || im.State == ImportFailed }

// NewImport says what to import.
type NewImport struct {
	Place    string // an URL may have a user and a password or be signed: that is sealed
	Copy     bool   // an URL is always copied
	PieceCID string
	Root     string
}

// ImportFilter picks imports of a project; the zero value picks all.
type ImportFilter struct {
	State  ImportState
	Before int64
	Limit  int // 0 is 50, at most 1000
}

// IsURL reports whether a place is an URL rather than a path.
func IsURL(place string) bool {
	return strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://")
}

// check completes what was asked for. A file that is called like a piece is
// that piece, or the import fails.
func (n *NewImport) check() error {
	switch {
	case strings.ContainsRune(n.Place, 0):
		return fault.New(fault.Invalid, "import %.200q: has a zero byte, which no place has", n.Place)
	case IsURL(n.Place):
		n.Copy = true
	case !filepath.IsAbs(n.Place):
		return fault.New(fault.Invalid, "import %.200q: is neither an absolute path nor an http(s) URL", n.Place)
	default:
		n.Place = filepath.Clean(n.Place) // so that one file is one place
	}
	if len(n.Place) > 4096 {
		return fault.New(fault.Invalid, "import %.200q…: %d bytes, limit 4096", n.Place, len(n.Place))
	}
	if n.PieceCID == "" {
		n.PieceCID = namedPiece(n.Place)
	}
	if n.PieceCID != "" {
		if _, _, err := commp.ParseCID(n.PieceCID); err != nil {
			return fault.New(fault.Invalid, "import %s: %w", n.Place, err)
		}
	}
	if n.Root != "" {
		if _, err := cid.Decode(n.Root); err != nil {
			return fault.New(fault.Invalid, "import %s: root %q: %w", n.Place, n.Root, err)
		}
	}
	return nil
}

// namedPiece is the piece CID a place is called by: "dir/baga….car"; "" is none.
func namedPiece(place string) string {
	if IsURL(place) {
		place, _, _ = strings.Cut(place, "?")
	}
	name := strings.TrimSuffix(place[strings.LastIndexByte(place, '/')+1:], ".car")
	if _, _, err := commp.ParseCID(name); err != nil {
		return ""
	}
	return name
}

var importKind = job.Kind[importArgs]{Name: "piece.import", Queue: job.Hash, Timeout: 48 * time.Hour, Attempts: 5, Unique: true}

// importArgs name the import.
type importArgs struct {
	Import int64 `json:"import"`
}

// Import has a CAR become a piece. A place that is being imported already is
// that import; asked for in another way, fault.Conflict.
func (s *Service) Import(ctx context.Context, project int64, n NewImport) (Import, error) {
	sealed, login, err := s.takeSecrets(&n)
	if err != nil {
		return Import{}, err
	}
	if err := n.check(); err != nil {
		return Import{}, err
	}
	var im Import
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		var made bool
		if im, made, err = insertImport(ctx, tx, project, n, sealed, login, s.now()); err != nil {
			return err
		}
		if !made {
			if im.Copy != n.Copy || im.PieceCID != n.PieceCID || im.Root != n.Root {
				return fault.New(fault.Conflict, "import %s: import %d of it is under way and was asked for otherwise", n.Place, im.ID)
			}
			return nil
		}
		return job.Enqueue(ctx, s.jobs, tx, importKind, importArgs{im.ID})
	})
	return im, err
}

// ImportByID returns an import of the project.
func (s *Service) ImportByID(ctx context.Context, project, id int64) (Import, error) {
	return importByID(ctx, s.db.Read(), project, id)
}

// Imports returns a page of the project's imports, newest first.
func (s *Service) Imports(ctx context.Context, project int64, f ImportFilter) ([]Import, error) {
	return imports(ctx, s.db.Read(), project, f)
}

// importFact is the data of an import's events.
type importFact struct {
	ID     int64  `json:"id"`
	Place  string `json:"place"`
	Piece  int64  `json:"piece,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func tellImport(ctx context.Context, tx *db.Tx, now time.Time, im Import) error {
	return event.Append(ctx, tx, event.Event{
		At: now, Kind: "import." + string(im.State), Project: im.Project, Subject: fmt.Sprintf("import/%d", im.ID),
		Data: event.JSON(importFact{im.ID, im.Place, im.Piece, im.Reason}),
	})
}

// wanted computes the piece of a tree as it was asked for: a piece CID v2 says
// its padded size, for a v1 all sizes are tried; without one it is the smallest
// there is, or the smallest that is made here, or least.
func (s *Service) wanted(tree *commp.Tree, pieceCID string, least uint64) (commp.Piece, error) {
	natural, err := tree.Piece()
	if err != nil {
		return natural, fault.Mark(fault.Internal, err)
	}
	if int64(natural.PaddedSize) > s.settings.MaxPadded {
		return natural, tooLarge(tree.RawSize(), s.settings.payload())
	}
	if pieceCID == "" {
		return tree.PiecePadded(max(natural.PaddedSize, uint64(s.settings.MinPadded), least))
	}
	for padded := natural.PaddedSize; padded <= uint64(s.settings.MaxPadded); padded *= 2 {
		p, err := tree.PiecePadded(padded)
		if err != nil {
			return p, fault.Mark(fault.Internal, err)
		}
		if p.CIDv2.String() == pieceCID || p.CIDv1.String() == pieceCID {
			return p, nil
		}
	}
	return natural, fault.New(fault.Invalid, "piece %s was given, the CAR is piece %s (%s)", pieceCID, natural.CIDv2, natural.CIDv1)
}
