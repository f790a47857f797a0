package dataset_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/blob/s3"
	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source/sourcetest"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
)

// buckets opens what is on one S3 server.
type buckets struct {
	options map[string]string
	opened  atomic.Int64
}

// OpenBucket implements piece.Buckets.
func (b *buckets) OpenBucket(ctx context.Context, url string) (blob.Store, error) {
	b.opened.Add(1)
	p, err := s3.Parse(url)
	if err != nil {
		return nil, err
	}
	p.Endpoint, p.Region = b.options["endpoint"], b.options["region"]
	return s3.Open(ctx, p, s3.Options{AccessKey: b.options["access_key_id"], SecretKey: b.options["secret_access_key"], Exact: true})
}

// Tidy implements piece.Buckets.
func (b *buckets) Tidy(context.Context, string) {}

// objects are the keys of a bucket, each with its bytes.
func objects(t *testing.T, b *buckets, url string) map[string][]byte {
	t.Helper()
	store := ok(b.OpenBucket(t.Context(), url))(t)
	all := map[string][]byte{}
	for info, err := range store.List(t.Context(), "", "") {
		must(t, err)
		r, err := store.Get(t.Context(), info.Key, 0, -1)
		if fault.Is(err, fault.NotFound) {
			continue // it was deleted since it was listed
		}
		must(t, err)
		all[info.Key] = ok(io.ReadAll(r))(t)
		must(t, r.Close())
	}
	return all
}

// CARs in a bucket are those of a directory, and pieces are read from there.
func TestExportToBucket(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	source, options, _ := sourcetest.S3(t)
	b := &buckets{options: options}
	h.pieces.ExportTo(b)
	h.run()
	dir := tree(t, map[string][]byte{"a/big": noise(1, 7*MiB), "a/small": noise(2, 10), "b": noise(3, 100_000), "z/empty": {}})
	local, away, again := small(), small(), small()
	local.Export, away.Export, again.Export = t.TempDir(), source+"/cars", source+"/cars"
	h.prepare(h.create("local", dir, local))
	p := h.prepare(h.create("away", dir, away))
	url := "s3://dataset/cars"
	there := objects(t, b, url)
	for _, one := range h.dataPieces(p.ID) { // the index's own piece holds the dataset's name
		if want := ok(os.ReadFile(piece.CARIn(local.Export, one.CID)))(t); !bytes.Equal(there[one.CID+".car"], want) {
			t.Errorf("%s: %d bytes in the bucket, %d in the directory", one.CID, len(there[one.CID+".car"]), len(want))
		}
	}
	if n := len(ok(os.ReadDir(local.Export))(t)); n != len(there) || n < 3 {
		t.Errorf("%d CARs in the directory, %d in the bucket", n, len(there))
	}
	until(t, func() bool { return len(ok(os.ReadDir(filepath.Join(h.dir, "work")))(t)) == 0 }) // nor a spool

	for _, one := range h.dataPieces(p.ID) {
		if one.CAR != piece.CARIn(url, one.CID) {
			t.Errorf("piece %s stands at %q", one.CID, one.CAR)
		}
		car, found := h.pieces.OpenStored(t.Context(), one)
		if !found {
			t.Fatalf("piece %s is not read from the bucket", one.CID)
		}
		want := there[one.CID+".car"]
		if got := ok(io.ReadAll(car))(t); !bytes.Equal(got, want) {
			t.Errorf("piece %s is read otherwise", one.CID)
		}
		some := make([]byte, 1000)
		for _, off := range []int64{0, 17, one.CARSize / 2, one.CARSize - 1000} {
			if n, err := car.ReadAt(some, off); n != len(some) || !bytes.Equal(some, want[off:off+1000]) {
				t.Errorf("at %d: %d bytes, %v", off, n, err)
			}
		}
		if _, bad, err := h.pieces.Verify(t.Context(), project, one.CID, nil); err != nil || len(bad) > 0 {
			t.Errorf("verify: %v, %v", bad, err)
		}
		must(t, car.Close())
	}

	// Two datasets wrote them. The first that is removed leaves them.
	second := h.prepare(h.create("again", dir, again))
	must(t, h.data.Remove(t.Context(), project, p.ID, true))
	if left := objects(t, b, url); len(left) < len(h.dataPieces(second.ID)) || len(left) == 0 {
		t.Errorf("%d CARs are left for the second dataset", len(left))
	}
	must(t, h.data.Remove(t.Context(), project, second.ID, true))
	if left := objects(t, b, url); len(left) != 0 {
		t.Errorf("%d CARs are left for nobody", len(left))
	}
}

// A bucket that cannot be reached is told before anything is packed.
func TestExportToNoBucket(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.pieces.ExportTo(refusing{})
	h.run()
	rules := small()
	rules.Export = "s3:nowhere/cars"
	d := h.create("d", tree(t, map[string][]byte{"a": noise(1, MiB)}), rules)
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	until(t, func() bool { p = h.preparation(p.ID); return p.State == dataset.Failed })
	if !strings.Contains(p.Reason, "no such bucket") || !strings.Contains(p.Reason, "s3://nowhere/cars") {
		t.Errorf("reason %q", p.Reason)
	}
	for _, place := range []string{"relative", "s3:", "s3://key:secret@bucket", "s3:" + strings.Repeat("x", 5000)} {
		rules.Export = place
		_, err := h.data.Create(t.Context(), project, "bad", rules, dataset.NewSource{URL: "/tmp"})
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%.40s: %v", place, err)
		}
	}
}

type refusing struct{}

func (refusing) OpenBucket(context.Context, string) (blob.Store, error) {
	return nil, fault.New(fault.Invalid, "no such bucket")
}
func (refusing) Tidy(context.Context, string) {}

// What a policy lets go is deleted in the bucket, and the piece is read from its
// source again.
func TestReleaseFromBucket(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	source, options, _ := sourcetest.S3(t)
	b := &buckets{options: options}
	h.pieces.ExportTo(b)
	h.run()
	dir := tree(t, map[string][]byte{"a": noise(1, MiB)})
	rules := small()
	rules.Export = source
	p := h.prepare(h.create("d", dir, rules))
	one := h.dataPieces(p.ID)[0]
	must(t, h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error { return h.pieces.Release(ctx, tx, one.ID, "enough") }))
	until(t, func() bool { _, there := objects(t, b, source)[one.CID+".car"]; return !there })
	until(t, func() bool { return h.dataPieces(p.ID)[0].CAR == "" })
	s := shelf{}
	s.read(h, h.dataPieces(p.ID)...)
	same(t, dir, s.export(t, p.Root))
}

// Killed at any moment on the way to a bucket, a preparation goes on and ends
// the same; at no moment is there anything in the bucket but whole CARs.
func TestKilledOnTheWayToABucket(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	source, options, _ := sourcetest.S3(t)
	b := &buckets{options: options}
	dir := tree(t, map[string][]byte{"big": noise(78, 12*MiB), "small": noise(79, 1000)})
	rules := dataset.Rules{PieceSize: 16 * MiB, Export: source} // sent in several parts
	h := furnish(t, reopen(t, home), home)
	p := ok(h.data.Start(t.Context(), project, h.create("d", dir, rules).ID))(t)
	must(t, h.blocks.Close())
	must(t, h.db.Close())
	kills := 0
	for patience := 300 * time.Millisecond; !runs(t, patience, nodeDir+"="+home, nodeBucket+"="+string(ok(json.Marshal(options))(t))); kills++ {
		patience += patience / 3
		for key, body := range objects(t, b, source) {
			piece := ok(cid.Decode(strings.TrimSuffix(key, ".car")))(t)
			if want := ok(commp.FromCIDv2(piece))(t); want.RawSize != uint64(len(body)) {
				t.Errorf("after %d kills %s has %d bytes of %d", kills+1, key, len(body), want.RawSize)
			}
		}
	}
	t.Logf("killed %d times", kills)
	h = furnish(t, reopen(t, home), home)
	h.pieces.ExportTo(b)
	p = h.preparation(p.ID)
	if p.State != dataset.Complete || p.Root != rootOf(t, dir) || p.Skipped != 0 {
		t.Fatalf("preparation %+v", p)
	}
	there := objects(t, b, source)
	for _, one := range h.dataPieces(p.ID) {
		if got := there[one.CID+".car"]; int64(len(got)) != one.CARSize {
			t.Errorf("piece %s has %d bytes in the bucket", one.CID, len(got))
		}
		if _, bad, err := h.pieces.Verify(t.Context(), project, one.CID, nil); err != nil || len(bad) > 0 {
			t.Errorf("verify: %v, %v", bad, err)
		}
	}
}

// runs has a node of its own process finish what there is to do; false when it
// took longer, and was killed.
func runs(t *testing.T, patience time.Duration, env ...string) bool {
	t.Helper()
	node := exec.Command(os.Args[0], "-test.run=^TestNode$")
	node.Env = append(os.Environ(), env...)
	var out strings.Builder
	node.Stdout, node.Stderr = &out, &out
	must(t, node.Start())
	ended := make(chan error, 1)
	go func() { ended <- node.Wait() }()
	enough := time.NewTimer(patience)
	defer enough.Stop()
	var err error
	select {
	case err = <-ended:
	case <-enough.C:
		killing := node.Process.Kill()
		err = <-ended
		if !errors.Is(killing, os.ErrProcessDone) { // it may end at that very moment
			must(t, killing)
			return false
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return true
}
