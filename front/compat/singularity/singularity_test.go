package singularity_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front"
	"github.com/firth-project/firth/front/compat/singularity"
)

// letter seals nothing.
type letter struct{}

func (letter) Seal(plain []byte) ([]byte, error)  { return plain, nil }
func (letter) Open(sealed []byte) ([]byte, error) { return sealed, nil }

// house is the door with what is behind it.
type house struct {
	*testing.T
	url, admin, writer string
}

func build(t *testing.T) *house {
	quiet := slog.New(slog.DiscardHandler)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := dbtest.SQLite(t, event.Migrations, account.Migrations(), piece.Migrations(), dataset.Migrations())
	must(job.Migrate(t.Context(), d))
	blocks, err := block.Open(t.Context(), t.TempDir(), block.Options{})
	must(err)
	t.Cleanup(func() { blocks.Close() })
	blobs, err := disk.Open(t.TempDir())
	must(err)
	jobs, err := job.New(d, quiet, job.Options{Drain: time.Millisecond})
	must(err)
	pieces := piece.New(d, blocks, blobs, jobs, time.Now, rand.Reader, quiet, piece.Settings{})
	data := dataset.New(d, blobs, blocks, pieces, jobs, letter{}, time.Now, quiet, dataset.Settings{WorkDir: t.TempDir(), Worker: "here/1", Interval: 20 * time.Millisecond})
	pieces.ReadFrom(data)
	jobs.Handle(pieces.Handlers()...)
	jobs.Handle(data.Handlers()...)
	accounts := account.New(d, time.Now, rand.Reader)
	admin, _, err := accounts.Bootstrap(t.Context(), nil)
	must(err)
	_, writer, err := accounts.CreateToken(t.Context(), account.DefaultProject, "w", []account.Scope{account.ReadContent, account.WriteContent}, nil)
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = jobs.Run(ctx) })
	events := event.New(d, quiet)
	running.Go(func() { _ = events.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	server := httptest.NewServer(front.NewDoorman(accounts, quiet).Guard(singularity.New(data, pieces)))
	t.Cleanup(server.Close)
	return &house{t, server.URL, admin, writer}
}

// ask sends a request and decodes the answer.
func (h *house) ask(method, path, token, body string, status int) (answer any) {
	h.Helper()
	req, err := http.NewRequestWithContext(h.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if err := json.Unmarshal(text, &answer); err != nil || res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
		h.Errorf("%s %s: %d %s, want %d", method, path, res.StatusCode, text, status)
	}
	if o, _ := answer.(object); status >= 400 && (o["error"] == nil || o["error"] == "") {
		h.Errorf("%s %s: %s says no error", method, path, text)
	}
	return answer
}

type object = map[string]any

func (h *house) until(what string, so func() bool) {
	h.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); !so(); <-tick.C {
		if time.Now().After(deadline) {
			h.Fatalf("never: %s", what)
		}
	}
}

func (h *house) same(have any, want string) {
	h.Helper()
	text, err := json.Marshal(have)
	if err != nil {
		h.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		h.Fatal(err)
	}
	_ = json.Unmarshal(text, &a)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		h.Errorf("have %s\nwant %s", text, want)
	}
}

// TestPreparation speaks what that service's documentation shows.
func TestPreparation(t *testing.T) {
	h := build(t)
	dir := t.TempDir()
	for name, size := range map[string]int{"file1.mp4": 2_000_000, "file2.mp4": 5_000_000} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte(name), size/len(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := h.ask("POST", "/preparation", h.admin, fmt.Sprintf(`{
    "name": "dataset_name",
    "path": %q,
    "dealSize": "4 MiB",
    "minSize": "2 MiB",
    "maxSize": "3 MiB"
}`, dir), 200)
	h.same(made, `{"id": "1"}`)
	h.until("all is done", func() bool {
		p := h.ask("GET", "/preparation/1", h.admin, "", 200).(object)
		return p["scanningStatus"] == "completed" && p["generationCompleted"] == p["generationTotal"] && p["indexCid"] != nil
	})
	p := h.ask("GET", "/preparation/1", h.admin, "", 200).(object)
	requests := p["generationRequests"].([]any)
	delete(p, "generationRequests")
	index := p["indexCid"].(string)
	h.same(p, fmt.Sprintf(`{"id":"1","name":"dataset_name","path":%q,"dealSize":"4 MiB","minSize":"2 MiB","maxSize":"3 MiB","scanningStatus":"completed",
		"generationCompleted":%d,"generationInprogress":0,"generationTotal":%d,"indexCid":%q}`, dir, len(requests), len(requests), index))
	h.same(h.ask("GET", "/preparations", h.writer, "", 200), fmt.Sprintf(`[{"id":"1","name":"dataset_name","path":%q,"dealSize":"4 MiB","minSize":"2 MiB",
		"maxSize":"3 MiB","scanningStatus":"completed","generationCompleted":%d,"generationInprogress":0,"generationTotal":%d,"indexCid":%q}]`,
		dir, len(requests), len(requests), index))
	h.generations(requests, dir)
}

// generations follows every file through the chunks.
func (h *house) generations(requests []any, dir string) {
	h.Helper()
	if len(requests) < 2 {
		h.Fatalf("%d chunks", len(requests))
	}
	ends := map[string]float64{}
	for i, r := range requests {
		r := r.(object)
		if r["index"] != float64(i) || r["status"] != "completed" || r["workerId"] != "here/1" || !strings.HasPrefix(r["dataCid"].(string), "bafy") ||
			!strings.HasPrefix(r["pieceCid"].(string), "baga") || r["pieceSize"].(float64) > 4<<20 {
			h.Errorf("%v", r)
		}
		g := h.ask("GET", "/generation/"+r["id"].(string), h.admin, "", 200).(object)
		if g["name"] != "dataset_name" || g["path"] != dir || g["state"] != "completed" || g["pieceCid"] != r["pieceCid"] {
			h.Errorf("%v", g)
		}
		for _, f := range g["fileList"].([]any) {
			f := f.(object)
			start, end := f["start"].(float64), f["end"].(float64)
			if f["path"] != filepath.Join(dir, f["name"].(string)) {
				h.Errorf("%v", f)
			}
			if end == 0 { // whole
				end = f["size"].(float64)
			}
			if start != ends[f["name"].(string)] {
				h.Errorf("%v begins at %v, want %v", f["name"], start, ends[f["name"].(string)])
			}
			ends[f["name"].(string)] = end
		}
	}
	if ends["file1.mp4"] < 1_999_990 || ends["file2.mp4"] < 4_999_990 {
		h.Errorf("files end at %v", ends)
	}
}

func TestStatesAndErrors(t *testing.T) {
	h := build(t)
	body := func(path, size string) string {
		return fmt.Sprintf(`{"name": "n", "path": %q, "dealSize": %q}`, path, size)
	}
	h.ask("POST", "/preparation", "", body("/x", "32 GiB"), 401)
	h.ask("POST", "/preparation", h.writer, body("/x", "32 GiB"), 403)
	h.ask("POST", "/preparation", h.admin, body("x", "32 GiB"), 400)
	h.ask("POST", "/preparation", h.admin, body("/x", "3 GiB"), 400)
	h.ask("POST", "/preparation", h.admin, body("/x", "much"), 400)
	h.ask("POST", "/preparation", h.admin, `{"name": "n"}`, 400)
	h.ask("POST", "/preparation", h.admin, `{`, 400)
	for text, say := range map[string]string{
		`[]`: "request: must be an object", `{"name": "n", "path": "/x", "dealSize": 32}`: "dealSize: must be a string", `{`: "is no JSON",
		body("/x", "0"): "above zero", `{"name": "..", "path": "/x", "dealSize": "32 GiB"}`: "URLs",
	} {
		if o := h.ask("POST", "/preparation", h.admin, text, 400).(object); !strings.Contains(fmt.Sprint(o["error"]), say) {
			t.Errorf("%s: %v", text, o)
		}
	}
	h.ask("DELETE", "/preparation/1", h.admin, "", 404)
	h.ask("POST", "/preparation", h.admin, strings.Repeat(" ", 2<<20), 413)
	h.ask("GET", "/preparation/9", h.admin, "", 404)
	h.ask("GET", "/preparation/n", h.admin, "", 404)
	h.ask("GET", "/generation/9", h.admin, "", 404)
	h.ask("GET", "/generation/x", h.admin, "", 404)
	h.ask("GET", "/preparations", "", "", 401)
	h.ask("POST", "/preparation", h.admin, body(filepath.Join(t.TempDir(), "absent"), "32 GiB"), 200)
	h.ask("POST", "/preparation", h.admin, body("/x", "32 GiB"), 409)
	for _, state := range []string{"paused", "active", "paused"} {
		p := h.ask("POST", "/preparation/1", h.admin, fmt.Sprintf(`{"state": %q}`, state), 200).(object)
		if p["scanningStatus"] != state || p["dealSize"] != "32 GiB" {
			t.Errorf("%v", p)
		}
	}
	h.ask("POST", "/preparation/1", h.admin, `{"state": "gone"}`, 400)
	h.ask("POST", "/preparation/1", h.admin, `{"state": "removed"}`, 200)
	h.ask("GET", "/preparation/1", h.admin, "", 404)
	h.same(h.ask("GET", "/preparations", h.admin, "", 200), `[]`)
}
