package gateway

import (
	"io"
	"net/http"
	"os"

	"github.com/firth-project/firth/front"
)

// answer holds the head of an answer back until the piece's first bytes are
// there: a source that was edited or is gone is told by a status and in words,
// where there are still words to be had.
type answer struct {
	http.ResponseWriter
	source *stream
	head   bool   // the request was for the head alone
	status int    // held back; 0 if nothing is
	early  []byte // what stands before the first part of several
}

func (a *answer) WriteHeader(status int) {
	if a.head || status != http.StatusOK && status != http.StatusPartialContent {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.status = status
}

// send lets what was held back go.
func (a *answer) send() error {
	if a.status == 0 {
		return nil
	}
	a.ResponseWriter.WriteHeader(a.status)
	a.status = 0
	early := a.early
	a.early = nil
	if len(early) == 0 {
		return nil
	}
	_, err := a.ResponseWriter.Write(early)
	return err
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status != 0 && !a.source.begun.Load() {
		a.early = append(a.early, b...) // the head of a part: a few lines
		return len(b), nil
	}
	if err := a.send(); err != nil {
		return 0, err
	}
	return a.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom, which io.CopyN finds: a view sends itself
// from the memory it was hashed in, a file goes on to the pacer.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	limited, _ := r.(*io.LimitedReader)
	if limited == nil || limited.R != io.Reader(a.source) {
		return io.CopyBuffer(struct{ io.Writer }{a}, r, make([]byte, 32<<10)) // several parts
	}
	if _, isFile := a.source.ReadSeeker.(*os.File); isFile {
		if err := a.send(); err != nil {
			return 0, err
		}
		return io.Copy(a.ResponseWriter, r)
	}
	n, err := a.source.CopyN(a, limited.N)
	limited.N -= n
	return n, err
}

// Unwrap is http.ResponseController's way to the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// end tells what went wrong with the source, as long as it can be told;
// otherwise the connection breaks, for an answer that ends early must not look
// whole.
func (a *answer) end(r *http.Request, d *door, pieceCID string) {
	err := a.source.failure()
	switch {
	case r.Context().Err() != nil:
		return
	case err == nil:
		_ = a.send() // the client's error
	case a.status != 0:
		h := a.Header()
		for _, stale := range []string{"Content-Range", "Content-Disposition", "Accept-Ranges"} {
			h.Del(stale)
		}
		front.WriteProblem(a.ResponseWriter, r, err)
	default:
		front.Note(r.Context(), err)
		d.log.Error("piece broke off", "request", front.RequestID(r.Context()), "piece", pieceCID, "err", err)
		panic(http.ErrAbortHandler) // net/http breaks the connection by it, and nothing else can
	}
}
