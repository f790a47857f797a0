package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front/gateway"
)

// records are names with what was signed for them.
type records map[string][]byte

// Record implements gateway.Names.
func (r records) Record(_ context.Context, name string) ([]byte, error) {
	if record, ok := r[name]; ok {
		return record, nil
	}
	return nil, fault.New(fault.NotFound, "name %s: this node publishes none such", name)
}

// sign adds a name that leads to a root.
func (r records) sign(t *testing.T, root cid.Cid, life time.Duration) string {
	t.Helper()
	key := ok(indexdag.NewKey())(t)
	r[key.Name()] = ok(key.Record(root, 7, time.Now().Add(life), 5*time.Minute))(t)
	return key.Name()
}

// A record is for everyone who asks for it as the specification has it, with or
// without a token.
func TestRecord(t *testing.T) {
	for _, access := range []string{gateway.AccessPublic, gateway.AccessToken} {
		h := open(t, migrated(t, dbtest.SQLite), access, piece.Settings{})
		name, short := h.names.sign(t, h.root, time.Hour), h.names.sign(t, h.root, time.Minute)
		old := h.names.sign(t, h.root, -time.Second)
		id := ok(cid.Decode(name))(t)
		for _, path := range []string{name, id.Hash().B58String(), name + "/", cid.NewCidV1(cid.Libp2pKey, id.Hash()).String()} {
			a := h.get("/ipns/"+path+"?format=ipns-record", "Accept", "text/html")
			if a.status != 200 || !bytes.Equal(a.body, h.names[name]) || a.header.Get("Content-Type") != indexdag.RecordType {
				t.Errorf("%s %s: %d %s", access, path, a.status, a.body)
			}
		}
		a := h.get("/ipns/"+name, "Accept", "text/html, application/vnd.ipfs.ipns-record;q=0.9")
		if a.status != 200 || !bytes.Equal(a.body, h.names[name]) {
			t.Errorf("%s: %d %s", access, a.status, a.body)
		}
		if cache := a.header.Get("Cache-Control"); !strings.HasSuffix(cache, "max-age=300") {
			t.Errorf("%s: %s", access, cache)
		}
		if d := a.header.Get("Content-Disposition"); d != fmt.Sprintf("attachment; filename=%q", name+".ipns-record") {
			t.Error(d)
		}
		if again := h.get("/ipns/"+name+"?format=ipns-record", "If-None-Match", a.header.Get("ETag")); again.status != 304 || len(again.body) != 0 {
			t.Errorf("%d %s", again.status, again.body)
		}
		if head := h.ask(http.MethodHead, "/ipns/"+name+"?format=ipns-record"); head.status != 200 || head.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
			t.Errorf("%+v", head)
		}
		if brief := h.get("/ipns/" + short + "?format=ipns-record").header.Get("Cache-Control"); !strings.HasSuffix(brief, "max-age=60") && !strings.HasSuffix(brief, "max-age=59") {
			t.Errorf("kept for longer than it is valid: %s", brief)
		}
		for path, want := range map[string]int{
			name: 400, name + "?format=raw": 400, name + "/a?format=ipns-record": 400, old + "?format=ipns-record": 503,
			ok(indexdag.NewKey())(t).Name() + "?format=ipns-record": 404, h.root.String() + "?format=ipns-record": 400,
			"data.example?format=ipns-record": 404, strings.Repeat("k", 5000) + "?format=ipns-record": 400,
		} {
			if a := h.get("/ipns/" + path); a.status != want || a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Cache-Control") != "" {
				t.Errorf("%.200s: %d %.200s, want %d", path, a.status, a.body, want)
			}
		}
		if a := h.ask(http.MethodPut, "/ipns/"+name); a.status != 405 {
			t.Errorf("%d", a.status)
		}
		// It is what a reader without our database takes.
		place := ok(indexdag.OpenPlace(h.url, nil))(t)
		c, rest, err := indexdag.Resolve(t.Context(), []indexdag.Place{place}, nil, name+"/dir")
		if err != nil || c != h.root || rest != "dir" {
			t.Errorf("%s %q %v", c, rest, err)
		}
	}
}
