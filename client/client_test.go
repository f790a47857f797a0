package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/firth-project/firth/client"
)

// node starts an HTTP server with one handler and returns a client of it.
func node(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := client.New(s.URL+"/", client.Options{Token: "firth_secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func TestNewRefusesWhatIsNoAddress(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:8400", "ftp://x", "http://", "http://a b"} {
		if _, err := client.New(base, client.Options{}); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
}

// Every method sends the route of the contract: method, escaped path, query.
func TestRoutes(t *testing.T) {
	type verb func(ctx context.Context, c *client.Client) error
	one := func(err error) error { return err }
	for want, call := range map[string]verb{
		"GET /v1/contents/bafy":       func(ctx context.Context, c *client.Client) error { _, err := c.Content(ctx, "bafy"); return err },
		"GET /v1/contents/a%2Fb":      func(ctx context.Context, c *client.Client) error { _, err := c.Content(ctx, "a/b"); return err },
		"DELETE /v1/contents/7":       func(ctx context.Context, c *client.Client) error { return one(c.RemoveContent(ctx, "7")) },
		"GET /v1/buckets/3":           func(ctx context.Context, c *client.Client) error { _, err := c.Bucket(ctx, 3); return err },
		"POST /v1/buckets/3/close":    func(ctx context.Context, c *client.Client) error { _, err := c.CloseBucket(ctx, 3); return err },
		"POST /v1/pieces/baga/verify": func(ctx context.Context, c *client.Client) error { _, err := c.VerifyPiece(ctx, "baga"); return err },
		"GET /v1/datasets/a%2Fb":      func(ctx context.Context, c *client.Client) error { _, err := c.Dataset(ctx, "a/b"); return err },
		"POST /v1/datasets": func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateDataset(ctx, client.NewDataset{})
			return err
		},
		"DELETE /v1/datasets/x?cars=true": func(ctx context.Context, c *client.Client) error { return one(c.RemoveDataset(ctx, "x", true)) },
		"POST /v1/datasets/x/sources": func(ctx context.Context, c *client.Client) error {
			_, err := c.AddSource(ctx, "x", client.NewSource{})
			return err
		},
		"POST /v1/datasets/x/start":          func(ctx context.Context, c *client.Client) error { _, err := c.StartDataset(ctx, "x"); return err },
		"POST /v1/datasets/x/chunks/2/retry": func(ctx context.Context, c *client.Client) error { _, err := c.RetryChunk(ctx, "x", 2); return err },
		"GET /v1/pieces/baga":                func(ctx context.Context, c *client.Client) error { _, err := c.Piece(ctx, "baga"); return err },
		"GET /v1/deals/u-1":                  func(ctx context.Context, c *client.Client) error { _, err := c.Deal(ctx, "u-1"); return err },
		"GET /v1/deals/u-1/liveness":         func(ctx context.Context, c *client.Client) error { _, err := c.DealLiveness(ctx, "u-1"); return err },
		"POST /v1/policies": func(ctx context.Context, c *client.Client) error {
			_, err := c.CreatePolicy(ctx, client.NewPolicy{})
			return err
		},
		"GET /v1/policies/4": func(ctx context.Context, c *client.Client) error { _, err := c.Policy(ctx, 4); return err },
		"PATCH /v1/policies/4": func(ctx context.Context, c *client.Client) error {
			_, err := c.UpdatePolicy(ctx, 4, client.PolicyChange{})
			return err
		},
		"POST /v1/policies/4/pause":  func(ctx context.Context, c *client.Client) error { _, err := c.PausePolicy(ctx, 4); return err },
		"POST /v1/policies/4/resume": func(ctx context.Context, c *client.Client) error { _, err := c.ResumePolicy(ctx, 4); return err },
		"DELETE /v1/policies/4":      func(ctx context.Context, c *client.Client) error { return one(c.RemovePolicy(ctx, 4)) },
		"GET /v1/policies/4/dry-run": func(ctx context.Context, c *client.Client) error { _, err := c.DryRun(ctx, 4); return err },
		"POST /v1/providers":         func(ctx context.Context, c *client.Client) error { _, err := c.AddProvider(ctx, "f01000"); return err },
		"GET /v1/providers/f01000":   func(ctx context.Context, c *client.Client) error { _, err := c.Provider(ctx, "f01000"); return err },
		"POST /v1/providers/f01000/refresh": func(ctx context.Context, c *client.Client) error {
			_, err := c.RefreshProvider(ctx, "f01000")
			return err
		},
		"DELETE /v1/providers/f01000":      func(ctx context.Context, c *client.Client) error { return one(c.RemoveProvider(ctx, "f01000")) },
		"GET /v1/jobs/9":                   func(ctx context.Context, c *client.Client) error { _, err := c.Job(ctx, 9); return err },
		"POST /v1/jobs/9/retry":            func(ctx context.Context, c *client.Client) error { _, err := c.RetryJob(ctx, 9); return err },
		"POST /v1/jobs/9/cancel":           func(ctx context.Context, c *client.Client) error { _, err := c.CancelJob(ctx, 9); return err },
		"POST /v1/pieces/imports/9/cancel": func(ctx context.Context, c *client.Client) error { _, err := c.CancelImport(ctx, 9); return err },
		"POST /v1/tokens": func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateToken(ctx, client.NewToken{})
			return err
		},
		"DELETE /v1/tokens/2": func(ctx context.Context, c *client.Client) error { return one(c.RevokeToken(ctx, 2)) },
		"GET /v1/health":      func(ctx context.Context, c *client.Client) error { _, err := c.Health(ctx); return err },
		"GET /v1/contents?bucket=5&cid=bafy&limit=200&name=n&state=stored": func(ctx context.Context, c *client.Client) error {
			return drain(c.Contents(ctx, client.ContentFilter{State: "stored", CID: "bafy", Name: "n", Bucket: 5}))
		},
		"GET /v1/buckets?limit=200&state=open": func(ctx context.Context, c *client.Client) error {
			return drain(c.Buckets(ctx, client.BucketFilter{State: "open"}))
		},
		"GET /v1/pieces?bucket=2&limit=200&plan=1": func(ctx context.Context, c *client.Client) error {
			return drain(c.Pieces(ctx, client.PieceFilter{Plan: 1, Bucket: 2}))
		},
		"GET /v1/deals?limit=200&piece=1&policy=2&provider=f01&state=active": func(ctx context.Context, c *client.Client) error {
			return drain(c.Deals(ctx, client.DealFilter{State: "active", Provider: "f01", Piece: 1, Policy: 2}))
		},
		"GET /v1/policies?limit=200": func(ctx context.Context, c *client.Client) error {
			return drain(c.Policies(ctx, client.PolicyFilter{}))
		},
		"GET /v1/providers?limit=200": func(ctx context.Context, c *client.Client) error {
			return drain(c.Providers(ctx, client.ProviderFilter{}))
		},
		"GET /v1/providers/f01/observations?limit=200": func(ctx context.Context, c *client.Client) error {
			return drain(c.ProviderObservations(ctx, "f01"))
		},
		"GET /v1/jobs?kind=piece.pack&limit=200&state=dead": func(ctx context.Context, c *client.Client) error {
			return drain(c.Jobs(ctx, client.JobFilter{State: "dead", Kind: "piece.pack"}))
		},
		"GET /v1/nodes?limit=200":  func(ctx context.Context, c *client.Client) error { return drain(c.Nodes(ctx)) },
		"GET /v1/tokens?limit=200": func(ctx context.Context, c *client.Client) error { return drain(c.Tokens(ctx)) },
		"GET /v1/retrievals?limit=200": func(ctx context.Context, c *client.Client) error {
			return drain(c.Retrievals(ctx, client.RetrievalFilter{}))
		},
	} {
		t.Run(want, func(t *testing.T) {
			c := node(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Method + " " + r.RequestURI; got != want {
					t.Errorf("sent %s", got)
				}
				if r.Header.Get("Authorization") != "Bearer firth_secret" {
					t.Errorf("authorization %q", r.Header.Get("Authorization"))
				}
				if r.Method == http.MethodDelete {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				reply(w, http.StatusOK, map[string]any{})
			})
			if err := call(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
}

func drain[T any](seq func(func(T, error) bool)) (err error) {
	seq(func(_ T, e error) bool { err = e; return e == nil })
	return err
}

func TestListWalksAllPages(t *testing.T) {
	pages := map[string]string{
		"":  `{"items":[{"id":9},{"id":8}],"next":"8"}`,
		"8": `{"items":[{"id":5}],"next":"5"}`,
		"5": `{"items":[]}`,
	}
	asked := 0
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("before")])
	})
	all := c.Contents(t.Context(), client.ContentFilter{})
	for range 2 { // an iterator may be walked again
		var ids []int64
		for x, err := range all {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, x.ID)
		}
		if len(ids) != 3 || ids[0] != 9 || ids[2] != 5 {
			t.Errorf("ids %v", ids)
		}
	}
	asked = 0
	for range all {
		break
	}
	if asked != 1 {
		t.Errorf("%d pages read for one item", asked)
	}
}

func TestListYieldsTheErrorAndEnds(t *testing.T) {
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("before") != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{"items":[{"id":1}],"next":"1"}`)
	})
	var n, failed int
	for _, err := range c.Jobs(t.Context(), client.JobFilter{}) {
		if n++; err != nil {
			failed++
		}
	}
	if n != 2 || failed != 1 {
		t.Errorf("%d yields, %d errors", n, failed)
	}
}

func TestErrorIsTheProblem(t *testing.T) {
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"title":"Conflict","status":409,"detail":"policy 4: paused","kind":"conflict",
			"request_id":"r1","errors":[{"message":"expected >= 1","location":"body.copies","value":0}]}`)
	})
	_, err := c.Policy(t.Context(), 4)
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T %v", err, err)
	}
	if e.Status != 409 || e.Kind != client.KindConflict || e.RequestID != "r1" || len(e.Errors) != 1 {
		t.Errorf("%+v", e)
	}
	if want := "policy 4: paused; body.copies: expected >= 1 (request r1)"; err.Error() != want {
		t.Errorf("%q", err)
	}
}

// What stands between us and the node does not speak our errors.
func TestErrorOfAStranger(t *testing.T) {
	for status, kind := range map[int]string{
		401: client.KindForbidden, 404: client.KindNotFound, 413: client.KindInvalid, 429: client.KindExhausted,
		500: client.KindInternal, 502: client.KindUnavailable, 504: client.KindUnavailable, 507: client.KindExhausted,
	} {
		c := node(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Request-Id", "r2")
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>sorry</html>")
		})
		_, err := c.Health(t.Context())
		var e *client.Error
		if !errors.As(err, &e) || client.KindOf(err) != kind || e.Status != status || e.RequestID != "r2" || e.Title == "" {
			t.Errorf("%d: %v, kind %q", status, err, client.KindOf(err))
		}
	}
	if client.KindOf(io.EOF) != "" {
		t.Error("a plain error has a kind")
	}
}

func TestGarbageIsAnError(t *testing.T) {
	c := node(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":`) })
	if _, err := c.Content(t.Context(), "1"); err == nil || !strings.Contains(err.Error(), "GET /v1/contents/1") {
		t.Errorf("%v", err)
	}
}
