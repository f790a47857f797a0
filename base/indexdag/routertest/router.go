package routertest

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/firth-project/firth/base/indexdag"
)

// Router is the server. Of two records of a name it keeps the one of the higher
// sequence.
type Router struct {
	mux http.ServeMux

	mu      sync.Mutex
	records map[string][]byte
	puts    int
	refuse  int
}

// New makes a router that has no records.
func New() *Router {
	r := &Router{records: map[string][]byte{}}
	r.mux.HandleFunc("PUT /routing/v1/ipns/{name}", r.put)
	r.mux.HandleFunc("GET /routing/v1/ipns/{name}", r.get)
	return r
}

// ServeHTTP implements http.Handler.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

// Refuse makes the next n puts be answered 500.
func (r *Router) Refuse(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = n
}

// Puts returns how many records came, refused ones included.
func (r *Router) Puts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.puts
}

// Record returns the record that is kept of a name, nil for none.
func (r *Router) Record(name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.records[name]
}

func (r *Router) put(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.puts++
	if r.refuse > 0 {
		r.refuse--
		http.Error(w, "delegate error: not now", http.StatusInternalServerError)
		return
	}
	if !strings.Contains(req.Header.Get("Content-Type"), indexdag.RecordType) {
		http.Error(w, "content type in 'Content-Type' header is missing or not supported", http.StatusNotAcceptable)
		return
	}
	name := req.PathValue("name")
	record, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	var is indexdag.Record
	if err == nil {
		is, err = indexdag.VerifyRecord(name, record)
	}
	if err != nil {
		http.Error(w, "provided record is invalid: "+err.Error(), http.StatusBadRequest)
		return
	}
	if was, err := indexdag.VerifyRecord(name, r.records[name]); err == nil && was.Sequence > is.Sequence {
		http.Error(w, "delegate error: an older record", http.StatusInternalServerError)
		return
	}
	r.records[name] = record
}

func (r *Router) get(w http.ResponseWriter, req *http.Request) {
	record := r.Record(req.PathValue("name"))
	if record == nil {
		http.Error(w, "delegate error: routing: not found", http.StatusOK) // so since IPIP-513
		return
	}
	w.Header().Set("Content-Type", indexdag.RecordType)
	_, _ = w.Write(record) // a reader who has gone needs no answer
}
