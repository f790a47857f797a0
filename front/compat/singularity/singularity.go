package singularity

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front"
)

// door is what the routes need.
type door struct {
	data   *dataset.Service
	pieces *piece.Service
}

// Patterns are where the door is mounted.
func Patterns() []string {
	return []string{"/preparation", "/preparation/", "/preparations", "/generation/"}
}

// New makes the door. It has to stand behind the doorman.
func New(data *dataset.Service, pieces *piece.Service) http.Handler {
	d, mux := &door{data, pieces}, http.NewServeMux()
	route := func(pattern string, scope account.Scope, serve func(g account.Grant, r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer(w, r, func() (any, error) {
				g, err := front.Require(r.Context(), scope)
				if err != nil {
					return nil, err
				}
				return serve(g, r)
			})
		})
	}
	route("POST /preparation", account.WriteContent, d.create)
	route("POST /preparation/{id}", account.WriteContent, d.change)
	route("GET /preparations", account.ReadContent, d.list)
	route("GET /preparation/{id}", account.ReadContent, d.show)
	route("GET /generation/{id}", account.ReadContent, d.generation)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func() (any, error) {
			return nil, fault.New(fault.NotFound, "%s %s: no such route; there are POST /preparation, POST and GET /preparation/{id}, "+
				"GET /preparations and GET /generation/{id}", r.Method, r.URL.Path)
		})
	})
	return mux
}

// answer serves a request in the shapes of this door.
func answer(w http.ResponseWriter, r *http.Request, serve func() (any, error)) {
	out, err := serve()
	status := http.StatusOK
	if err != nil {
		front.Note(r.Context(), err)
		p := front.ProblemOf(err, front.RequestID(r.Context()))
		status, out = p.Status, map[string]string{"error": p.Detail}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="firth"`)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if list, ok := out.(*fileList); ok && err == nil {
		if err := list.writeTo(w); err != nil {
			front.Note(r.Context(), err)
			panic(http.ErrAbortHandler) // net/http's way to break the connection off: half a list must not look whole
		}
		return
	}
	_ = json.NewEncoder(w).Encode(out) // a reader who has gone needs no answer
}

// maxBody bounds a request, in bytes.
const maxBody = 1 << 20

func read(r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return fault.New(fault.Invalid, "request: %w", err)
	}
	err = json.Unmarshal(body, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return fault.New(fault.Invalid, "%s: must be a %s, not a %s", wrong.Field, wrong.Type, wrong.Value)
	case errors.As(err, &wrong):
		return fault.New(fault.Invalid, "request: must be an object, not a %s", wrong.Value)
	}
	return fault.New(fault.Invalid, "request: is no JSON: %w", err)
}

// newRequest is the body of POST /preparation.
type newRequest struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	DealSize string `json:"dealSize"`
	MinSize  string `json:"minSize"`
	MaxSize  string `json:"maxSize"`
}

func (d *door) create(g account.Grant, r *http.Request) (any, error) {
	var in newRequest
	if err := read(r, &in); err != nil {
		return nil, err
	}
	for field, value := range map[string]string{"name": in.Name, "path": in.Path, "dealSize": in.DealSize} {
		if value == "" {
			return nil, fault.New(fault.Invalid, "%s is missing", field)
		}
	}
	var rules dataset.Rules
	for _, size := range []struct {
		field, text string
		into        *int64
	}{{"dealSize", in.DealSize, &rules.PieceSize}, {"minSize", in.MinSize, &rules.ChunkMin}, {"maxSize", in.MaxSize, &rules.ChunkMax}} {
		if size.text == "" {
			continue
		}
		n, err := client.ParseSize(size.text)
		if err == nil && n == 0 && size.into == &rules.PieceSize {
			err = fault.New(fault.Invalid, "size %q: must be above zero", size.text)
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: %w", size.field, err)
		}
		*size.into = int64(n)
	}
	if err := admit(r.Context(), g, in.Path); err != nil {
		return nil, err
	}
	set, err := d.data.Create(r.Context(), g.Project, in.Name, rules, dataset.NewSource{URL: in.Path})
	if err != nil {
		return nil, err
	}
	if _, err := d.data.Start(r.Context(), g.Project, set.ID); err != nil {
		return nil, err
	}
	return map[string]string{"id": id(set.ID)}, nil
}

// admit refuses a path that the token may not have the node read.
func admit(ctx context.Context, g account.Grant, path string) error {
	spec := source.Spec{URL: path}
	if local, ok := spec.Local(); ok && !strings.HasPrefix(local, "/") {
		return fault.New(fault.Invalid, "path %q: must be absolute", path)
	}
	if g.Allows(account.Admin) {
		return nil
	}
	what, err := spec.Private(ctx)
	if err == nil && what != "" {
		err = fault.New(fault.Forbidden, "path: uses %s, which needs a token with the scope %q", what, account.Admin)
	}
	return err
}

func (d *door) change(g account.Grant, r *http.Request) (any, error) {
	var in struct {
		State string `json:"state"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	set, err := d.dataset(r.Context(), g, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p, err := d.latest(r.Context(), set)
	if err != nil {
		return nil, err
	}
	switch in.State {
	case "paused":
		_, err = d.data.Pause(r.Context(), g.Project, p.ID)
	case "active":
		_, err = d.data.Resume(r.Context(), g.Project, p.ID)
	case "removed":
		return map[string]string{"id": id(set.ID), "state": "removed"}, d.data.RemoveDataset(r.Context(), g.Project, set.ID, false)
	default:
		err = fault.New(fault.Invalid, "state %.40q: must be paused, active or removed", in.State)
	}
	if err != nil {
		return nil, err
	}
	return d.request(r.Context(), set)
}

// request is a preparation request as it is told.
type request struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	Path       string       `json:"path"`
	DealSize   string       `json:"dealSize"`
	MinSize    string       `json:"minSize"`
	MaxSize    string       `json:"maxSize"`
	Scanning   string       `json:"scanningStatus"`
	Completed  int64        `json:"generationCompleted"`
	Inprogress int64        `json:"generationInprogress"`
	Total      int64        `json:"generationTotal"`
	IndexCID   string       `json:"indexCid,omitempty"`
	Requests   []generation `json:"generationRequests,omitempty"`
}

// generation is a generation request as it is told.
type generation struct {
	ID        string `json:"id"`
	Index     int64  `json:"index"` // from 0
	WorkerID  string `json:"workerId"`
	Status    string `json:"status"`
	DataCID   string `json:"dataCid"`
	PieceCID  string `json:"pieceCid"` // version 1, which that service knows
	PieceSize int64  `json:"pieceSize"`
}

func (d *door) list(g account.Grant, r *http.Request) (any, error) {
	all := []request{}
	for f := (dataset.Filter{Limit: 1000}); ; {
		page, err := d.data.List(r.Context(), g.Project, f)
		if err != nil {
			return nil, err
		}
		for _, set := range page {
			one, err := d.request(r.Context(), set)
			if err != nil {
				return nil, err
			}
			all, f.Before = append(all, one), set.ID
		}
		if len(page) < f.Limit {
			return all, nil
		}
	}
}

func (d *door) show(g account.Grant, r *http.Request) (any, error) {
	set, err := d.dataset(r.Context(), g, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	out, err := d.request(r.Context(), set)
	if err != nil {
		return nil, err
	}
	p, err := d.latest(r.Context(), set)
	if fault.Is(err, fault.Conflict) { // never started
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for after := int64(0); ; {
		page, err := d.data.Chunks(r.Context(), g.Project, p.ID, after, 1000)
		if err != nil {
			return nil, err
		}
		for _, c := range page {
			one, err := d.chunk(r.Context(), c)
			if err != nil {
				return nil, err
			}
			out.Requests, after = append(out.Requests, one), c.Ordinal
		}
		if len(page) < 1000 {
			return out, nil
		}
	}
}

// dataset finds a dataset by the id that this door gave it.
func (d *door) dataset(ctx context.Context, g account.Grant, ref string) (dataset.Dataset, error) {
	if _, err := strconv.ParseInt(ref, 10, 64); err != nil {
		return dataset.Dataset{}, fault.New(fault.NotFound, "preparation %.40q: there is none", ref)
	}
	return d.data.Get(ctx, g.Project, ref)
}

func (d *door) latest(ctx context.Context, set dataset.Dataset) (dataset.Preparation, error) {
	rows, err := d.data.Preparations(ctx, set.Project, dataset.Filter{Dataset: set.ID, Limit: 1})
	if err == nil && len(rows) == 0 {
		err = fault.New(fault.Conflict, "preparation %d: was not started yet", set.ID)
	}
	if err != nil {
		return dataset.Preparation{}, err
	}
	return rows[0], nil
}

// request is a dataset in the words of this door.
func (d *door) request(ctx context.Context, set dataset.Dataset) (request, error) {
	sources, err := d.data.Sources(ctx, set.Project, set.ID)
	if err != nil {
		return request{}, err
	}
	out := request{ID: id(set.ID), Name: set.Name, DealSize: size(set.Rules.PieceSize), MinSize: size(set.Rules.ChunkMin), MaxSize: size(set.Rules.ChunkMax)}
	if len(sources) > 0 {
		out.Path = source.Spec{URL: sources[0].URL}.String()
	}
	p, err := d.latest(ctx, set)
	if fault.Is(err, fault.Conflict) {
		out.Scanning = "paused"
		return out, nil
	}
	if err != nil {
		return out, err
	}
	st, err := d.data.Status(ctx, set.Project, p.ID)
	if err != nil {
		return out, err
	}
	out.Scanning, out.IndexCID = scanning(p), p.IndexRoot
	out.Completed = st.Chunks[dataset.ChunkPacked].Chunks + st.Chunks[dataset.ChunkRemoved].Chunks
	out.Inprogress, out.Total = st.Chunks[dataset.ChunkPacking].Chunks, st.Total.Chunks
	return out, nil
}

// scanning is the state of a scan: active, paused, removed, completed, and one
// that the other service lacks: error.
func scanning(p dataset.Preparation) string {
	switch {
	case p.State == dataset.Removed:
		return "removed"
	case p.Stage != dataset.Scanning:
		return "completed"
	case p.State == dataset.Failed:
		return "error"
	}
	return string(p.State)
}

// statuses are the states of chunks in the words of this door.
func statuses(s dataset.ChunkState) string {
	switch s {
	case dataset.ChunkPacked:
		return "completed"
	case dataset.ChunkPaused, dataset.ChunkRemoved:
		return string(s)
	case dataset.ChunkFailed:
		return "error"
	}
	return "active"
}

func (d *door) chunk(ctx context.Context, c dataset.Chunk) (generation, error) {
	out := generation{ID: id(c.ID), Index: c.Ordinal - 1, WorkerID: c.Worker, Status: statuses(c.State)}
	if len(c.Pieces) == 0 {
		return out, nil
	}
	p, err := d.pieces.Get(ctx, c.Project, id(c.Pieces[0]))
	out.DataCID, out.PieceCID, out.PieceSize = p.Root, p.CIDv1, p.PaddedSize
	return out, err
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

// size is a size as it was given: "32 GiB"; "" for none.
func size(n int64) string {
	if n == 0 {
		return ""
	}
	text := client.Size(n).String()
	if at := strings.IndexAny(text, "KMGT"); at > 0 {
		return text[:at] + " " + text[at:]
	}
	return text
}
