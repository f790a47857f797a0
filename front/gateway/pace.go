package gateway

import (
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// patience is how long a reader may take nothing before the connection ends.
const patience = 2 * time.Minute

// paced ends answers nobody takes.
func paced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		// A server with a deadline of its own for writes is not what doors are
		// behind; a connection without deadlines has none to take back.
		defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
		next.ServeHTTP(&pacer{ResponseWriter: w, control: control}, r)
	})
}

type pacer struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (p *pacer) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(patience)) // see paced
	return p.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom, which io.CopyN finds: what knows how to
// send itself does, in steps that come back here, and a step of a file goes on
// to the connection, which has the system send it.
func (p *pacer) ReadFrom(r io.Reader) (int64, error) {
	limited, _ := r.(*io.LimitedReader)
	if limited != nil {
		switch from := limited.R.(type) {
		case *stream:
			n, err := from.CopyN(p, limited.N)
			limited.N -= n
			return n, err
		case *os.File:
			_ = p.control.SetWriteDeadline(time.Now().Add(patience)) // see paced
			return io.Copy(p.ResponseWriter, r)
		}
	}
	return io.Copy(struct{ io.Writer }{p}, r)
}

// Unwrap is http.ResponseController's way to the connection.
func (p *pacer) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// cacheable tells caches what may be kept by whom: bytes that took a token to
// read are not for a cache that others share.
func (d *door) cacheable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.public {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, ETag, X-Ipfs-Path, X-Ipfs-Roots")
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&private{ResponseWriter: w}, r)
	})
}

// private turns "public" of an answer's Cache-Control into "private".
type private struct {
	http.ResponseWriter
	begun bool
}

func (p *private) begin() {
	if p.begun {
		return
	}
	p.begun = true
	h := p.Header()
	h.Add("Vary", "Authorization")
	if c := h.Get("Cache-Control"); c != "" {
		h.Set("Cache-Control", strings.Replace(c, "public", "private", 1))
	}
}

func (p *private) WriteHeader(status int) {
	p.begin()
	p.ResponseWriter.WriteHeader(status)
}

func (p *private) Write(b []byte) (int, error) {
	p.begin()
	return p.ResponseWriter.Write(b)
}

// ReadFrom passes on what the pacer knows how to send.
func (p *private) ReadFrom(r io.Reader) (int64, error) {
	p.begin()
	return io.Copy(p.ResponseWriter, r)
}

// Unwrap is http.ResponseController's way to the connection.
func (p *private) Unwrap() http.ResponseWriter { return p.ResponseWriter }
