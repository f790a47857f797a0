package dataset

import (
	"context"
	"encoding/json"
	"log/slog"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/flow/piece"
)

// Seal encrypts what must not be read in the database. Open undoes Seal, and
// refuses with Forbidden or Invalid what was sealed with another secret.
type Seal interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// Settings are what a node adds to the rules of datasets.
type Settings struct {
	WorkDir      string        // where work in progress stands; of this process alone
	Worker       string        // name shown as a chunk's worker
	Workers      int           // goroutines of one chunk; 0 is one more than processors
	MinPieceSize int64         // least padded size where a dataset's rules name none; 0 is any
	Checkpoint   int64         // bytes between two points a chunk goes on from; 0 is 1 GiB
	Temporary    bool          // nobody goes on from here when the machine has lost its power
	Interval     time.Duration // between two looks at the rows while working; 0 is 2 s
	Backoff      time.Duration // after a first failure, doubling up to 15 minutes; 0 is 5 s
	KeptOpen     time.Duration // a source on this machine that nobody uses; 0 is 10 s. Then its disk can be unmounted

	Routers      []*indexdag.Router // that are given the records of names
	NameValidity time.Duration      // of a record; 0 is 7 days. It is renewed after a third of that, daily at least
}

// Service is the only way to datasets.
type Service struct {
	db       *db.DB
	blobs    blob.Store
	blocks   dag.Putter
	pieces   *piece.Service
	jobs     *job.Client
	seal     Seal
	clock    func() time.Time
	log      *slog.Logger
	settings Settings

	mu      sync.Mutex
	sources map[int64]*openSource // by id
	busy    map[string]bool       // working directories in use
}

// New makes the service. Catalogs go to blobs, blocks of indexes to blocks.
func New(d *db.DB, blobs blob.Store, blocks dag.Putter, pieces *piece.Service, jobs *job.Client, seal Seal,
	clock func() time.Time, log *slog.Logger, s Settings) *Service {
	if s.Interval <= 0 {
		s.Interval = 2 * time.Second
	}
	if s.Backoff <= 0 {
		s.Backoff = 5 * time.Second
	}
	if s.KeptOpen <= 0 {
		s.KeptOpen = 10 * time.Second
	}
	if s.NameValidity <= 0 {
		s.NameValidity = 7 * 24 * time.Hour
	}
	return &Service{
		db: d, blobs: blobs, blocks: blocks, pieces: pieces, jobs: jobs, seal: seal, clock: clock, log: log, settings: s,
		sources: map[int64]*openSource{}, busy: map[string]bool{},
	}
}

func (s *Service) now() time.Time { return db.Now(s.clock()) }

// Filter picks datasets or preparations; the zero value picks all that are not
// removed.
type Filter struct {
	Dataset int64 // of preparations
	State   State // of preparations
	Before  int64 // ids below this, 0 is from the newest
	Limit   int   // 0 is 50, at most 1000
}

// Create makes a dataset with its first sources. A name that is taken is
// Conflict, rules that cannot be kept are Invalid.
func (s *Service) Create(ctx context.Context, project int64, name string, rules Rules, sources ...NewSource) (Dataset, error) {
	rules, err := rules.complete()
	if err != nil {
		return Dataset{}, err
	}
	if err := checkName(name); err != nil {
		return Dataset{}, err
	}
	d := Dataset{Project: project, Name: name, Rules: rules, Revision: 1, CreatedAt: s.now()}
	d.UpdatedAt = d.CreatedAt
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := insertDataset(ctx, tx, &d); err != nil {
			return err
		}
		for _, n := range sources {
			if _, err := s.addSource(ctx, tx, d, n); err != nil {
				return err
			}
		}
		return announceDataset(ctx, tx, d, "created", d.CreatedAt)
	})
	return d, err
}

// SetRules changes the rules for preparations that begin from now on; one that
// runs keeps those it began with.
func (s *Service) SetRules(ctx context.Context, project, id int64, rules Rules) (Dataset, error) {
	return s.ChangeRules(ctx, project, id, 0, func(Rules) Rules { return rules })
}

// ChangeRules is SetRules with the rules that change makes of those that hold.
// Where they are no longer those of a revision it is a Conflict; revision 0 is
// whichever holds.
func (s *Service) ChangeRules(ctx context.Context, project, id, revision int64, change func(Rules) Rules) (d Dataset, err error) {
	set := func(ctx context.Context, tx *db.Tx) (err error) {
		if d, err = datasetByID(ctx, tx, project, id); err != nil {
			return err
		}
		if revision != 0 && revision != d.Revision {
			return fault.New(fault.Conflict, "dataset %q: its rules are at revision %d, not %d; look at them again", d.Name, d.Revision, revision)
		}
		rules, err := change(d.Rules).complete()
		if err != nil || reflect.DeepEqual(rules, d.Rules) {
			return err
		}
		d.Rules, d.UpdatedAt = rules, s.now()
		if err := setRules(ctx, tx, &d); err != nil {
			return err
		}
		return announceDataset(ctx, tx, d, "changed", d.UpdatedAt)
	}
	if revision != 0 {
		err = s.db.Tx(ctx, set)
	} else {
		err = s.insist(ctx, set)
	}
	return d, err
}

// insist makes a change anew when somebody else was quicker between its reading
// and its writing, a few times before its caller hears of the conflict.
func (s *Service) insist(ctx context.Context, change func(context.Context, *db.Tx) error) error {
	const tries = 5
	for try := 1; ; try++ {
		if err := s.db.Tx(ctx, change); !fault.Is(err, fault.Conflict) || try == tries {
			return err
		}
	}
}

// Get returns a dataset of the project by its id or its name.
func (s *Service) Get(ctx context.Context, project int64, ref string) (Dataset, error) {
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil && ref == strconv.FormatInt(id, 10) && id > 0 {
		return datasetByID(ctx, s.db.Read(), project, id)
	}
	if checkName(ref) != nil { // which no engine need be asked about
		return Dataset{}, noDataset(ref)
	}
	return datasetByName(ctx, s.db.Read(), project, ref)
}

// List returns a page of the project's datasets, newest first.
func (s *Service) List(ctx context.Context, project int64, f Filter) ([]Dataset, error) {
	return datasets(ctx, s.db.Read(), project, f)
}

// AddSource adds a source to a dataset, for preparations that begin from now
// on. The same URL at the same place again replaces its options, for all.
func (s *Service) AddSource(ctx context.Context, project, dataset int64, n NewSource) (src Source, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		d, err := datasetByID(ctx, tx, project, dataset)
		if err != nil {
			return err
		}
		src, err = s.addSource(ctx, tx, d, n)
		return err
	})
	return src, err
}

func (s *Service) addSource(ctx context.Context, tx *db.Tx, d Dataset, n NewSource) (Source, error) {
	if err := checkSource(n); err != nil {
		return Source{}, err
	}
	others, err := sourcesOf(ctx, tx, d.ID)
	if err != nil {
		return Source{}, err
	}
	for _, o := range others {
		if o.At != n.At && (below(o.At, n.At) || below(n.At, o.At)) {
			return Source{}, fault.New(fault.Conflict, "source at %q: overlaps the one at %q; each needs a directory of its own", n.At, o.At)
		}
	}
	var sealed []byte
	if len(n.Options) > 0 {
		text, err := json.Marshal(n.Options)
		if err != nil {
			return Source{}, fault.Wrap(err, "options of source %s", source.Spec{URL: n.URL})
		}
		if sealed, err = s.seal.Seal(text); err != nil {
			return Source{}, fault.Wrap(err, "encrypt the options of source %s", source.Spec{URL: n.URL})
		}
	}
	src := Source{Project: d.Project, Dataset: d.ID, At: n.At, URL: n.URL}
	if err := putSource(ctx, tx, &src, sealed, s.now()); err != nil {
		return Source{}, err
	}
	tx.OnCommit(func() { s.forget(src.ID) })
	return src, nil
}

// Sources returns the sources of a dataset.
func (s *Service) Sources(ctx context.Context, project, dataset int64) ([]Source, error) {
	if _, err := datasetByID(ctx, s.db.Read(), project, dataset); err != nil {
		return nil, err
	}
	rows, err := sourcesOf(ctx, s.db.Read(), dataset)
	return mapped(rows, sourceRow.source), err
}

// below reports whether a path is a directory or in it; everything is in "".
func below(p, dir string) bool {
	return dir == "" || p == dir || len(p) > len(dir) && p[:len(dir)] == dir && p[len(dir)] == '/'
}

func checkSource(n NewSource) error {
	shown := source.Spec{URL: n.URL}
	switch {
	case n.URL == "" || len(n.URL) > maxURL || !utf8.ValidString(n.URL):
		return fault.New(fault.Invalid, "source %.200s: must be 1 to %d bytes of text: a path, s3:bucket/prefix, https://…", shown, maxURL)
	case !remote(n.URL) && !filepath.IsAbs(n.URL):
		return fault.New(fault.Invalid, "source %.200s: a local path must be absolute", shown)
	case n.At != "" && (!utf8.ValidString(n.At) || len(n.At) > maxURL || path.Clean("/"+n.At) != "/"+n.At):
		return fault.New(fault.Invalid, "source %.200s: its directory %.200q must be a relative path like \"photos/2024\"", shown, n.At)
	}
	return source.Spec{URL: n.URL, Options: n.Options}.Check()
}
