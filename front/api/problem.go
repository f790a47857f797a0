package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/front"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// problem is a problem document as huma takes errors.
type problem struct{ front.Problem }

func (p *problem) Error() string                { return p.Detail }
func (p *problem) GetStatus() int               { return p.Status }
func (p *problem) ContentType(string) string    { return problemType }
func (p *problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.Problem) }

// refusal is how a service's error is answered.
func refusal(ctx context.Context, err error) error {
	front.Note(ctx, err)
	return &problem{front.ProblemOf(err, front.RequestID(ctx))}
}

// statusOf makes 400 of what huma answers 422: to a caller both are input that
// can never succeed as it is.
func statusOf(code int) int {
	if code == http.StatusUnprocessableEntity {
		return http.StatusBadRequest
	}
	return code
}

// reshape makes problem documents of huma's own errors, which are about input.
func (d *door) reshape(ctx huma.Context, _ string, v any) (any, error) {
	var model *huma.ErrorModel
	err, ok := v.(error)
	if !ok || !errors.As(err, &model) {
		return v, nil
	}
	status := statusOf(model.Status)
	p := front.Problem{
		Title: http.StatusText(status), Status: status, Detail: model.Detail,
		Kind: fault.KindOfStatus(status).String(), RequestID: front.RequestID(ctx.Context()),
	}
	for _, e := range model.Errors {
		p.Errors = append(p.Errors, front.Field{Message: e.Message, Location: e.Location, Value: echo(e.Value)})
	}
	front.Note(ctx.Context(), err)
	return p, nil
}

// echo is what a problem repeats of bad input: nothing long.
func echo(v any) any {
	const most = 512 // bytes of JSON
	if text, err := json.Marshal(v); err != nil || len(text) > most {
		return nil
	}
	return v
}

// problemResponse describes every answer that is no success.
func (d *door) problemResponse() *huma.Response {
	schema := d.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[front.Problem](), true, "Problem")
	return &huma.Response{
		Description: "A problem: what was wrong, in words and in a kind",
		Content:     map[string]*huma.MediaType{problemType: {Schema: schema}},
	}
}

// unknown answers what no route takes: 405 where another method would do.
func (d *door) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := d.mux.Handler(probe); !slices.Contains([]string{"", catchAll}, pattern) {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		front.WriteProblem(w, r, fault.New(fault.NotFound, "%s: there is no such route; /v1/docs lists them", r.URL.Path))
		return
	}
	err := fault.New(fault.Invalid, "%s: takes %s, not %s", r.URL.Path, strings.Join(allowed, ", "), r.Method)
	p := front.ProblemOf(err, front.RequestID(r.Context()))
	p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	front.Note(r.Context(), err)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
