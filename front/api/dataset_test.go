package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
)

// createDataset names a source that is not there yet, and a directory for CARs
// where none can be made, so that what follows meets every state.
func (j *journey) createDataset(ctx context.Context) {
	dir := j.TempDir()
	j.data = filepath.Join(dir, "data")
	j.must(os.WriteFile(filepath.Join(dir, "cars"), nil, 0o600))
	d := got(j.c.CreateDataset(ctx, client.NewDataset{
		Name: "photos", Sources: []client.NewSource{{URL: j.data}}, PieceSize: 4 << 20, Exclude: []string{"*.tmp"},
		Out: filepath.Join(dir, "cars"), Start: true,
	}))(j.T)
	if d.ID == 0 || d.Name != "photos" || !d.Hidden || !d.Dedup || d.PieceSize != 4<<20 || len(d.Sources) != 1 || d.Preparation == nil {
		j.Errorf("%+v", d)
	}
	j.refused(errOf(j.c.CreateDataset(ctx, client.NewDataset{Name: "photos", Sources: []client.NewSource{{URL: "/x"}}})), 409, client.KindConflict)
	j.refused(errOf(j.c.CreateDataset(ctx, client.NewDataset{Name: "p", Sources: []client.NewSource{{URL: "/x"}}, PieceSize: 3 << 20})), 400, client.KindInvalid)
	j.refused(errOf(j.c.CreateDataset(ctx, client.NewDataset{Name: "p", Sources: []client.NewSource{{URL: "x/y"}}})), 400, client.KindInvalid)
}

func (j *journey) listDatasets(ctx context.Context) {
	all := drain(j.c.Datasets(ctx))(j.T)
	if len(all) != 1 || all[0].Name != "photos" {
		j.Errorf("%+v", all)
	}
}

// the is the dataset when its preparation is so.
func (j *journey) the(ctx context.Context, what string, so func(p client.Preparation) bool) (d client.Dataset) {
	j.Helper()
	j.until(what, func() bool {
		d = got(j.c.Dataset(ctx, "photos"))(j.T)
		return so(*d.Preparation)
	})
	return d
}

func (j *journey) pauseDataset(ctx context.Context) {
	j.the(ctx, "it waits for its source", func(p client.Preparation) bool { return p.Reason != "" && p.NextAttempt != nil })
	j.equal(got(j.c.PauseDataset(ctx, "photos"))(j.T).Preparation.State, "paused")
	j.refused(errOf(j.c.StartDataset(ctx, "photos")), 409, client.KindConflict)
	j.refused(errOf(j.c.RetryDataset(ctx, "photos")), 409, client.KindConflict)
}

func (j *journey) addSource(ctx context.Context) {
	d := got(j.c.AddSource(ctx, "photos", client.NewSource{URL: j.data}))(j.T)
	j.equal(len(d.Sources), 1)
	j.refused(errOf(j.c.AddSource(ctx, "photos", client.NewSource{URL: j.data + "/x", At: "x"})), 409, client.KindConflict)
}

// resumeDataset gives it three chunks, which cannot be written.
func (j *journey) resumeDataset(ctx context.Context) {
	for i := range 3 {
		j.must(os.MkdirAll(filepath.Join(j.data, fmt.Sprint(i)), 0o700))
		j.must(os.WriteFile(filepath.Join(j.data, fmt.Sprint(i), "Big"), bytes.Repeat([]byte{byte(i)}, 2_600_000), 0o600))
	}
	j.must(os.WriteFile(filepath.Join(j.data, "2", "odd \xff\nname"), []byte("odd"), 0o600))
	j.must(os.WriteFile(filepath.Join(j.data, "left.tmp"), nil, 0o600))
	j.equal(got(j.c.ResumeDataset(ctx, "photos"))(j.T).Preparation.State, "active")
}

func (j *journey) chunk(ctx context.Context, ordinal int64) client.Chunk {
	for _, c := range drain(j.c.Chunks(ctx, "photos"))(j.T) {
		if c.Ordinal == ordinal {
			return c
		}
	}
	return client.Chunk{}
}

func (j *journey) listChunks(ctx context.Context) {
	j.until("two chunks could not be written", func() bool {
		return j.chunk(ctx, 1).State == "failed" && j.chunk(ctx, 2).State == "failed" && j.chunk(ctx, 3).State == "waiting"
	})
	if c := j.chunk(ctx, 1); c.Reason == "" || c.NextAttempt == nil || c.Files != 1 || c.Bytes != 2_600_000 || c.First != "0" {
		j.Errorf("%+v", c)
	}
	var part client.Page[client.Chunk]
	_, text := j.call(http.MethodGet, "/v1/datasets/photos/chunks?limit=1&after=1", j.secret, nil)
	j.must(json.Unmarshal(text, &part))
	if len(part.Items) != 1 || part.Items[0].Ordinal != 2 || part.Next != "2" {
		j.Errorf("%s", text)
	}
}

func (j *journey) pauseChunk(ctx context.Context) {
	j.equal(got(j.c.PauseChunk(ctx, "photos", 2))(j.T).State, "paused")
	j.refused(errOf(j.c.RetryChunk(ctx, "photos", 2)), 409, client.KindConflict)
	j.refused(errOf(j.c.PauseChunk(ctx, "photos", 9)), 404, client.KindNotFound)
}

func (j *journey) resumeChunk(ctx context.Context) {
	j.equal(got(j.c.ResumeChunk(ctx, "photos", 2))(j.T).State, "waiting")
	j.until("it failed again", func() bool { return j.chunk(ctx, 2).State == "failed" })
}

func (j *journey) removeChunk(ctx context.Context) {
	j.equal(got(j.c.RemoveChunk(ctx, "photos", 2))(j.T).State, "removed")
	j.refused(errOf(j.c.RemoveChunk(ctx, "photos", 3)), 409, client.KindConflict)
}

func (j *journey) retryChunk(ctx context.Context) {
	j.must(os.Remove(filepath.Join(filepath.Dir(j.data), "cars"))) // what was in the way
	j.equal(got(j.c.RetryChunk(ctx, "photos", 1))(j.T).State, "waiting")
}

func (j *journey) getDataset(ctx context.Context) {
	d := j.the(ctx, "it is complete", func(p client.Preparation) bool { return p.State == "complete" })
	p := d.Preparation
	if p.Skipped != 1 || p.Files != 4 || p.Chunks["packed"].Chunks != 2 || p.Chunks["removed"].Chunks != 1 || p.Done.Bytes != 5_200_003 || p.Root == "" {
		j.Errorf("%+v", p)
	}
	j.equal(p.IPFS, "/ipfs/"+p.Index)
	j.equal(p.DNSLink, "dnslink=/ipfs/"+p.Index)
	j.equal(got(j.c.Dataset(ctx, fmt.Sprint(d.ID)))(j.T).Name, "photos")
	first := j.chunk(ctx, 1)
	if len(first.Pieces) != 1 {
		j.Fatalf("%+v", first)
	}
	car := got(os.ReadFile(filepath.Join(filepath.Dir(j.data), "cars", first.Pieces[0].PieceCID+".car")))(j.T)
	j.equal(int64(len(car)), first.Pieces[0].CARSize)
}

func (j *journey) listFiles(ctx context.Context) {
	find := func(q client.FileQuery) (paths []string) {
		for _, f := range drain(j.c.DatasetFiles(ctx, "photos", q))(j.T) {
			paths = append(paths, f.Path)
		}
		return paths
	}
	j.equal(find(client.FileQuery{Name: "big"}), []string{"0/Big", "1/Big", "2/Big"})
	j.equal(find(client.FileQuery{Path: "1/"}), []string{"1", "1/Big"})
	j.equal(find(client.FileQuery{State: "skipped"}), []string{"1/Big"})
	j.equal(find(client.FileQuery{Contains: "BIG", Chunk: 1}), []string{"0/Big"})
	odd := drain(j.c.DatasetFiles(ctx, "photos", client.FileQuery{Glob: "odd*"}))(j.T)
	if len(odd) != 1 || odd[0].Path != "2/odd \ufffd\nname" || string(odd[0].RawPath) != "2/odd \xff\nname" || len(odd[0].Parts) != 1 || odd[0].Parts[0].Piece == 0 || odd[0].CID == "" {
		j.Errorf("%+v", odd)
	}
	j.refused(errOf(j.c.Dataset(ctx, "absent")), 404, client.KindNotFound)
}

func (j *journey) startDataset(ctx context.Context) {
	d := got(j.c.StartDataset(ctx, "photos"))(j.T)
	j.equal(d.Preparation.Ordinal, 2)
	d = j.the(ctx, "it is complete again", func(p client.Preparation) bool { return p.State == "complete" })
	if p := d.Preparation; p.Carried != 3 || p.Skipped != 0 || p.Files != 4 {
		j.Errorf("%+v", p)
	}
}

func (j *journey) listPreparations(ctx context.Context) {
	all := drain(j.c.Preparations(ctx, "photos"))(j.T)
	if len(all) != 2 || all[0].Ordinal != 2 || all[1].Skipped != 1 {
		j.Errorf("%+v", all)
	}
}

func (j *journey) retryDataset(ctx context.Context) {
	j.refused(errOf(j.c.CreateDataset(ctx, client.NewDataset{Name: "bad", Sources: []client.NewSource{{URL: j.data}}, Include: []string{"a[z"}})), 400, client.KindInvalid)
	never := client.NewSource{URL: "s3:bucket", Options: map[string]string{"retries": "many"}}
	j.refused(errOf(j.c.CreateDataset(ctx, client.NewDataset{Name: "bad", Sources: []client.NewSource{never}})), 400, client.KindInvalid)
	bad := client.NewSource{URL: "/dev/null"}
	made := got(j.c.CreateDataset(ctx, client.NewDataset{Name: "bad", Sources: []client.NewSource{bad}, Start: true}))(j.T)
	j.until("it failed for good", func() bool { return got(j.c.Dataset(ctx, "bad"))(j.T).Preparation.State == "failed" })
	j.equal(got(j.c.RetryDataset(ctx, "bad"))(j.T).ID, made.ID)
}

func (j *journey) removeDataset(ctx context.Context) {
	j.must(j.c.RemoveDataset(ctx, "bad", false))
	j.must(j.c.RemoveDataset(ctx, "photos", true))
	j.refused(errOf(j.c.Dataset(ctx, "photos")), 404, client.KindNotFound)
	left := got(filepath.Glob(filepath.Join(filepath.Dir(j.data), "cars", "*")))(j.T)
	j.equal(len(left), 0)
}

// What reaches into the node or its network is not for every token, and
// credentials come back from nowhere.
func TestDatasetScopes(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	made := got(h.c.CreateToken(t.Context(), client.NewToken{Name: "w", Scopes: []string{string(account.ReadContent), string(account.WriteContent)}}))(t)
	writer := h.as(made.Secret)
	for _, s := range []client.NewSource{
		{URL: "/etc"}, {URL: "file:///etc"}, {URL: "http://127.0.0.1:1/"}, {URL: "http://localhost/"}, {URL: "webdav+http://10.1.2.3/"},
		{URL: "http://169.254.169.254/latest/"}, {URL: "s3:bucket", Options: map[string]string{"endpoint": "http://192.168.1.1:9000"}},
		{URL: "s3:bucket", Options: map[string]string{"env_auth": "true"}}, {URL: "sftp://user@127.0.0.1/"},
		{URL: "azure:c", Options: map[string]string{"connection_string": "x"}}, {URL: "http://[::ffff:127.0.0.1]/"},
	} {
		h.refused(errOf(writer.CreateDataset(t.Context(), client.NewDataset{Name: "d", Sources: []client.NewSource{s}})), 403, client.KindForbidden)
	}
	bucket := client.NewSource{URL: "s3:bucket/prefix", Options: map[string]string{"access_key_id": "AKIA", "secret_access_key": "tell-nobody"}}
	h.refused(errOf(writer.CreateDataset(t.Context(), client.NewDataset{Name: "d", Sources: []client.NewSource{bucket}, Out: "/tmp/x"})), 403, client.KindForbidden)
	d := got(writer.CreateDataset(t.Context(), client.NewDataset{Name: "d", Sources: []client.NewSource{bucket}}))(t)
	h.refused(errOf(writer.AddSource(t.Context(), "d", client.NewSource{URL: "/etc"})), 403, client.KindForbidden)
	h.refused(writer.RemoveDataset(t.Context(), "d", true), 403, client.KindForbidden)
	web := client.NewSource{URL: "https://user:tell-nobody@192.0.2.1/x?sig=tell-nobody", At: "web"}
	got(h.c.CreateDataset(t.Context(), client.NewDataset{Name: "e", Sources: []client.NewSource{web}}))(t)
	for _, path := range []string{"/v1/datasets", "/v1/datasets/d", "/v1/datasets/" + fmt.Sprint(d.ID)} {
		res, text := h.call(http.MethodGet, path, made.Secret, nil)
		if res.StatusCode != 200 || strings.Contains(string(text), "tell-nobody") || strings.Contains(string(text), "AKIA") {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
}

// Sizes are numbers or words.
func TestDatasetSizes(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	for i, c := range []struct {
		size   string
		status int
		says   string
	}{
		{`"32GiB"`, 201, `"piece_size":34359738368`}, {`"8 MiB"`, 201, `"piece_size":8388608`}, {`8388608`, 201, `"piece_size":8388608`},
		{`"3 GiB"`, 400, "near are 2 GiB and 4 GiB"}, {`"much"`, 400, "such as 32GiB"}, {`-1`, 400, "piece_size"}, {`true`, 400, "piece_size"},
	} {
		body := fmt.Sprintf(`{"name":"d%d","sources":[{"url":"/x"}],"piece_size":%s}`, i, c.size)
		res, text := h.call(http.MethodPost, "/v1/datasets", h.secret, strings.NewReader(body))
		if res.StatusCode != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: %d %s", c.size, res.StatusCode, text)
		}
	}
}
