package api

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/firth-project/firth/client"
)

// catchAll is the pattern of what no route takes.
const catchAll = "/v1/"

const description = "Content-addressed storage, kept as verified copies on Filecoin.\n\n" +
	"Lists are newest first; `next` is the value of `before` that continues one. Errors are problem documents (RFC 9457) with " +
	"a `kind` to act on and a `request_id` to find in the log. Prices are attoFIL per GiB and epoch, sizes are bytes, times are UTC."

// tags are the groups of operations, in the order data moves.
func tags() []*huma.Tag {
	return []*huma.Tag{
		{Name: "content", Description: "Files and trees of a project"},
		{Name: "bucket", Description: "What gathers contents until they become pieces"},
		{Name: "piece", Description: "What deals are about: a CAR with its commitment"},
		{Name: "dataset", Description: "Sources that become pieces in place"},
		{Name: "policy", Description: "The replication that is wanted"},
		{Name: "deal", Description: "One agreement about one piece with one provider"},
		{Name: "provider", Description: "Storage providers that are known, and what was seen of them"},
		{Name: "retrieval", Description: "Attempts to get bytes back from providers"},
		{Name: "event", Description: "What happens, as it happens"},
		{Name: "token", Description: "Credentials of a project"},
		{Name: "operation", Description: "Jobs, processes and health of the node"},
	}
}

//go:embed page
var pages embed.FS

// describe finishes the document and serves it, and takes every path that no
// route takes. Afterwards no route may be added. A document that does not encode
// is a programmer's error and panics.
func (d *door) describe() {
	doc := d.api.OpenAPI()
	// What is streamed is described here and not where it is registered: huma
	// reads a body it knows the schema of into memory.
	describeUpload(doc)
	describeStreams(doc)
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} {
		delete(doc.Components.Schemas.Map(), unused)
	}
	asJSON, err := json.Marshal(doc)
	if err != nil {
		panic("api: the document does not encode: " + err.Error())
	}
	asYAML, err := doc.YAML()
	if err != nil {
		panic("api: the document does not encode: " + err.Error())
	}
	d.mux.HandleFunc("GET /v1/openapi.json", fixed("application/openapi+json", asJSON))
	d.mux.HandleFunc("GET /v1/openapi.yaml", fixed("application/openapi+yaml", asYAML))
	for path, file := range map[string]struct{ name, media string }{
		"/v1/docs":          {"page/docs.html", "text/html; charset=utf-8"},
		"/v1/docs/docs.js":  {"page/docs.js", "text/javascript; charset=utf-8"},
		"/v1/docs/docs.css": {"page/docs.css", "text/css; charset=utf-8"},
	} {
		text, err := fs.ReadFile(pages, file.name)
		if err != nil {
			panic("api: " + err.Error()) // embedded above
		}
		d.mux.HandleFunc("GET "+path, fixed(file.media, text))
	}
	d.mux.HandleFunc(catchAll, d.unknown)
}

// fixed serves bytes that never change. The page may load its own files and
// nothing else.
func fixed(media string, text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", media)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(text) // a reader who has gone needs no answer
	}
}

func describeUpload(doc *huma.OpenAPI) {
	text := &huma.Schema{Type: "string", Format: "binary"}
	part := &huma.Schema{Type: "array", Items: text, Description: "one part an entry; its filename is the path in the tree"}
	doc.Paths["/v1/contents"].Post.RequestBody = &huma.RequestBody{
		Required: true,
		Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: text},
			"multipart/form-data": {
				Schema:   &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{"file": part}},
				Encoding: map[string]*huma.Encoding{"file": {ContentType: "application/octet-stream, " + client.DirectoryType + ", " + client.SymlinkType}},
			},
		},
	}
}

func describeStreams(doc *huma.OpenAPI) {
	doc.Paths["/v1/contents/{ref}/car"].Get.Responses["200"] = &huma.Response{
		Description: "The CAR",
		Headers: map[string]*huma.Param{providerHeader: {
			Description: "a trailer: the provider the bytes came from", Schema: &huma.Schema{Type: "string"},
		}},
		Content: map[string]*huma.MediaType{"application/vnd.ipld.car": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	own := map[string]*huma.MediaType{"application/vnd.ipld.car": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
	doc.Paths["/v1/pieces/imports/{id}/car"].Get.Responses["200"] = &huma.Response{Description: "The file", Content: own}
	doc.Paths["/v1/pieces/imports/{id}/index"].Post.RequestBody = &huma.RequestBody{
		Required: true,
		Content:  map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	part := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
	parts := doc.Paths["/v1/pieces/imports/{id}/parts/{number}"]
	parts.Get.Responses["200"] = &huma.Response{Description: "The part", Content: part}
	parts.Post.RequestBody = &huma.RequestBody{Required: true, Content: part}
	schema := doc.Components.Schemas.Schema(reflect.TypeFor[client.Event](), true, "Event")
	doc.Paths["/v1/events"].Get.Responses["200"] = &huma.Response{
		Description: "Events; the schema is that of each one's data",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}
}
