package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/devnet"
)

// journey is what the operations hand to one another on their way.
type journey struct {
	*house
	file, tree client.Content
	piece      client.Piece
	policy     client.Policy
	deal       client.Deal
	token      client.TokenSecret
	job        client.Job
	imp        client.Import
	worker     *client.Client
	claim      client.ImportClaim
	car        []byte // of the piece
	data       string // directory of a dataset
}

// operations are all there are, each called for real, in an order in which one
// makes what the next needs.
var operations = []struct {
	id  string
	run func(j *journey, ctx context.Context)
}{
	{"health", (*journey).health},
	{"listNodes", (*journey).nodes},
	{"createToken", (*journey).createToken},
	{"listTokens", (*journey).listTokens},
	{"revokeToken", (*journey).revokeToken},
	{"addContent", (*journey).add},
	{"listContents", (*journey).listContents},
	{"getContent", (*journey).getContent},
	{"downloadContent", (*journey).download},
	{"listBuckets", (*journey).listBuckets},
	{"closeBucket", (*journey).closeBucket},
	{"getBucket", (*journey).getBucket},
	{"listPieces", (*journey).listPieces},
	{"getPiece", (*journey).getPiece},
	{"verifyPiece", (*journey).verifyPiece},
	{"importPiece", (*journey).importPiece},
	{"getImport", (*journey).getImport},
	{"listImports", (*journey).listImports},
	{"cancelImport", (*journey).cancelImport},
	{"claimImport", (*journey).claimImport},
	{"beatImport", (*journey).beatImport},
	{"readImport", (*journey).readImport},
	{"keepImportPart", (*journey).keepImportPart},
	{"readImportPart", (*journey).readImportPart},
	{"giveUpImport", (*journey).giveUpImport},
	{"finishImport", (*journey).finishImport},
	{"addProvider", (*journey).addProviders},
	{"listProviders", (*journey).listProviders},
	{"getProvider", (*journey).getProvider},
	{"refreshProvider", (*journey).refreshProvider},
	{"createPolicy", (*journey).createPolicy},
	{"listPolicies", (*journey).listPolicies},
	{"getPolicy", (*journey).getPolicy},
	{"pausePolicy", (*journey).pausePolicy},
	{"dryRunPolicy", (*journey).dryRun},
	{"resumePolicy", (*journey).resumePolicy},
	{"listDeals", (*journey).listDeals},
	{"getDeal", (*journey).getDeal},
	{"getDealLiveness", (*journey).liveness},
	{"listRetrievals", (*journey).retrieve},
	{"listProviderObservations", (*journey).observations},
	{"updatePolicy", (*journey).updatePolicy},
	{"removePolicy", (*journey).removePolicy},
	{"removeProvider", (*journey).removeProvider},
	{"listJobs", (*journey).listJobs},
	{"getJob", (*journey).getJob},
	{"retryJob", (*journey).retryJob},
	{"cancelJob", (*journey).cancelJob},
	{"createDataset", (*journey).createDataset},
	{"listDatasets", (*journey).listDatasets},
	{"pauseDataset", (*journey).pauseDataset},
	{"addSource", (*journey).addSource},
	{"resumeDataset", (*journey).resumeDataset},
	{"listChunks", (*journey).listChunks},
	{"pauseChunk", (*journey).pauseChunk},
	{"resumeChunk", (*journey).resumeChunk},
	{"removeChunk", (*journey).removeChunk},
	{"retryChunk", (*journey).retryChunk},
	{"getDataset", (*journey).getDataset},
	{"listFiles", (*journey).listFiles},
	{"updateDataset", (*journey).updateDataset},
	{"publishDataset", (*journey).publishDataset},
	{"startDataset", (*journey).startDataset},
	{"getDatasetName", (*journey).getDatasetName},
	{"listPreparations", (*journey).listPreparations},
	{"retryDataset", (*journey).retryDataset},
	{"unpublishDataset", (*journey).unpublishDataset},
	{"removeDataset", (*journey).removeDataset},
	{"removeContent", (*journey).removeContent},
	{"streamEvents", (*journey).events},
}

// TestOperations calls every operation for real, from upload to bytes that come
// back from a provider, on both engines.
func TestOperations(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		j := &journey{house: build(t, open, devnet.Config{Providers: 2})}
		for _, op := range operations {
			op.run(j, t.Context())
			if t.Failed() {
				t.Fatalf("in %s", op.id)
			}
		}
		if n := j.s.Doorman.Panics(); n != 0 {
			t.Errorf("%d requests panicked", n)
		}
	})
}

func (j *journey) health(ctx context.Context) {
	h := got(j.as("").Health(ctx))(j.T)
	j.equal(h.Status, "ok")
	j.equal(h.Version, "test")
}

func (j *journey) nodes(ctx context.Context) {
	j.until("the node is on the list", func() bool { return len(drain(j.c.Nodes(ctx))(j.T)) == 1 })
}

func (j *journey) createToken(ctx context.Context) {
	expires := time.Now().Add(time.Hour)
	j.token = got(j.c.CreateToken(ctx, client.NewToken{Name: "reader", Scopes: []string{"content:read"}, ExpiresAt: &expires}))(j.T)
	if !strings.HasPrefix(j.token.Secret, "firth_") || j.token.ExpiresAt == nil {
		j.Errorf("%+v", j.token)
	}
	drain(j.as(j.token.Secret).Contents(ctx, client.ContentFilter{}))(j.T)
}

func (j *journey) listTokens(ctx context.Context) {
	names := []string{}
	for _, t := range drain(j.c.Tokens(ctx))(j.T) {
		names = append(names, t.Name)
	}
	j.equal(strings.Join(names, " "), "reader admin")
}

func (j *journey) revokeToken(ctx context.Context) {
	j.must(j.c.RevokeToken(ctx, j.token.ID))
	j.refused(errOf(j.as(j.token.Secret).Content(ctx, "1")), 401, client.KindForbidden)
	j.refused(j.c.RevokeToken(ctx, 99), 404, client.KindNotFound)
}

func (j *journey) add(ctx context.Context) {
	j.file = got(j.c.AddFile(ctx, "hello.txt", strings.NewReader("hello world"), client.AddOptions{}))(j.T)
	j.equal(j.file.CID, "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e")
	j.equal(j.file.State, "stored")
	tree := func(yield func(client.Entry, error) bool) {
		for _, e := range []client.Entry{
			{Path: "a/ä \"b\"\\.txt", Body: strings.NewReader("one")},
			{Path: "empty/dir", Kind: client.Directory},
			{Path: "a/link", Kind: client.Symlink, Target: "../b"},
			{Path: "b\xff", Body: bytes.NewReader(make([]byte, 3<<20))},
		} {
			if !yield(e, nil) {
				return
			}
		}
	}
	j.tree = got(j.c.AddTree(ctx, "tree", tree, client.AddOptions{}))(j.T)
	if j.tree.Files != 3 || j.tree.Size != 3<<20+3 || j.tree.Bucket == 0 {
		j.Errorf("%+v", j.tree)
	}
	root := got(cid.Decode(j.tree.CID))(j.T)
	for _, path := range []string{"a/ä \"b\"\\.txt", "empty/dir", "a/link", "b\xff"} {
		got(dag.Resolve(ctx, j.s.Blocks, root, path))(j.T)
	}
}

func (j *journey) listContents(ctx context.Context) {
	all := drain(j.c.Contents(ctx, client.ContentFilter{}))(j.T)
	if len(all) != 2 || all[0].ID != j.tree.ID {
		j.Errorf("%+v", all)
	}
	for _, f := range []client.ContentFilter{{CID: j.file.CID}, {Name: "hello.txt"}, {State: "stored", Name: "hello.txt"}} {
		if one := drain(j.c.Contents(ctx, f))(j.T); len(one) != 1 || one[0].ID != j.file.ID {
			j.Errorf("%+v: %+v", f, one)
		}
	}
}

func (j *journey) getContent(ctx context.Context) {
	for _, ref := range []string{j.file.CID, strconv.FormatInt(j.file.ID, 10)} {
		j.equal(got(j.c.Content(ctx, ref))(j.T).ID, j.file.ID)
	}
}

func (j *journey) download(ctx context.Context) {
	j.equal(j.carOf(ctx, j.tree, ""), "")
	j.equal(j.carOf(ctx, j.file, ""), "")
	j.refused(errOf(j.c.ContentCAR(ctx, j.tree.CID, client.AnyProvider)), 409, client.KindConflict)
}

// carOf downloads a content, checks that its DAG is whole and in order, and
// returns whose bytes they were.
func (j *journey) carOf(ctx context.Context, c client.Content, provider string) string {
	j.Helper()
	d := got(j.c.ContentCAR(ctx, c.CID, provider))(j.T)
	defer d.Close()
	car := got(dag.NewCARReader(d, dag.CAROptions{}))(j.T)
	j.equal(car.Roots[0].String(), c.CID)
	store := memory{}
	for {
		b, _, err := car.Next()
		if err == io.EOF {
			break
		}
		j.must(err)
		if len(store) == 0 && b.Cid().String() != c.CID {
			j.Errorf("the first block is %s", b.Cid())
		}
		store[b.Cid()] = b
	}
	j.must(dag.Complete(ctx, store, car.Roots[0]))
	return d.Provider()
}

func (j *journey) listBuckets(ctx context.Context) {
	all := drain(j.c.Buckets(ctx, client.BucketFilter{State: "open"}))(j.T)
	if len(all) != 1 || all[0].Contents != 2 {
		j.Errorf("%+v", all)
	}
}

func (j *journey) closeBucket(ctx context.Context) {
	b := got(j.c.CloseBucket(ctx, j.tree.Bucket))(j.T)
	if b.State == "open" {
		j.Errorf("%+v", b)
	}
}

func (j *journey) getBucket(ctx context.Context) {
	j.until("the bucket is packed", func() bool {
		return got(j.c.Bucket(ctx, j.tree.Bucket))(j.T).State == "ready"
	})
	j.equal(got(j.c.Content(ctx, j.tree.CID))(j.T).State, "packed")
}

func (j *journey) listPieces(ctx context.Context) {
	all := drain(j.c.Pieces(ctx, client.PieceFilter{Bucket: j.tree.Bucket}))(j.T)
	if len(all) != 1 {
		j.Fatalf("%+v", all)
	}
	j.piece = all[0]
	j.equal(len(drain(j.c.Pieces(ctx, client.PieceFilter{Plan: 99}))(j.T)), 0)
}

func (j *journey) getPiece(ctx context.Context) {
	for _, ref := range []string{strconv.FormatInt(j.piece.ID, 10), j.piece.PieceCID, j.piece.PieceCIDv1} {
		j.equal(got(j.c.Piece(ctx, ref))(j.T), j.piece)
	}
}

func (j *journey) verifyPiece(ctx context.Context) {
	j.equal(got(j.c.VerifyPiece(ctx, j.piece.PieceCIDv1))(j.T), client.PieceCheck{PieceCID: j.piece.PieceCID, OK: true, Damaged: []client.PieceDamage{}})
}

func (j *journey) addProviders(ctx context.Context) {
	for _, p := range j.net.Info().Providers {
		one := got(j.c.AddProvider(ctx, p.ID))(j.T)
		j.equal(one.State, "online")
		j.equal(one.HTTP, p.HTTP)
	}
	j.refused(errOf(j.c.AddProvider(ctx, "f099999")), 400, client.KindInvalid)
}

func (j *journey) actor() string { return j.net.Info().Providers[0].ID }

func (j *journey) listProviders(ctx context.Context) {
	j.equal(len(drain(j.c.Providers(ctx, client.ProviderFilter{State: "online"}))(j.T)), 2)
}

func (j *journey) getProvider(ctx context.Context) {
	j.equal(got(j.c.Provider(ctx, j.actor()))(j.T).Actor, j.actor())
}

func (j *journey) refreshProvider(ctx context.Context) {
	j.equal(got(j.c.RefreshProvider(ctx, j.actor()))(j.T).State, "online")
}

func (j *journey) createPolicy(ctx context.Context) {
	j.refused(errOf(j.c.CreatePolicy(ctx, client.NewPolicy{Copies: -1})), 400, client.KindInvalid)
	j.refused(errOf(j.c.CreatePolicy(ctx, client.NewPolicy{Copies: 1000, MaxPrice: "0"})), 400, client.KindInvalid)
	j.policy = got(j.c.CreatePolicy(ctx, client.NewPolicy{Name: "two", Copies: 2, MaxPrice: "0", StartDelayEpochs: 2000}))(j.T)
	j.equal(j.policy.State, "active")
	j.equal(j.policy.URLTemplate, "")
}

func (j *journey) listPolicies(ctx context.Context) {
	j.equal(len(drain(j.c.Policies(ctx, client.PolicyFilter{State: "active"}))(j.T)), 1)
}

func (j *journey) getPolicy(ctx context.Context) {
	j.until("two copies are active", func() bool {
		p := got(j.c.Policy(ctx, j.policy.ID))(j.T)
		return p.Status.Wanted == 2 && p.Status.Active == 2
	})
	j.until("the content says so", func() bool {
		c := got(j.c.Content(ctx, j.tree.CID))(j.T)
		return c.State == "stored_on_filecoin" && c.Copies == client.Copies{Wanted: 2, Active: 2}
	})
}

func (j *journey) pausePolicy(ctx context.Context) {
	j.equal(got(j.c.PausePolicy(ctx, j.policy.ID))(j.T).State, "paused")
}

func (j *journey) resumePolicy(ctx context.Context) {
	j.equal(got(j.c.ResumePolicy(ctx, j.policy.ID))(j.T).State, "active")
}

func (j *journey) dryRun(ctx context.Context) {
	if steps := got(j.c.DryRun(ctx, j.policy.ID))(j.T); steps == nil {
		j.Error("no list")
	}
}

func (j *journey) listDeals(ctx context.Context) {
	all := drain(j.c.Deals(ctx, client.DealFilter{State: "active", Piece: j.piece.ID, Policy: j.policy.ID}))(j.T)
	if len(all) != 2 || all[0].PieceCID != j.piece.PieceCID {
		j.Fatalf("%+v", all)
	}
	j.deal = all[0]
	j.equal(len(drain(j.c.Deals(ctx, client.DealFilter{Provider: j.deal.Provider}))(j.T)), 1)
}

func (j *journey) getDeal(ctx context.Context) {
	d := got(j.c.Deal(ctx, j.deal.UUID))(j.T)
	if !strings.HasSuffix(d.URL, "/piece/"+d.PieceCID) || d.Outside {
		j.Errorf("fetched from %s", d.URL)
	}
	if n := len(d.Observations); n < 3 || d.Observations[n-1].To != "active" {
		j.Errorf("%+v", d)
	}
}

func (j *journey) liveness(ctx context.Context) {
	for _, ref := range []string{j.deal.UUID, j.deal.ProposalCID} {
		j.equal(got(j.c.DealLiveness(ctx, ref))(j.T), client.Liveness{Wanted: true, State: "active"})
	}
}

// retrieve downloads from providers, a lying one first.
func (j *journey) retrieve(ctx context.Context) {
	j.equal(j.carOf(ctx, j.tree, j.deal.Provider), j.deal.Provider)
	bad := j.net.Info().Providers[0].ID
	good := j.net.Info().Providers[1].ID
	j.must(j.net.SetFault(bad, devnet.WrongBytes))
	j.equal(j.carOf(ctx, j.tree, client.AnyProvider), good)
	j.carOf(ctx, j.file, client.AnyProvider) // small enough to pass between the altered bytes
	d, err := j.c.ContentCAR(ctx, j.tree.CID, bad)
	if err == nil { // its first blocks were right
		_, err = io.Copy(io.Discard, d)
		d.Close()
	}
	if err == nil {
		j.Error("a download of wrong bytes ended well")
	}
	failed := drain(j.c.Retrievals(ctx, client.RetrievalFilter{State: "failed", Provider: bad}))(j.T)
	if len(failed) == 0 || failed[0].Reason == "" || failed[0].Root != j.tree.CID {
		j.Errorf("%+v", failed)
	}
	if fine := drain(j.c.Retrievals(ctx, client.RetrievalFilter{State: "ok", Root: j.tree.CID}))(j.T); len(fine) < 2 || fine[0].Bytes < 1<<20 {
		j.Errorf("%+v", fine)
	}
}

func (j *journey) observations(ctx context.Context) {
	all := drain(j.c.ProviderObservations(ctx, j.actor()))(j.T)
	if !slices.ContainsFunc(all, func(o client.ProviderObservation) bool { return o.Code == "wrong_bytes" && !o.OK }) {
		j.Errorf("%+v", all)
	}
}

func (j *journey) updatePolicy(ctx context.Context) {
	copies := 1
	p := got(j.c.UpdatePolicy(ctx, j.policy.ID, client.PolicyChange{Copies: &copies}))(j.T)
	if p.Copies != 1 || p.Name != "two" {
		j.Errorf("%+v", p)
	}
	template, bad, headers := "https://cdn.example/{piece_cid}.car", "https://cdn.example/", client.Headers{"authorization": "Bearer tell-nobody"}
	j.refused(errOf(j.c.UpdatePolicy(ctx, p.ID, client.PolicyChange{URLTemplate: &bad})), 400, client.KindInvalid)
	j.refused(errOf(j.c.UpdatePolicy(ctx, p.ID, client.PolicyChange{HTTPHeaders: &headers})), 400, client.KindInvalid)
	got(j.c.UpdatePolicy(ctx, p.ID, client.PolicyChange{URLTemplate: &template, HTTPHeaders: &headers}))(j.T)
	_, text := j.call(http.MethodGet, fmt.Sprintf("/v1/policies/%d", p.ID), j.secret, nil)
	if !bytes.Contains(text, []byte(`"url_template":"`+template+`","http_headers":{"Authorization":"***"}`)) || bytes.Contains(text, []byte("tell-nobody")) {
		j.Errorf("%s", text)
	}
}

func (j *journey) removePolicy(ctx context.Context) {
	j.must(j.c.RemovePolicy(ctx, j.policy.ID))
	j.equal(len(drain(j.c.Policies(ctx, client.PolicyFilter{}))(j.T)), 0)
}

func (j *journey) removeProvider(ctx context.Context) {
	j.must(j.c.RemoveProvider(ctx, j.actor()))
	j.refused(errOf(j.c.Provider(ctx, j.actor())), 404, client.KindNotFound)
}

func (j *journey) listJobs(ctx context.Context) {
	all := drain(j.c.Jobs(ctx, client.JobFilter{Kind: "piece.pack", State: "done"}))(j.T)
	if len(all) != 1 || all[0].FinalizedAt == nil {
		j.Fatalf("%+v", all)
	}
	j.job = all[0]
}

func (j *journey) getJob(ctx context.Context) {
	j.equal(got(j.c.Job(ctx, j.job.ID))(j.T).Kind, "piece.pack")
}

func (j *journey) retryJob(ctx context.Context) {
	j.refused(errOf(j.c.RetryJob(ctx, j.job.ID)), 409, client.KindConflict)
	id := j.parked()
	j.equal(got(j.c.RetryJob(ctx, id))(j.T).ID, id)
}

func (j *journey) cancelJob(ctx context.Context) {
	j.refused(errOf(j.c.CancelJob(ctx, j.job.ID)), 409, client.KindConflict)
	id := j.parked()
	j.equal(got(j.c.CancelJob(ctx, id))(j.T).ID, id)
}

func (j *journey) removeContent(ctx context.Context) {
	j.must(j.c.RemoveContent(ctx, strconv.FormatInt(j.file.ID, 10)))
	j.refused(errOf(j.c.Content(ctx, strconv.FormatInt(j.file.ID, 10))), 404, client.KindNotFound)
	if all := drain(j.c.Contents(ctx, client.ContentFilter{State: "removed"}))(j.T); len(all) != 1 {
		j.Errorf("%+v", all)
	}
}

// events replays everything, then what comes; and goes on in the middle.
func (j *journey) events(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var seen []client.Event
	for e, err := range j.c.Events(ctx, 0, "") {
		j.must(err)
		if seen = append(seen, e); e.Kind == "content.removed" {
			break
		}
	}
	for i, e := range seen {
		if e.Pos != int64(i+1) {
			j.Fatalf("event %d is %+v", i, e)
		}
	}
	middle := seen[len(seen)/2]
	for e, err := range j.c.Events(ctx, middle.Pos, "") {
		j.must(err)
		j.equal(e.Pos, middle.Pos+1)
		break
	}
	for e, err := range j.c.Events(ctx, 0, "piece.ready") {
		j.must(err)
		j.equal(e.Kind, "piece.ready")
		break
	}
	go func() { _, _ = j.c.AddFile(ctx, "late", strings.NewReader("late"), client.AddOptions{}) }()
	for e, err := range j.c.Events(ctx, seen[len(seen)-1].Pos, "content.stored") {
		j.must(err)
		j.equal(e.Kind, "content.stored")
		break
	}
}
