package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
)

func (j *journey) updateDataset(ctx context.Context) {
	before := got(j.c.Dataset(ctx, "photos"))(j.T)
	none, limit := []string{"*.none", "*.tmp"}, client.Size(3<<20)
	d := got(j.c.UpdateDataset(ctx, "photos", client.DatasetChange{Exclude: &none, MaxSize: &limit, Revision: before.Revision}))(j.T)
	j.equal(d.Exclude, none)
	j.equal(d.MaxSize, limit)
	j.equal(d.Revision, before.Revision+1)
	j.equal(d.PieceSize, before.PieceSize)
	j.refused(errOf(j.c.UpdateDataset(ctx, "photos", client.DatasetChange{MaxSize: &limit, Revision: before.Revision})), 409, client.KindConflict)
	zero := client.Size(0)
	j.equal(got(j.c.UpdateDataset(ctx, "photos", client.DatasetChange{MaxSize: &zero}))(j.T).MaxSize, zero)
	odd := client.Size(3 << 20)
	j.refused(errOf(j.c.UpdateDataset(ctx, "photos", client.DatasetChange{PieceSize: &odd})), 400, client.KindInvalid)
	j.refused(errOf(j.c.UpdateDataset(ctx, "absent", client.DatasetChange{PieceSize: &odd})), 404, client.KindNotFound)
}

func (j *journey) publishDataset(ctx context.Context) {
	j.refused(errOf(j.c.DatasetName(ctx, "photos")), 404, client.KindNotFound)
	j.refused(errOf(j.c.UnpublishDataset(ctx, "photos")), 404, client.KindNotFound)
	n := got(j.c.PublishDataset(ctx, "photos"))(j.T)
	d := got(j.c.Dataset(ctx, "photos"))(j.T)
	if n.State != "published" || n.Index != d.Preparation.Index || n.DNSLink != "dnslink=/ipns/"+n.Name || n.TTL != 300 || n.SignedAt == nil || d.Published == nil {
		j.Fatalf("%+v", n)
	}
	if d.Published.Name != n.Name || d.Published.Record != nil {
		j.Errorf("%+v", d.Published)
	}
	r := got(indexdag.VerifyRecord(n.Name, n.Record))(j.T)
	j.equal(r.Path, "/ipfs/"+n.Index)
	j.refused(errOf(j.c.PublishDataset(ctx, "absent")), 404, client.KindNotFound)
}

func (j *journey) getDatasetName(ctx context.Context) {
	d := got(j.c.Dataset(ctx, "photos"))(j.T)
	j.until("the name leads to the new index", func() bool {
		n := got(j.c.DatasetName(ctx, "photos"))(j.T)
		return n.Index == d.Preparation.Index && n.Preparation == d.Preparation.ID
	})
	res, text := j.call(http.MethodGet, "/v1/datasets/photos/ipns", j.secret, nil)
	var n struct{ Name, Record string }
	j.must(json.Unmarshal(text, &n))
	record, err := base64.StdEncoding.DecodeString(n.Record)
	if _, bad := indexdag.VerifyRecord(n.Name, record); res.StatusCode != 200 || err != nil || bad != nil {
		j.Errorf("%d %s: %v %v", res.StatusCode, text, err, bad)
	}
}

func (j *journey) unpublishDataset(ctx context.Context) {
	name := got(j.c.DatasetName(ctx, "photos"))(j.T).Name
	for range 2 {
		n := got(j.c.UnpublishDataset(ctx, "photos"))(j.T)
		if n.State != "withdrawn" || n.Record != nil || n.Name != name || n.RenewAt != nil {
			j.Errorf("%+v", n)
		}
	}
}

// Changes that come together all hold: each is made of what the one before left.
func TestDatasetChanges(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, still)
		got(h.c.CreateDataset(t.Context(), client.NewDataset{Name: "d", Sources: []client.NewSource{{URL: "/x"}}}))(t)
		size, little, much, yes, no := client.Size(8<<20), client.Size(3<<20), client.Size(5<<20), true, false
		globs := []string{"*.a"}
		changes := []client.DatasetChange{
			{PieceSize: &size}, {MinSize: &little, MaxSize: &much, PieceSize: &size}, {Include: &globs}, {Hidden: &no}, {Dedup: &no},
		}
		var all sync.WaitGroup
		for _, c := range changes {
			all.Go(func() {
				if _, err := h.c.UpdateDataset(t.Context(), "d", c); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		d := got(h.c.Dataset(t.Context(), "d"))(t)
		if d.PieceSize != size || d.MinSize != little || d.MaxSize != much || len(d.Include) != 1 || d.Hidden || d.Dedup {
			t.Errorf("%+v", d)
		}
		if d.Revision < 5 || d.Revision > 6 { // the first two may be one
			t.Errorf("revision %d", d.Revision)
		}
		again := got(h.c.UpdateDataset(t.Context(), "d", client.DatasetChange{Hidden: &no}))(t)
		if again.Revision != d.Revision { // which changes nothing
			t.Errorf("revision %d after %d", again.Revision, d.Revision)
		}
		_ = got(h.c.UpdateDataset(t.Context(), "d", client.DatasetChange{Hidden: &yes, Revision: again.Revision}))(t)
		for _, c := range []struct {
			body string
			say  string
		}{
			{`{"name":"x"}`, "unexpected property"}, {`{"piece_size":"much"}`, "such as 32GiB"}, {`{"include":[1]}`, "include"}, {`[]`, "object"},
			{`{"hidden":"yes"}`, "hidden"}, {`{"exclude":["a[z"]}`, "a[z"}, {`{"revision":0}`, "revision"}, {`{`, "JSON"}, {``, "body"},
			{`{"max_size":"8MiB"}`, "a piece of 8 MiB takes"}, {`{"out":"relative"}`, "absolute"},
		} {
			res, text := h.call(http.MethodPatch, "/v1/datasets/d", h.secret, strings.NewReader(c.body))
			if res.StatusCode != 400 || !strings.Contains(string(text), c.say) {
				t.Errorf("%s: %d %s", c.body, res.StatusCode, text)
			}
		}
		made := got(h.c.CreateToken(t.Context(), client.NewToken{Name: "w", Scopes: []string{string(account.ReadContent), string(account.WriteContent)}}))(t)
		out, away := t.TempDir(), ""
		h.refused(errOf(h.as(made.Secret).UpdateDataset(t.Context(), "d", client.DatasetChange{Out: &out})), 403, client.KindForbidden)
		got(h.as(made.Secret).UpdateDataset(t.Context(), "d", client.DatasetChange{Out: &away}))(t)
		reader := got(h.c.CreateToken(t.Context(), client.NewToken{Name: "r", Scopes: []string{string(account.ReadContent)}}))(t)
		for _, path := range []string{"publish", "unpublish", "start", "pause"} {
			res, text := h.call(http.MethodPost, "/v1/datasets/d/"+path, reader.Secret, nil)
			if res.StatusCode != 403 || !strings.Contains(string(text), string(account.WriteContent)) {
				t.Errorf("%s: %d %s", path, res.StatusCode, text)
			}
		}
	})
}
