package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	blockstore "github.com/ipfs/boxo/blockstore"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front"
)

// Who may read.
const (
	AccessToken  = "token"  // whoever shows a token with content:read, or a piece link for its piece
	AccessPublic = "public" // anyone who reaches the address
)

// Pieces opens the CARs of pieces; piece.Service does. Refs are piece CIDs of
// either version. Open's reader is verified bytes and ends with ctx.
type Pieces interface {
	Find(ctx context.Context, ref string) (piece.Piece, error)
	Open(ctx context.Context, ref string) (*piece.Reader, error)
	OpenCached(p piece.Piece) (f *os.File, ok bool)
	OpenStored(ctx context.Context, p piece.Piece) (car piece.CAR, ok bool)
}

// Config is what the gateway serves, and to whom. All of it is needed but
// PieceRate.
type Config struct {
	Blocks  blockstore.Blockstore // of which only local blocks are served
	Pieces  Pieces
	Names   Names
	Doorman *front.Doorman
	Access  string // AccessToken or AccessPublic
	// PieceRate is how many bytes a second of pieces each client, by its address,
	// may read; 0 is without limit.
	PieceRate int64
	Secret    []byte // of the Links whose tokens open pieces
	Clock     func() time.Time
	Log       *slog.Logger
}

// door is the gateway with what its routes share.
type door struct {
	pieces Pieces
	names  Names
	clock  func() time.Time
	links  *Links
	limits *limits
	public bool
	log    *slog.Logger
}

// maxReaders is how many requests are answered at a time; each holds at most
// 4 MiB of a piece in memory, save the few that flow/piece lets have 16. The next one is
// told to come again.
const maxReaders = 256

// New makes the gateway's handler, doorman included.
func New(c Config) (http.Handler, error) {
	if c.Access != AccessToken && c.Access != AccessPublic {
		return nil, fault.New(fault.Invalid, "gateway access: %q is neither %s nor %s", c.Access, AccessToken, AccessPublic)
	}
	d := &door{
		pieces: c.Pieces, names: c.Names, clock: c.Clock, links: NewLinks(c.Secret, "", c.Clock), limits: newLimits(c.PieceRate),
		public: c.Access == AccessPublic, log: c.Log,
	}
	dags, err := serveDAGs(c.Blocks)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/ipfs/", d.mayRead(dags))
	mux.HandleFunc("/ipns/{name...}", d.serveRecord)
	mux.HandleFunc("/piece/{ref}", d.servePiece)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		front.WriteProblem(w, r, fault.New(fault.NotFound, "%s: this door serves /ipfs/{cid}, /piece/{cid} and /ipns/{name}", r.URL.Path))
	})
	return c.Doorman.Guard(paced(limited(maxReaders, d.cacheable(mux)))), nil
}

// mayRead lets those through who may read any content.
func (d *door) mayRead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := d.allowed(r.Context()); err != nil {
			front.WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (d *door) allowed(ctx context.Context) error {
	if d.public {
		return nil
	}
	_, err := front.Require(ctx, account.ReadContent)
	return err
}
