package front

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/account"
)

// Authenticator says what a token's secret allows; account.Service does.
// Every refusal is of kind Forbidden.
type Authenticator interface {
	Authenticate(ctx context.Context, secret string) (account.Grant, error)
}

// Doorman guards doors.
type Doorman struct {
	tokens Authenticator
	log    *slog.Logger
	panics atomic.Int64
}

// NewDoorman makes a doorman who asks tokens.
func NewDoorman(tokens Authenticator, log *slog.Logger) *Doorman {
	return &Doorman{tokens: tokens, log: log}
}

// Panics returns how many requests ended in a recovered panic.
func (d *Doorman) Panics() int64 { return d.panics.Load() }

// visit is what the doorman knows of one request. It is reached through the
// request's context, and written by the one goroutine that serves it.
type visit struct {
	id    string
	grant *account.Grant
	err   error
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// RequestID returns the id that the answer's X-Request-Id and the log carry.
func RequestID(ctx context.Context) string {
	if v := visitOf(ctx); v != nil {
		return v.id
	}
	return ""
}

// GrantOf returns what the request's token allows; ok is false for a request
// that showed none.
func GrantOf(ctx context.Context) (grant account.Grant, ok bool) {
	if v := visitOf(ctx); v != nil && v.grant != nil {
		return *v.grant, true
	}
	return account.Grant{}, false
}

// Require returns the request's grant if it covers the scope. A request
// without a valid token is answered 401, one without the scope 403.
func Require(ctx context.Context, scope account.Scope) (account.Grant, error) {
	grant, ok := GrantOf(ctx)
	if !ok {
		return account.Grant{}, unauthenticated{fault.New(fault.Forbidden,
			"this needs a token: send the header `Authorization: Bearer %s…`", account.SecretPrefix)}
	}
	if !grant.Allows(scope) {
		return account.Grant{}, fault.New(fault.Forbidden, "the token lacks the scope %q, it has %v", scope, grant.Scopes)
	}
	return grant, nil
}

// note keeps the error a request was answered with for the log line.
func note(ctx context.Context, err error) {
	if v := visitOf(ctx); v != nil {
		v.err = err
	}
}

// Note keeps an error that a door answers in a shape of its own, so that the
// request's log line has it.
func Note(ctx context.Context, err error) { note(ctx, err) }

// Guard gives every request an id, resolves its token, recovers its panic and
// logs its end. A token that is shown must be valid even where none is needed;
// secrets of other kinds (a piece link's) pass through unresolved.
func (d *Doorman) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if visitOf(r.Context()) != nil { // doors stand behind doors; one decision is enough
			next.ServeHTTP(w, r)
			return
		}
		began := time.Now()
		v := &visit{id: rand.Text()[:16]}
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
		w.Header().Set("X-Request-Id", v.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		out := &recorder{ResponseWriter: w}
		defer func() { d.close(out, r, v, began, recover()) }()

		if err := d.resolve(r, v); err != nil {
			WriteProblem(out, r, err)
			return
		}
		next.ServeHTTP(out, r)
	})
}

// resolve finds out who asks.
func (d *Doorman) resolve(r *http.Request, v *visit) error {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(secret, account.SecretPrefix) {
		return nil
	}
	grant, err := d.tokens.Authenticate(r.Context(), strings.TrimSpace(secret))
	switch {
	case fault.Is(err, fault.Forbidden):
		return unauthenticated{err}
	case err != nil:
		return fault.Wrap(err, "check the token")
	}
	v.grant = &grant
	return nil
}

// close ends a request: answers a panic if nothing was answered, and logs.
func (d *Doorman) close(w *recorder, r *http.Request, v *visit, began time.Time, panicked any) {
	if panicked != nil {
		if err, ok := panicked.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(panicked) // net/http's own way to break a connection off
		}
		d.panics.Add(1)
		v.err = fault.New(fault.Internal, "panic: %v", panicked)
		d.log.Error("request panicked", "request", v.id, "err", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		if w.status == 0 {
			WriteProblem(w, r, v.err)
		}
	}
	level, attrs := slog.LevelDebug, []any{
		"request", v.id, "method", r.Method, "path", r.URL.Path, "status", w.status, "bytes", w.bytes, "took", time.Since(began),
	}
	if v.err != nil {
		attrs = append(attrs, "err", v.err)
		// Who has gone broke its own request off: that is no error of ours, unless
		// something of ours broke too.
		left := r.Context().Err() != nil && !fault.Is(v.err, fault.Internal)
		if w.status >= http.StatusInternalServerError && !left {
			level = slog.LevelError
		}
	}
	d.log.Log(r.Context(), level, "request", attrs...)
}

// recorder remembers what was answered. Unwrap keeps Flush and deadlines
// reachable through http.ResponseController, ReadFrom keeps sendfile.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom, by which a file is sent by the system.
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

// Flush passes streamed answers on; http.Flusher is asked for by type.
func (w *recorder) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap is http.ResponseController's way to the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
