package gateway

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	boxo "github.com/ipfs/boxo/gateway"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front"
)

// Who may read.
const (
	AccessToken  = "token"  // whoever shows a token, or a piece link
	AccessPublic = "public" // whoever reaches the address
)

// maxRequests is how many answers of /ipfs are under way at a time.
const maxRequests = 256

// Pieces opens pieces; piece.Service does.
type Pieces interface {
	Find(ctx context.Context, ref string) (piece.Piece, error)
	Open(ctx context.Context, ref string) (*piece.Reader, error)
	OpenCached(p piece.Piece) (f *os.File, ok bool)
}

// Config is what the door needs.
type Config struct {
	Blocks blockstore.Blockstore
	Pieces Pieces
	Access string // AccessToken or AccessPublic
	Secret []byte // of piece links
	Clock  func() time.Time
	Log    *slog.Logger
}

type door struct {
	Config
	ipfs http.Handler
}

// New makes the door. It stands behind a front.Doorman.
func New(c Config) (http.Handler, error) {
	if c.Access != AccessToken && c.Access != AccessPublic {
		return nil, fault.New(fault.Invalid, "gateway access %q: is neither %s nor %s", c.Access, AccessToken, AccessPublic)
	}
	backend, err := boxo.NewBlocksBackend(blockservice.New(blockstore.NewIdStore(c.Blocks), offline.Exchange(c.Blocks)))
	if err != nil {
		return nil, fault.Wrap(err, "make the gateway")
	}
	d := &door{Config: c}
	d.ipfs = boxo.NewHandler(boxo.Config{
		DeserializedResponses: true,
		NoDNSLink:             true,
		MaxConcurrentRequests: maxRequests,
		MetricsRegistry:       prometheus.NewRegistry(), // several nodes may live in one process
	}, backend)
	mux := http.NewServeMux()
	mux.HandleFunc("/piece/{cid}", d.servePiece)
	mux.HandleFunc("/ipfs/", d.serveIPFS)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		front.WriteProblem(w, r, fault.New(fault.NotFound, "%s: nothing is here; contents are at /ipfs/CID, pieces at /piece/CID, the API at /v1/docs", r.URL.Path))
	})
	return mux, nil
}

func (d *door) serveIPFS(w http.ResponseWriter, r *http.Request) {
	if d.Access != AccessPublic {
		if _, err := front.Require(r.Context(), account.ReadContent); err != nil {
			front.WriteProblem(w, r, err)
			return
		}
	}
	d.ipfs.ServeHTTP(w, r)
}

// servePiece answers GET and HEAD of /piece/{v1|v2}[.car], with ranges.
func (d *door) servePiece(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := d.send(w, r); err != nil {
		front.WriteProblem(w, r, err)
	}
}

// send streams a piece. An error it returns came before the first byte; a later
// one breaks the connection, so that a short answer never looks whole.
func (d *door) send(w http.ResponseWriter, r *http.Request) error {
	p, err := d.Pieces.Find(r.Context(), strings.TrimSuffix(r.PathValue("cid"), ".car"))
	if denied := d.mayRead(r, p.CID); denied != nil {
		return denied // before telling a stranger what is here
	}
	if err != nil {
		return err
	}
	body, closeBody, err := d.open(r.Context(), p)
	if err != nil {
		return err
	}
	defer closeBody()
	h := w.Header()
	h.Set("Content-Type", "application/vnd.ipld.car; version=1")
	h.Set("Content-Disposition", `attachment; filename="`+p.CID+`.car"`)
	h.Set("ETag", `"`+p.CID+`"`)
	h.Set("Cache-Control", "public, max-age=29030400, immutable")
	http.ServeContent(w, r, "", time.Time{}, body)
	if body, ok := body.(*watched); ok && body.err != nil {
		front.Note(r.Context(), body.err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// open returns the bytes of a piece: the file they are cached in, or the view.
func (d *door) open(ctx context.Context, p piece.Piece) (io.ReadSeeker, func(), error) {
	if f, ok := d.Pieces.OpenCached(p); ok {
		return f, func() { _ = f.Close() }, nil
	}
	r, err := d.Pieces.Open(ctx, p.CID)
	if err != nil {
		return nil, nil, err
	}
	return &watched{ReadSeeker: r}, func() { _ = r.Close() }, nil
}

// watched remembers why reading broke off: http.ServeContent does not say.
type watched struct {
	io.ReadSeeker
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// mayRead decides about one piece; pieceCID is "" for one that is not here.
func (d *door) mayRead(r *http.Request, pieceCID string) error {
	if d.Access == AccessPublic {
		return nil
	}
	_, err := front.Require(r.Context(), account.ReadContent)
	if err == nil {
		return nil
	}
	if _, known := front.GrantOf(r.Context()); known || !strings.Contains(r.Header.Get("Authorization"), linkPrefix) {
		return err
	}
	return checkLink(d.Secret, r.Header.Get("Authorization"), pieceCID, d.Clock())
}
