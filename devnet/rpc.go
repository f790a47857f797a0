package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/firth-project/firth/base/chain"
)

const (
	maxRequestBytes = 4 << 20 // a signed message is at most a few MiB of base64
	maxBatch        = 100     // requests in one HTTP body
)

// rpcServer is the ledger behind Lotus' JSON-RPC 2.0.
type rpcServer struct {
	ctx     context.Context
	log     *slog.Logger
	methods map[string]method
}

// method is either a call, with one answer, or a stream, which websockets alone
// can carry (go-jsonrpc's channels): it either refuses or returns what gives
// its values, which runs once the channel is announced.
type method struct {
	call   func(ctx context.Context, p params) (any, error)
	stream func(ctx context.Context, p params) (func(emit func(v any) error), error)
}

// newRPC serves a ledger as a Lotus node does: /rpc/v0 and /rpc/v1, by HTTP POST
// and by websocket with go-jsonrpc's channels. It takes what real clients send:
// ids of any kind, no params member, fewer or more parameters than a method
// has, [] or null for a tipset key, unknown members, any bearer token. State is
// answered as it is now, whatever tipset key was asked for. The websockets end
// with ctx.
func newRPC(ctx context.Context, l *Ledger, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &rpcServer{ctx: ctx, log: log, methods: map[string]method{}}
	for _, set := range []map[string]method{chainMethods(l), stateMethods(l), messageMethods(l), eventMethods(l)} {
		for name, m := range set {
			s.methods["Filecoin."+name] = m
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/rpc/v0", s)
	mux.Handle("/rpc/v1", s)
	return mux
}

// rpcRequest is a call as it comes; ID and Params stay as they were written.
type rpcRequest struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// notification reports whether no answer is wanted.
func (r rpcRequest) notification() bool { return len(r.ID) == 0 || string(r.ID) == "null" }

type rpcResponse struct {
	Jsonrpc string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result"`
}

type rpcFailure struct {
	Jsonrpc string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return e.Message }

func success(id json.RawMessage, result any) any {
	return rpcResponse{Jsonrpc: "2.0", ID: id, Result: result}
}

// failure gives an error of a method code 1, as go-jsonrpc does.
func failure(id json.RawMessage, err error) any {
	var e *rpcError
	if !errors.As(err, &e) {
		e = &rpcError{Code: chain.CodeMethodFailed, Message: err.Error()}
	}
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	return rpcFailure{Jsonrpc: "2.0", ID: id, Error: e}
}

func (s *rpcServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		s.serveSocket(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "JSON-RPC: POST, or a websocket", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		s.write(w, failure(nil, &rpcError{chain.CodeInvalidRequest, err.Error()}))
		return
	}
	if body = bytes.TrimSpace(body); len(body) > 0 && body[0] == '[' {
		s.serveBatch(w, r, body)
		return
	}
	var req rpcRequest
	if err := json.Unmarshal(body, &req); err != nil {
		s.write(w, failure(nil, &rpcError{chain.CodeParse, err.Error()}))
		return
	}
	answer := s.answer(r.Context(), req)
	if req.notification() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.write(w, answer)
}

func (s *rpcServer) serveBatch(w http.ResponseWriter, r *http.Request, body []byte) {
	var reqs []rpcRequest
	if err := json.Unmarshal(body, &reqs); err != nil {
		s.write(w, failure(nil, &rpcError{chain.CodeParse, err.Error()}))
		return
	}
	if len(reqs) == 0 || len(reqs) > maxBatch {
		s.write(w, failure(nil, &rpcError{chain.CodeInvalidRequest, "a batch has 1 to 100 requests"}))
		return
	}
	answers := []any{}
	for _, req := range reqs {
		if a := s.answer(r.Context(), req); !req.notification() {
			answers = append(answers, a)
		}
	}
	s.write(w, answers)
}

// answer runs a call over a transport without streams.
func (s *rpcServer) answer(ctx context.Context, req rpcRequest) any {
	m, ok := s.methods[req.Method]
	if !ok {
		return failure(req.ID, methodNotFound(req.Method))
	}
	if m.call == nil {
		return failure(req.ID, &rpcError{chain.CodeMethodNotFound, "method '" + req.Method + "' not supported in this mode (no out channel support)"})
	}
	return s.run(ctx, m, req)
}

func (s *rpcServer) run(ctx context.Context, m method, req rpcRequest) any {
	p, err := parseParams(req.Params)
	if err != nil {
		return failure(req.ID, err)
	}
	v, err := m.call(ctx, p)
	if err != nil {
		return failure(req.ID, err)
	}
	return success(req.ID, v)
}

func methodNotFound(name string) error {
	return &rpcError{chain.CodeMethodNotFound, "method '" + name + "' not found"}
}

// write answers 200 to errors as well: the envelope tells them apart, and not
// every client reads the body of another status.
func (s *rpcServer) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("rpc answer not delivered", "error", err)
	}
}

// params are a call's positional parameters.
type params []json.RawMessage

func parseParams(raw json.RawMessage) (params, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var p params
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, &rpcError{chain.CodeInvalidParams, "params: " + err.Error()}
	}
	return p, nil
}

// get decodes parameter i into v, which stays as it is when the parameter is
// missing or null.
func (p params) get(i int, v any) error {
	if i >= len(p) || string(p[i]) == "null" {
		return nil
	}
	if err := json.Unmarshal(p[i], v); err != nil {
		return &rpcError{chain.CodeInvalidParams, "parameter: " + err.Error()}
	}
	return nil
}

// call0, call1 and call2 make methods of functions with that many parameters
// that matter; what comes after, usually a tipset key, is not read.
func call0[R any](fn func(ctx context.Context) (R, error)) method {
	return method{call: func(ctx context.Context, _ params) (any, error) { return fn(ctx) }}
}

func call1[A, R any](fn func(ctx context.Context, a A) (R, error)) method {
	return method{call: func(ctx context.Context, p params) (any, error) {
		var a A
		if err := p.get(0, &a); err != nil {
			return nil, err
		}
		return fn(ctx, a)
	}}
}

func call2[A, B, R any](fn func(ctx context.Context, a A, b B) (R, error)) method {
	return method{call: func(ctx context.Context, p params) (any, error) {
		var a A
		var b B
		if err := errors.Join(p.get(0, &a), p.get(1, &b)); err != nil {
			return nil, err
		}
		return fn(ctx, a, b)
	}}
}

// fixed answers the same to whatever is asked.
func fixed[R any](v R) method {
	return method{call: func(context.Context, params) (any, error) { return v, nil }}
}
