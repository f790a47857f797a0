package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Kind is what went wrong in the one sense that callers act on.
type Kind uint8

// The kinds. The zero value is Internal, so an unclassified error is a bug of
// ours until somebody says otherwise.
const (
	Internal    Kind = iota // our own mistake or a broken invariant
	Invalid                 // the input can never succeed as it is
	NotFound                // the named thing does not exist
	Conflict                // the thing is in another state than the caller assumed
	Forbidden               // the caller may not do this
	Exhausted               // a limit, quota or disk is full
	Unavailable             // somebody else is down, slow or gone; try again
)

// meaning is one row of the tables that map a kind to the outside.
type meaning struct {
	name   string
	status int // HTTP, RFC 9110
	exit   int // process exit code; 2 is left to usage errors of the shell's convention
	retry  bool
}

var meanings = [...]meaning{
	Internal:    {"internal", http.StatusInternalServerError, 1, true},
	Invalid:     {"invalid", http.StatusBadRequest, 2, false},
	NotFound:    {"not_found", http.StatusNotFound, 3, false},
	Conflict:    {"conflict", http.StatusConflict, 4, true},
	Forbidden:   {"forbidden", http.StatusForbidden, 5, false},
	Exhausted:   {"exhausted", http.StatusInsufficientStorage, 6, true},
	Unavailable: {"unavailable", http.StatusServiceUnavailable, 7, true},
}

// String returns the kind's name as it appears in JSON and logs.
func (k Kind) String() string { return k.meaning().name }

// Status returns the HTTP status code a door answers with.
func (k Kind) Status() int { return k.meaning().status }

// ExitCode returns the exit code of a command that ended with this kind.
func (k Kind) ExitCode() int { return k.meaning().exit }

// Retry reports whether the same work may succeed later without anyone
// changing its input. Jobs that fail with another kind end at once.
func (k Kind) Retry() bool { return k.meaning().retry }

func (k Kind) meaning() meaning {
	if int(k) >= len(meanings) {
		k = Internal
	}
	return meanings[k]
}

// KindNamed is the inverse of Kind.String; Internal for a name that is none.
func KindNamed(name string) Kind {
	for k, m := range meanings {
		if m.name == name {
			return Kind(k)
		}
	}
	return Internal
}

// KindOfStatus is the inverse of Kind.Status for clients of an HTTP door: it
// returns the kind that a response status stands for, Internal when none does.
func KindOfStatus(status int) Kind {
	switch status {
	case http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusMethodNotAllowed,
		http.StatusUnsupportedMediaType, http.StatusNotAcceptable, http.StatusRequestedRangeNotSatisfiable:
		return Invalid
	case http.StatusUnauthorized:
		return Forbidden
	case http.StatusGone:
		return NotFound
	case http.StatusPreconditionFailed:
		return Conflict
	case http.StatusTooManyRequests:
		return Exhausted
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return Unavailable
	}
	for k, m := range meanings {
		if m.status == status {
			return Kind(k)
		}
	}
	return Internal
}

// Error is an error of a known kind.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error that was classified.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of a kind. The format is fmt.Errorf's, %w included. The
// text names the thing, the limit it met and, where there is one, the remedy.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Mark classifies an error made elsewhere. A nil error stays nil.
func Mark(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Err: err}
}

// Wrap prefixes an error with the operation and its operand ("pack piece 7"),
// keeping its kind. A nil error stays nil, so it can end a function.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

// KindOf returns the kind of the outermost classified error in err's chain. A
// cancelled or timed-out context is Unavailable; anything else unclassified is
// Internal. KindOf(nil) is Internal and should not be asked.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// Is reports whether err is an error of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
