package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/devnet"
)

type object = map[string]any

// still is a network that does nothing, for tests without deals.
var still = devnet.Config{Providers: 1, Epoch: -1}

// TestDocument holds the document to OpenAPI 3.1, and this package's tests to
// the document.
func TestDocument(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	res, text := h.call(http.MethodGet, "/v1/openapi.json", "", nil)
	h.equal(res.Header.Get("Content-Type"), "application/openapi+json")
	var doc object
	h.must(json.Unmarshal(text, &doc))
	v := &validator{t: t, doc: doc, ids: map[string]bool{}}
	v.document()

	var tested []string
	for _, op := range operations {
		tested = append(tested, op.id)
	}
	for id := range v.ids {
		if !slices.Contains(tested, id) {
			t.Errorf("operation %s has no test", id)
		}
	}
	for _, id := range tested {
		if !v.ids[id] {
			t.Errorf("operation %s is tested and not described", id)
		}
	}
	for _, word := range []string{"ErrorModel", "$schema", "ErrorDetail"} {
		if bytes.Contains(text, []byte(word)) {
			t.Errorf("the document speaks of %s", word)
		}
	}

	res, text = h.call(http.MethodGet, "/v1/openapi.yaml", "", nil)
	h.equal(res.Header.Get("Content-Type"), "application/openapi+yaml")
	var same object
	h.must(yaml.Unmarshal(text, &same))
	h.equal(len(same["paths"].(object)), len(doc["paths"].(object)))
}

// validator checks the structure of an OpenAPI 3.1 document.
type validator struct {
	t   *testing.T
	doc object
	ids map[string]bool
}

func (v *validator) fail(at, format string, args ...any) {
	v.t.Errorf("%s: "+format, append([]any{at}, args...)...)
}

func (v *validator) document() {
	if s, _ := v.doc["openapi"].(string); !strings.HasPrefix(s, "3.1.") {
		v.fail("openapi", "is %q", s)
	}
	info, _ := v.doc["info"].(object)
	if info["title"] == "" || info["version"] == "" || info["version"] == nil {
		v.fail("info", "%v", info)
	}
	v.refs("#", v.doc)
	tags := map[string]bool{}
	for _, tag := range v.doc["tags"].([]any) {
		tags[tag.(object)["name"].(string)] = true
	}
	for path, item := range v.doc["paths"].(object) {
		for method, op := range item.(object) {
			v.operation(path, method, op.(object), tags)
		}
	}
	components := v.doc["components"].(object)
	for name, s := range components["schemas"].(object) {
		if !regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(name) {
			v.fail(name, "is no component name")
		}
		v.schema("schemas/"+name, s)
	}
}

// refs resolves every reference.
func (v *validator) refs(at string, node any) {
	switch n := node.(type) {
	case object:
		if ref, ok := n["$ref"].(string); ok {
			var target any = v.doc
			for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				inner, _ := target.(object)
				target = inner[strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")]
			}
			if target == nil || !strings.HasPrefix(ref, "#/") {
				v.fail(at, "reference %q leads nowhere", ref)
			}
		}
		for key, value := range n {
			v.refs(at+"/"+key, value)
		}
	case []any:
		for i, value := range n {
			v.refs(at+"/"+strconv.Itoa(i), value)
		}
	}
}

var braces = regexp.MustCompile(`\{([^}]+)\}`)

func (v *validator) operation(path, method string, op object, tags map[string]bool) {
	at := method + " " + path
	if !slices.Contains([]string{"get", "post", "patch", "delete"}, method) {
		v.fail(at, "unexpected method")
	}
	id, _ := op["operationId"].(string)
	if id == "" || v.ids[id] {
		v.fail(at, "operationId %q is missing or taken", id)
	}
	v.ids[id] = true
	if op["summary"] == nil {
		v.fail(at, "no summary")
	}
	for _, tag := range op["tags"].([]any) {
		if !tags[tag.(string)] {
			v.fail(at, "tag %v is not described", tag)
		}
	}
	v.security(at, op)
	v.parameters(at, path, op)
	if body, ok := op["requestBody"].(object); ok {
		v.content(at+" body", body["content"])
	}
	v.responses(at, op)
}

func (v *validator) security(at string, op object) {
	if at == "get /v1/health" {
		if op["security"] != nil {
			v.fail(at, "is public")
		}
		return
	}
	list, _ := op["security"].([]any)
	if len(list) != 1 || len(list[0].(object)["token"].([]any)) != 1 {
		v.fail(at, "security %v", op["security"])
	}
	schemes := v.doc["components"].(object)["securitySchemes"].(object)
	if schemes["token"].(object)["type"] != "http" {
		v.fail(at, "scheme %v", schemes)
	}
}

func (v *validator) parameters(at, path string, op object) {
	inPath, seen := map[string]bool{}, map[string]bool{}
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		p := p.(object)
		name, in := fmt.Sprint(p["name"]), fmt.Sprint(p["in"])
		if seen[in+name] || !slices.Contains([]string{"path", "query", "header"}, in) {
			v.fail(at, "parameter %s in %s", name, in)
		}
		seen[in+name] = true
		if p["schema"] == nil {
			v.fail(at, "parameter %s has no schema", name)
		}
		v.schema(at+" parameter "+name, p["schema"])
		if in == "path" {
			inPath[name] = p["required"] == true
		}
	}
	for _, m := range braces.FindAllStringSubmatch(path, -1) {
		if !inPath[m[1]] {
			v.fail(at, "path parameter %s is not described as required", m[1])
		}
		delete(inPath, m[1])
	}
	if len(inPath) > 0 {
		v.fail(at, "parameters %v are not in the path", inPath)
	}
}

func (v *validator) responses(at string, op object) {
	good := 0
	responses, _ := op["responses"].(object)
	for status, r := range responses {
		r := r.(object)
		if !regexp.MustCompile(`^([1-5]\d\d|default)$`).MatchString(status) || r["description"] == nil || r["description"] == "" {
			v.fail(at, "response %s: %v", status, r)
		}
		if strings.HasPrefix(status, "2") {
			good++
			if status != "204" {
				v.content(at+" "+status, r["content"])
			}
		}
	}
	problem, _ := responses["default"].(object)
	content, _ := problem["content"].(object)
	if good != 1 || content["application/problem+json"] == nil {
		v.fail(at, "responses %v", responses)
	}
}

func (v *validator) content(at string, content any) {
	media, _ := content.(object)
	if len(media) == 0 {
		v.fail(at, "no content")
	}
	for name, m := range media {
		if !strings.Contains(name, "/") || m.(object)["schema"] == nil {
			v.fail(at, "media %q: %v", name, m)
		}
		v.schema(at+" "+name, m.(object)["schema"])
	}
}

var jsonTypes = []string{"string", "number", "integer", "boolean", "array", "object", "null"}

// schema checks a JSON Schema 2020-12 as far as ours go.
func (v *validator) schema(at string, node any) {
	s, ok := node.(object)
	if !ok {
		if _, is := node.(bool); !is {
			v.fail(at, "schema %v", node)
		}
		return
	}
	var types []any
	switch t := s["type"].(type) {
	case string:
		types = []any{t}
	case []any:
		types = t
	}
	for _, t := range types {
		if !slices.Contains(jsonTypes, fmt.Sprint(t)) {
			v.fail(at, "type %v", t)
		}
	}
	if s["nullable"] != nil {
		v.fail(at, "nullable is OpenAPI 3.0")
	}
	properties, _ := s["properties"].(object)
	required, _ := s["required"].([]any)
	for _, name := range required {
		if properties[name.(string)] == nil {
			v.fail(at, "requires %v, which it does not have", name)
		}
	}
	for name, p := range properties {
		v.schema(at+"."+name, p)
	}
	if slices.Contains(types, any("array")) {
		v.schema(at+"[]", s["items"])
	}
	if extra, ok := s["additionalProperties"]; ok {
		v.schema(at+".*", extra)
	}
}

// TestPage checks that the page stands on its own: no script, style or font of
// anybody else's, and nothing inline.
func TestPage(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	res, page := h.call(http.MethodGet, "/v1/docs", "", nil)
	h.equal(res.StatusCode, 200)
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
	if regexp.MustCompile(`<script>|<style|style=|onload|https?://`).Match(page) {
		t.Errorf("inline or foreign: %s", page)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllSubmatch(page, -1) {
		res, text := h.call(http.MethodGet, string(m[1]), "", nil)
		if res.StatusCode != 200 || len(text) == 0 {
			t.Errorf("%s: %d", m[1], res.StatusCode)
		}
		if bytes.Contains(text, []byte("innerHTML")) || regexp.MustCompile(`https?://`).Match(text) {
			t.Errorf("%s: markup from text, or a foreign address", m[1])
		}
	}
}

// TestUnknown answers what no route takes.
func TestUnknown(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	for path, want := range map[string]struct {
		method string
		status int
		allow  string
	}{
		"/v1/nothing":          {http.MethodGet, 404, ""},
		"/v1/":                 {http.MethodGet, 404, ""},
		"/v1/contents":         {http.MethodDelete, 405, "GET, HEAD, POST"},
		"/v1/buckets/1/close":  {http.MethodGet, 405, "POST"},
		"/v1/openapi.json":     {http.MethodPost, 405, "GET, HEAD"},
		"/v1/contents/1/other": {http.MethodGet, 404, ""},
	} {
		res, body := h.call(want.method, path, h.secret, nil)
		if res.StatusCode != want.status || res.Header.Get("Allow") != want.allow || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d, %v, %s", want.method, path, res.StatusCode, res.Header, body)
		}
		var p object
		h.must(json.Unmarshal(body, &p))
		h.equal(p["status"], want.status)
		h.equal(p["request_id"], res.Header.Get("X-Request-Id"))
	}
}

// call makes one request and reads the answer.
func (h *house) call(method, path, secret string, body io.Reader, headers ...string) (*http.Response, []byte) {
	h.Helper()
	req := got(http.NewRequestWithContext(h.Context(), method, h.url+path, body))(h.T)
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res := got(http.DefaultClient.Do(req))(h.T)
	defer res.Body.Close()
	return res, got(io.ReadAll(res.Body))(h.T)
}
