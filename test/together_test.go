package test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/source/sourcetest"
	"github.com/firth-project/firth/client"
)

// The main job with every role in one process: a tree goes in and comes back
// from the providers that keep it, by commands alone.
func TestTogether(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 3)
	d := newNode(t, "the node", n)
	if s := d.start(t); s.API != "http://"+d.addr || s.Gateway != s.API || s.Token == "" || len(s.Roles) < 6 {
		t.Errorf("serving %+v", s)
	}
	introduce(t, n, d, d)
	mainJob(t, n, d)
	d.stop(t)
}

// The same with the doors in one process and the work in another: they share a
// database, a blob store in S3 and a secret, and both meet the database empty.
func TestApart(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 3)
	doors, workers := newApart(t, n, bucket(t)...)
	workers.launch(t)
	doors.launch(t)
	if s := doors.up(t); s.API == "" || s.Gateway == "" || len(s.Roles) != 2 {
		t.Errorf("doors: %+v", s)
	}
	if s := workers.up(t); s.API != "" || s.Gateway != "" || len(s.Roles) != 4 {
		t.Errorf("workers: %+v", s)
	}
	introduce(t, n, doors, workers)
	mainJob(t, n, doors)
	if nodes := decode[[]client.Node](t, doors.firth(t, "node", "ls", "--json")); len(nodes) != 2 {
		t.Errorf("nodes: %+v", nodes)
	}
	workers.stop(t)
	doors.stop(t)
}

// bucket starts an S3 server, and settings that have a node keep its blobs there.
func bucket(t *testing.T) (settings []string) {
	t.Helper()
	name, o, _ := sourcetest.S3(t)
	return []string{
		"FIRTH_BLOB=" + name + "/node?endpoint=" + url.QueryEscape(o["endpoint"]) + "&region=" + o["region"],
		"FIRTH_S3_ACCESS_KEY=" + o["access_key_id"], "FIRTH_S3_SECRET_KEY=" + o["secret_access_key"],
	}
}

// newApart prepares a node in two processes over PostgreSQL, which share a
// directory of blobs unless settings name another place.
func newApart(t *testing.T, n network, settings ...string) (doors, workers *node) {
	t.Helper()
	shared := []string{"FIRTH_SECRET=a secret for two processes", "FIRTH_BLOB=" + t.TempDir(), "FIRTH_DATABASE=" + dbtest.PostgresURL(t)}
	shared = append(shared, settings...)
	doors = newNode(t, "the doors", n, "--roles", "api,gateway")
	workers = newNode(t, "the workers", n, "--roles", "packer,dealer,tracker,index")
	shared = append(shared, "FIRTH_PUBLIC_URL=http://"+doors.addr, "FIRTH_WALLET="+filepath.Join(workers.home, "wallet"))
	doors.env, workers.env = append(doors.env, shared...), append(workers.env, shared...)
	return doors, workers
}

// mainJob takes a tree through its whole life.
func mainJob(t *testing.T, n network, d *node) {
	t.Helper()
	const copies = 2
	keep(t, n, d, copies)
	source := curious(t)
	added := decode[client.Content](t, d.firth(t, "add", "--json", source))
	if added.CID == "" || added.State != "stored" || added.Bucket == 0 || added.Files != 19 {
		t.Fatalf("added %+v", added)
	}
	d.firth(t, "bucket", "close", fmt.Sprint(added.Bucket))
	content := kept(t, d.client(t), added.ID, 3*time.Minute)
	if content.Copies.Active != copies || content.Copies.Wanted != copies {
		t.Errorf("copies %+v", content.Copies)
	}
	onChain := n.deals(t)
	active := decode[[]client.Deal](t, d.firth(t, "deal", "ls", "--json", "--state", "active"))
	if len(active) != copies {
		t.Errorf("%d deals are active: %+v", len(active), active)
	}
	for _, deal := range active {
		piece := decode[client.Piece](t, d.firth(t, "piece", "show", "--json", deal.PieceCID))
		there, ok := onChain[fmt.Sprint(deal.DealID)]
		if !ok || there.Proposal.PieceCID.String() != piece.PieceCIDv1 || int64(there.Proposal.PieceSize) != piece.PaddedSize ||
			!strings.HasSuffix(there.Proposal.Provider.String(), deal.Provider[1:]) {
			t.Errorf("deal %+v is on chain (%v) as %+v", deal, ok, there.Proposal)
		}
		out := filepath.Join(t.TempDir(), "back")
		d.firth(t, "get", added.CID, "--provider", deal.Provider, "-o", out)
		sameTree(t, source, out)
	}
	out := filepath.Join(t.TempDir(), "local")
	d.firth(t, "get", added.CID, "-o", out)
	sameTree(t, source, out)
}
