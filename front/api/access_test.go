package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
)

// TestAccess asks for every operation of the document without a token, with a
// wrong one, and with one of every scope: exactly the scope the document names,
// and admin, gets past the doorman.
func TestAccess(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	_, text := h.call(http.MethodGet, "/v1/openapi.json", "", nil)
	var doc struct {
		Paths map[string]map[string]struct {
			Security []map[string][]string
		}
	}
	h.must(json.Unmarshal(text, &doc))
	secrets := map[account.Scope]string{}
	for _, scope := range account.Scopes() {
		made := got(h.c.CreateToken(t.Context(), client.NewToken{Name: string(scope), Scopes: []string{string(scope)}}))(t)
		secrets[scope] = made.Secret
	}
	fill := strings.NewReplacer("{id}", "999", "{ref}", "999", "{uuid}", "999", "{actor}", "f0999")
	for path, item := range doc.Paths {
		for method, op := range item {
			method := strings.ToUpper(method)
			if op.Security == nil {
				continue
			}
			for _, secret := range []string{"", "firth_" + strings.Repeat("x", 43)} {
				res, body := h.call(method, fill.Replace(path), secret, unread{t})
				if res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") == "" || !strings.Contains(string(body), `"kind":"forbidden"`) {
					t.Errorf("%s %s with token %q: %d %s", method, path, secret, res.StatusCode, body)
				}
			}
			needed := op.Security[0]["token"][0]
			for scope, secret := range secrets {
				if path == "/v1/events" && (string(scope) == needed || scope == account.Admin) {
					continue // would stay
				}
				res, body := h.call(method, fill.Replace(path), secret, nil)
				allowed := string(scope) == needed || scope == account.Admin
				if (res.StatusCode == 403) == allowed || res.StatusCode == 401 || res.StatusCode >= 500 {
					t.Errorf("%s %s with scope %s: %d %s", method, path, scope, res.StatusCode, body)
				}
			}
		}
	}
	res, _ := h.call(http.MethodGet, "/v1/health", "firth_"+strings.Repeat("x", 43), nil)
	h.equal(res.StatusCode, 401) // a token that is shown has to be right
}

// unread is a body that must not be looked at.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) { return 0, io.EOF }

// TestProjects keeps one project's things from another's token.
func TestProjects(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	mine := got(h.c.AddFile(t.Context(), "mine", strings.NewReader("mine"), client.AddOptions{}))(t)
	h.must(h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error { // nothing of ours makes a second project yet
		_, err := tx.NewRaw("INSERT INTO account_project (id, name, created_at) VALUES (2, 'other', CURRENT_TIMESTAMP)").Exec(ctx)
		return err
	}))
	_, secret, err := h.s.Account.CreateToken(t.Context(), 2, "other", []account.Scope{account.ReadContent, account.WriteContent}, nil)
	h.must(err)
	other := h.as(secret)
	h.refused(errOf(other.Content(t.Context(), mine.CID)), 404, client.KindNotFound)
	h.refused(errOf(other.ContentCAR(t.Context(), mine.CID, "")), 404, client.KindNotFound)
	h.refused(other.RemoveContent(t.Context(), "1"), 404, client.KindNotFound)
	h.refused(errOf(other.Bucket(t.Context(), mine.Bucket)), 404, client.KindNotFound)
	h.equal(len(drain(other.Contents(t.Context(), client.ContentFilter{}))(t)), 0)

	h.must(h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		return event.Append(ctx, tx, event.Event{Kind: "test.theirs", Project: 2, Subject: "test/1"})
	}))
	for e, err := range other.Events(t.Context(), 0, "") {
		h.must(err)
		h.equal(e.Kind, "test.theirs") // the events of project 1 came before it
		break
	}
	for e, err := range h.c.Events(t.Context(), 0, "test.theirs") {
		h.must(err)
		h.equal(e.Project, 2) // an admin sees all
		break
	}
}

// TestInput answers what is wrong with a request, and where.
func TestInput(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v1/contents/nonsense", "", 400, "neither a content's id nor a CID"},
		{"GET", "/v1/contents/999", "", 404, "999"},
		{"GET", "/v1/contents/999/car", "", 404, "999"},
		{"GET", "/v1/contents?limit=0", "", 400, "query.limit"},
		{"GET", "/v1/contents?limit=1001", "", 400, "query.limit"},
		{"GET", "/v1/contents?before=x", "", 400, "query.before"},
		{"GET", "/v1/contents?state=fine", "", 400, "query.state"},
		{"GET", "/v1/contents?cid=nonsense", "", 400, "nonsense"},
		{"GET", "/v1/buckets/x", "", 400, "path.id"},
		{"GET", "/v1/buckets/0", "", 400, "path.id"},
		{"GET", "/v1/buckets/999", "", 404, "bucket 999"},
		{"POST", "/v1/buckets/999/close", "", 404, "bucket 999"},
		{"GET", "/v1/pieces/nonsense", "", 400, "nonsense"},
		{"GET", "/v1/pieces/999", "", 404, "999"},
		{"GET", "/v1/deals/nonsense", "", 400, "UUID"},
		{"GET", "/v1/deals/00000000-0000-4000-8000-000000000000", "", 404, "deal"},
		{"GET", "/v1/deals/00000000-0000-4000-8000-000000000000/liveness", "", 404, "deal"},
		{"GET", "/v1/policies/999", "", 404, "polic"},
		{"POST", "/v1/policies", "", 400, "body"},
		{"POST", "/v1/policies", "{", 400, "body"},
		{"POST", "/v1/policies", `{"copys":3}`, 400, "copys"},
		{"POST", "/v1/policies", `{"copies":"three"}`, 400, "body.copies"},
		{"PATCH", "/v1/policies/999", `{"copies":3}`, 404, "polic"},
		{"GET", "/v1/providers/nonsense", "", 400, "provider"},
		{"GET", "/v1/providers/f0999", "", 404, "f0999"},
		{"GET", "/v1/jobs/999", "", 404, "job 999"},
		{"GET", "/v1/jobs/9999999999999999999999", "", 400, "path.id"},
		{"POST", "/v1/tokens", `{"name":"x","scopes":["root"]}`, 400, "root"},
		{"POST", "/v1/tokens", `{"name":"x"}`, 400, "scopes"},
		{"POST", "/v1/tokens", `{"name":"` + strings.Repeat("x", 2<<20) + `","scopes":[]}`, 413, "large"},
		{"POST", "/v1/tokens", strings.Repeat("[", 1<<19), 400, "body"},
		{"GET", "/v1/events?after=-1", "", 400, "query.after"},
		{"POST", "/v1/contents?profile=nonsense", "x", 400, "nonsense"},
	} {
		res, body := h.call(c.method, c.path, h.secret, strings.NewReader(c.body), "Content-Type", "application/json")
		if res.StatusCode != c.status || !strings.Contains(string(body), c.says) || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s\nwant %d %s", c.method, c.path, res.StatusCode, body, c.status, c.says)
		}
		if len(body) > 4<<10 {
			t.Errorf("%s %s: is answered with %d bytes, %.300s", c.method, c.path, len(body), body)
		}
	}
}
