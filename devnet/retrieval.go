package devnet

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/firth-project/firth/base/fault"
)

const (
	maxRetrievals = 64 // requests a provider answers at a time
	maxRetrieval  = time.Hour
)

// retrievalHandler serves what a provider holds, with what its faults do to the
// bytes:
//
//	/piece/{cid}                 the CAR of a piece, CID v1 or v2, HEAD and Range
//	/ipfs/{cid}[/path]           trustless gateway: format=raw|car, dag-scope, entity-bytes
//	/routing/v1/providers/{cid}  who of the network has it, as an indexer would say
func (p *provider) retrievalHandler(routing http.Handler) (http.Handler, error) {
	backend, err := gateway.NewBlocksBackend(blockservice.New(
		blockstore.NewIdStore(p.held), offline.Exchange(p.held)))
	if err != nil {
		return nil, fault.Wrap(err, "make gateway")
	}
	trustless := gateway.NewHandler(gateway.Config{
		NoDNSLink:             true,
		DisableHTMLErrors:     true,
		RetrievalTimeout:      maxRetrieval,
		MaxRequestDuration:    maxRetrieval,
		MaxConcurrentRequests: maxRetrievals,
		MetricsRegistry:       prometheus.NewRegistry(), // not the process-wide one
	}, backend)
	mux := http.NewServeMux()
	mux.Handle("/routing/v1/providers/{cid}", routing)
	mux.Handle("GET /piece/{cid}", p.misbehave(http.HandlerFunc(p.servePiece)))
	mux.Handle("/ipfs/", p.misbehave(trustless))
	return mux, nil
}

func (p *provider) servePiece(w http.ResponseWriter, r *http.Request) {
	c, err := cid.Decode(strings.TrimSuffix(r.PathValue("cid"), ".car"))
	if err != nil {
		http.Error(w, "not a CID: "+err.Error(), http.StatusBadRequest)
		return
	}
	h, err := p.held.piece(c)
	if err != nil {
		http.Error(w, err.Error(), fault.KindOf(err).Status())
		return
	}
	file, err := os.Open(h.path)
	if err != nil {
		http.Error(w, "the piece has just been dropped", http.StatusNotFound)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/piece")
	w.Header().Set("ETag", `"`+h.cid.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(file, h.base, h.size))
}

// misbehave does to answers what the provider's faults ask for.
func (p *provider) misbehave(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := p.fault()
		if f.Has(WrongBytes) {
			w = &spoiler{ResponseWriter: w}
		}
		if f.Has(Slow) {
			pace := p.pace()
			w = &trickler{ResponseWriter: w, wait: func(n int) error { return pace(r.Context(), n) }}
		}
		next.ServeHTTP(w, r)
	})
}

// spoiler alters the last byte of every write of a good answer: headers and
// lengths stay right, contents are wrong.
type spoiler struct {
	http.ResponseWriter
	failed bool
}

func (s *spoiler) WriteHeader(status int) {
	s.failed = status >= 300
	s.ResponseWriter.WriteHeader(status)
}

func (s *spoiler) Write(b []byte) (int, error) {
	if s.failed || len(b) == 0 {
		return s.ResponseWriter.Write(b)
	}
	wrong := append([]byte(nil), b...)
	wrong[len(wrong)-1] ^= 0x55
	return s.ResponseWriter.Write(wrong)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *spoiler) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// trickler writes no faster than it is let.
type trickler struct {
	http.ResponseWriter
	wait func(n int) error
}

func (t *trickler) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), pullBuffer)]
		if err := t.wait(len(part)); err != nil {
			return n, err
		}
		m, err := t.ResponseWriter.Write(part)
		n += m
		if err != nil {
			return n, err
		}
		b = b[len(part):]
	}
	return n, nil
}

// Unwrap lets http.ResponseController reach the connection.
func (t *trickler) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// peerRecord is a record of the delegated routing API (IPIP-337, IPIP-417).
type peerRecord struct {
	Schema    string
	ID        string
	Addrs     []string
	Protocols []string
}

// routing answers /routing/v1/providers/{cid} for the providers that have it
// and announced it: one JSON object, or a line each when the client takes
// application/x-ndjson. Nobody is 404, as cid.contact has it.
func routing(providers func() []*provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := cid.Decode(r.PathValue("cid"))
		if err != nil {
			http.Error(w, "not a CID: "+err.Error(), http.StatusBadRequest)
			return
		}
		var found []peerRecord
		for _, p := range providers() {
			if p.held.announces(c) {
				found = append(found, p.record())
			}
		}
		if len(found) == 0 {
			http.Error(w, "no provider has announced "+c.String(), http.StatusNotFound)
			return
		}
		// An answer that breaks off is the reader's to notice: the status is out.
		if strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
			w.Header().Set("Content-Type", "application/x-ndjson")
			for _, record := range found {
				_ = json.NewEncoder(w).Encode(record)
			}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct{ Providers []peerRecord }{found})
	})
}

func (p *provider) record() peerRecord {
	at := p.doors.places()
	return peerRecord{
		Schema: "peer", ID: at.peerID,
		Addrs:     append([]string{at.webAddr.String()}, at.listen...),
		Protocols: []string{"transport-ipfs-gateway-http"},
	}
}
