package retrieval

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// Pieces says where bytes lie; piece.Service does.
type Pieces interface {
	Plan(ctx context.Context, id int64) (piece.Plan, error)
	Locate(ctx context.Context, pieceCID string, c cid.Cid) (off, n int64, err error)
}

// Deals says who holds a piece of a project: the actors (f0…) of the providers
// with an active deal about it. The deals know.
type Deals interface {
	Holders(ctx context.Context, project, piece int64) (actors []string, err error)
}

// Providers says how a provider is reached and remembers what it did. The
// provider index does.
type Providers interface {
	// Endpoint returns the base URL of a provider's retrievals, "" when it is
	// known to have none; NotFound for a provider that is not known.
	Endpoint(ctx context.Context, actor string) (url string, err error)
	// Observe keeps an outcome in the transaction of the attempt's end.
	Observe(ctx context.Context, tx *db.Tx, actor string, o Outcome) error
}

// Service is the only way to fetch from providers.
type Service struct {
	db        *db.DB
	pieces    Pieces
	deals     Deals
	providers Providers
	http      *http.Client
	clock     func() time.Time
	log       *slog.Logger
	settings  Settings
}

// New makes the service. The client's transport decides which addresses may be
// reached; its own redirect rule is replaced.
func New(d *db.DB, pieces Pieces, deals Deals, providers Providers, client *http.Client, clock func() time.Time, log *slog.Logger, s Settings) *Service {
	svc := &Service{db: d, pieces: pieces, deals: deals, providers: providers, clock: clock, log: log, settings: s.withDefaults()}
	svc.http = &http.Client{Transport: client.Transport, CheckRedirect: svc.redirect}
	return svc
}

// redirect bounds the way to the bytes, and keeps it HTTP.
func (s *Service) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > max(0, s.settings.Redirects) {
		return fault.New(fault.Unavailable, "more than %d redirects", max(0, s.settings.Redirects))
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return fault.New(fault.Unavailable, "redirected to %q, which is not HTTP", req.URL.Scheme)
	}
	return nil
}

// List returns a page of the project's attempts, newest first.
func (s *Service) List(ctx context.Context, project int64, f Filter) ([]Retrieval, error) {
	return attempts(ctx, s.db.Read(), project, f, db.Now(s.clock()))
}

// Fetch hands the DAG below the root to visit: each block once, verified, depth
// first from the root. When it returns without an error the DAG was complete.
// The attempt returned is the last one. visit's own error ends the fetch and
// comes back unchanged; while visit works, no clock of ours runs against the
// provider.
//
// Memory is one block, the links that are still to come on the way down (about
// 40 bytes each, at most four million) and about 100 bytes for each block seen.
func (s *Service) Fetch(ctx context.Context, req Request, visit func(blocks.Block) error) (Retrieval, error) {
	return s.fetch(ctx, req, visit)
}
