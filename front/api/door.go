package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/front"
)

// door is the routes and what they need.
type door struct {
	Services
	mux *http.ServeMux
	api huma.API
}

// newDoor makes a door without routes.
func newDoor(s Services) *door {
	d := &door{Services: s, mux: http.NewServeMux()}
	config := huma.DefaultConfig("Firth", s.Version)
	// The defaults put "$schema" into every answer and load their page from
	// elsewhere; the document has routes of ours.
	config.CreateHooks, config.DocsPath, config.SchemasPath, config.OpenAPIPath = nil, "", "", ""
	config.Transformers = []huma.Transformer{d.reshape}
	config.Info.Description = description
	config.Tags = tags()
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		tokenScheme: {Type: "http", Scheme: "bearer", Description: "A token's secret, `firth_…`. An operation lists the scope it needs; `admin` implies all."},
	}
	d.api = huma.NewAPI(config, routes{d.mux})
	return d
}

// tokenScheme names the way in, in the document.
const tokenScheme = "token"

// route describes one operation.
type route struct {
	id      string // operationId, camelCase
	method  string
	path    string
	tag     string
	summary string
	detail  string        // Markdown, may be empty
	scope   account.Scope // "" is public
	status  int           // of success; 0 is 200, or 204 without a body
}

// add registers a route. Who may not come in is answered before anything else
// of the request is looked at; the handler is given what the token allows.
func add[I, O any](d *door, r route, fn func(ctx context.Context, g account.Grant, in *I) (*O, error)) {
	op := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Tags: []string{r.tag},
		Summary: r.summary, Description: r.detail, DefaultStatus: r.status,
		Responses: map[string]*huma.Response{"default": d.problemResponse()},
	}
	if r.scope != "" {
		op.Security = []map[string][]string{{tokenScheme: {string(r.scope)}}}
		op.Middlewares = huma.Middlewares{admit(r.scope)}
	}
	huma.Register(d.api, op, func(ctx context.Context, in *I) (*O, error) {
		g, _ := front.GrantOf(ctx)
		out, err := fn(ctx, g, in)
		if err != nil {
			return nil, refusal(ctx, err)
		}
		return out, nil
	})
}

// admit lets requests pass whose token has the scope.
func admit(scope account.Scope) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if _, err := front.Require(ctx.Context(), scope); err != nil {
			r, w := humago.Unwrap(ctx)
			front.WriteProblem(w, r, err)
			return
		}
		next(ctx)
	}
}

// routes puts operations on a mux.
type routes struct{ *http.ServeMux }

func (m routes) Handle(op *huma.Operation, serve func(huma.Context)) {
	m.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
		serve(exchange{humago.NewContext(op, r, w)})
	})
}

// exchange is a request and its answer. Input that is wrong is answered 400
// whether it could not be parsed or was not allowed, and the time limit on
// reading a body ends with the body: left on, it would end the request.
type exchange struct{ inner }

type inner = huma.Context

func (e exchange) Unwrap() huma.Context { return e.inner }

func (e exchange) SetStatus(code int) { e.inner.SetStatus(statusOf(code)) }

func (e exchange) BodyReader() io.Reader {
	body, ok := e.inner.BodyReader().(io.ReadCloser)
	if !ok {
		return e.inner.BodyReader()
	}
	return timed{body, e}
}

type timed struct {
	io.ReadCloser
	of exchange
}

func (t timed) Close() error {
	_ = t.of.SetReadDeadline(time.Time{}) // a test's recorder has none
	return t.ReadCloser.Close()
}

// Exchange gives an input the request itself. It is for what is streamed.
type Exchange struct {
	request *http.Request
	answer  http.ResponseWriter
}

// Resolve implements huma.Resolver.
func (e *Exchange) Resolve(ctx huma.Context) []error {
	e.request, e.answer = humago.Unwrap(ctx)
	return nil
}

// Paging is how all lists are cut.
type Paging struct {
	Limit  int   `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"things a page"`
	Before int64 `query:"before" minimum:"1" doc:"go on below this: the next of the page before"`
}

// body is an answer's body.
type body[T any] struct{ Body T }

// page is an answer that is a list.
type page[T any] struct{ Body client.Page[T] }

// pageOf makes a page of rows; id is what the next page goes on below.
func pageOf[R, T any](rows []R, limit int, wire func(R) T, id func(R) int64) *page[T] {
	p := whole(rows, wire)
	if len(rows) > 0 && len(rows) >= limit {
		p.Body.Next = strconv.FormatInt(id(rows[len(rows)-1]), 10)
	}
	return p
}

// whole makes the one page of a list.
func whole[R, T any](rows []R, wire func(R) T) *page[T] {
	p := &page[T]{Body: client.Page[T]{Items: make([]T, len(rows))}}
	for i, r := range rows {
		p.Body.Items[i] = wire(r)
	}
	return p
}

// none is an answer without a body.
type none struct{}

// empty is the input of routes that take nothing.
type empty struct{}
