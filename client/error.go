package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// problemLimit bounds an error's body held in memory, in bytes.
const problemLimit = 1 << 20

// Kinds an Error can be of. They are the node's own seven.
const (
	KindInternal    = "internal"
	KindInvalid     = "invalid"
	KindNotFound    = "not_found"
	KindConflict    = "conflict"
	KindForbidden   = "forbidden"
	KindExhausted   = "exhausted"
	KindUnavailable = "unavailable"
)

// Error is an answer that is no success: a problem document (RFC 9457) with the
// kind of the failure and the id under which the node's log tells the rest.
type Error struct {
	Type      string       `json:"type,omitempty"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	Instance  string       `json:"instance,omitempty"`
	Kind      string       `json:"kind"`
	RequestID string       `json:"request_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
}

// FieldError says what is wrong with one part of a request.
type FieldError struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" doc:"where, such as body.copies"`
	Value    any    `json:"value,omitempty"`
}

// Error says what went wrong, as far as the node told.
func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	for _, f := range e.Errors {
		text += "; " + strings.TrimPrefix(f.Location+": ", ": ") + f.Message
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// KindOf returns the kind of the Error in err's chain, and "" when there is
// none: the node was not reached, or the failure is on this side.
func KindOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// readError makes an Error of an answer. An answer that is no problem document
// (a proxy's, say) is classified by its status.
func readError(res *http.Response) error {
	e := &Error{}
	body, err := io.ReadAll(io.LimitReader(res.Body, problemLimit))
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err == nil && strings.HasSuffix(media, "json") {
		if json.Unmarshal(body, e) != nil {
			e = &Error{}
		}
	}
	e.Status = res.StatusCode
	if e.Title == "" {
		e.Title = http.StatusText(res.StatusCode)
	}
	if e.Title == "" {
		e.Title = fmt.Sprintf("status %d", res.StatusCode)
	}
	if e.Kind == "" {
		e.Kind = kindOfStatus(res.StatusCode)
	}
	if e.RequestID == "" {
		e.RequestID = res.Header.Get("X-Request-Id")
	}
	return e
}

func kindOfStatus(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return KindForbidden
	case http.StatusNotFound, http.StatusGone:
		return KindNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return KindConflict
	case http.StatusTooManyRequests, http.StatusInsufficientStorage:
		return KindExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return KindUnavailable
	}
	if status >= 400 && status < 500 {
		return KindInvalid
	}
	return KindInternal
}
