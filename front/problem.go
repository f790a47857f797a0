package front

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/firth-project/firth/base/fault"
)

// Problem is an RFC 9457 problem document with two members of ours: Kind, the
// fault's name, and RequestID, under which the log has more.
type Problem struct {
	Type      string  `json:"type,omitempty"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	Kind      string  `json:"kind"`
	RequestID string  `json:"request_id,omitempty"`
	Errors    []Field `json:"errors,omitempty"`
}

// Field is one thing that was wrong with one part of the input.
type Field struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"` // "body.copies", "query.limit"
	Value    any    `json:"value,omitempty"`
}

// unauthenticated marks an error that is answered 401 instead of 403: we do
// not know who is asking.
type unauthenticated struct{ error }

func (e unauthenticated) Unwrap() error { return e.error }

// tooMany marks an error that is answered 429.
type tooMany struct{ error }

func (e tooMany) Unwrap() error { return e.error }

// Status is the HTTP status an error is answered with.
func Status(err error) int {
	var unknown unauthenticated
	var many tooMany
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &unknown):
		return http.StatusUnauthorized
	case errors.As(err, &many):
		return http.StatusTooManyRequests
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	}
	return fault.KindOf(err).Status()
}

// ProblemOf describes an error for the outside. What is Internal is not
// explained to strangers: the request id leads to the log.
func ProblemOf(err error, requestID string) Problem {
	status, kind := Status(err), fault.KindOf(err)
	detail := err.Error()
	if kind == fault.Internal && status >= 500 {
		detail = "something broke on our side; the log has it under this request id"
	}
	return Problem{Title: http.StatusText(status), Status: status, Detail: detail, Kind: kind.String(), RequestID: requestID}
}

// WriteProblem answers a request with an error.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	note(r.Context(), err)
	p := ProblemOf(err, RequestID(r.Context()))
	h := w.Header()
	for _, stale := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified", "Cache-Control"} {
		h.Del(stale)
	}
	h.Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="firth"`)
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(p)
	}
}
