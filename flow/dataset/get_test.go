package dataset_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/flow/dataset"
)

// What was exported is all that is needed: with the sources and the node gone,
// the index leads to every file, of earlier preparations too.
func TestIndexLeadsToFiles(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	dir := tree(t, map[string][]byte{
		"big": noise(1, 11*MiB+5), "a/one": noise(2, 200_000), "a/copy": noise(2, 200_000), "a/empty": {}, "b/two": noise(3, 3*MiB), "c": noise(4, 10), "none": nil,
	})
	must(t, os.Symlink("a/one", filepath.Join(dir, "link")))
	rules := small()
	rules.Export = t.TempDir()
	d := h.create("d", dir, rules)
	h.prepare(d)
	write(t, filepath.Join(dir, "a/new"), noise(5, 4*MiB+1))
	write(t, filepath.Join(dir, "c"), noise(6, 11))
	p := h.prepare(d)

	want := t.TempDir()
	must(t, os.CopyFS(want, os.DirFS(dir)))
	must(t, os.RemoveAll(dir))
	place := ok(indexdag.OpenPlace(rules.Export, nil))(t)
	f := ok(indexdag.NewFetcher([]indexdag.Place{place}, indexdag.FetchOptions{}))(t)
	r := ok(indexdag.Open(t.Context(), f, cid.MustParse(p.IndexRoot)))(t)
	if head := r.Header(); head.Root.String() != p.Root || head.Name != "d" || head.Files != p.Files || head.Bytes != p.Bytes {
		t.Errorf("header %+v", head)
	}
	out := t.TempDir()
	got, err := f.Fetch(t.Context(), r, "", out)
	if err != nil {
		t.Fatalf("%+v: %v", got, err)
	}
	same(t, want, out)

	one := t.TempDir()
	ok(f.Fetch(t.Context(), r, "big", one))(t)
	ok(f.Fetch(t.Context(), r, "a", one))(t)
	for _, name := range []string{"big", "a/new", "a/copy"} {
		if info := ok(os.Stat(filepath.Join(one, name)))(t); info.Size() == 0 {
			t.Errorf("%s is empty", name)
		}
	}
}

// What can never succeed ends in a failure with its reason, and goes on when
// somebody has mended it.
func TestFailureForGood(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	dir := tree(t, map[string][]byte{"a": noise(1, 3*MiB), "b": noise(2, 3*MiB), "c": noise(3, 3*MiB)})
	d := ok(h.data.Create(t.Context(), project, "d", small(), dataset.NewSource{URL: dir, Options: map[string]string{"retries": "1"}}))(t)
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	h.hireSealed(wrongSeal{})
	stop := h.run()
	until(t, func() bool { return h.preparation(p.ID).State == dataset.Failed })
	if now := h.preparation(p.ID); !strings.Contains(now.Reason, "secret") || now.NextAttempt != nil || now.Stage != dataset.Scanning {
		t.Errorf("preparation %+v", now)
	}
	stop()
	h.hireSealed(seal{})
	ok(h.data.Resume(t.Context(), project, p.ID))(t)
	h.scanOnly(p.ID)()

	h.hireSealed(wrongSeal{})
	stop = h.run()
	until(t, func() bool { return h.preparation(p.ID).State == dataset.Failed })
	stop()
	h.hireSealed(seal{})
	failed := 0
	for _, c := range h.chunks(p.ID) {
		if c.State == dataset.ChunkFailed {
			failed++
			ok(h.data.RetryChunk(t.Context(), project, c.ID))(t)
		}
	}
	if failed == 0 {
		t.Errorf("no chunk has failed: %+v", h.chunks(p.ID))
	}
	h.run()
	if p = h.complete(p.ID); p.Root != rootOf(t, dir) || p.Skipped != 0 {
		t.Errorf("preparation %+v", p)
	}
}

// Files are compressed and encrypted on their way, and only who has the key
// gets them back.
func TestEncoded(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite)
	h.run()
	dir := tree(t, map[string][]byte{
		"text": bytes.Repeat([]byte("all work and no play "), 130_000), "noise": noise(1, 2*MiB), "more/noise": noise(2, 2*MiB), "more/empty": {}, "huge": noise(3, 5*MiB),
		"secret": []byte("swordfish swordfish swordfish"),
	})
	key := ok(age.GenerateX25519Identity())(t)
	rules := small()
	rules.Compress, rules.Encrypt = dataset.Zstd, []string{key.Recipient().String()}
	if _, err := h.data.Create(t.Context(), project, "d", rules); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "export") {
		t.Errorf("without a place for CARs: %v", err)
	}
	for _, bad := range []dataset.Rules{{Compress: "gzip", Export: "/x"}, {Encrypt: []string{"age1nonsense"}, Export: "/x"}} {
		if _, err := h.data.Create(t.Context(), project, "d", bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	rules.Export = t.TempDir()
	d := h.create("d", dir, rules)
	p := h.prepare(d)
	huge := h.files(p.ID, dataset.Query{PathPrefix: "huge"})
	if len(huge) != 1 || len(huge[0].Parts) != 2 || huge[0].Parts[1].Offset != huge[0].Parts[0].Length || p.Skipped != 0 {
		t.Errorf("huge %+v", huge)
	}
	text := h.files(p.ID, dataset.Query{PathPrefix: "text"})
	if len(text) != 1 || text[0].Size != 2_730_000 || text[0].Parts[0].Length > 10_000 {
		t.Errorf("text %+v", text)
	}
	again := h.prepare(d)
	if again.Root != p.Root || again.Carried != 6 || len(h.dataPieces(again.ID)) != 0 {
		t.Errorf("again: %+v", again)
	}

	for _, e := range ok(os.ReadDir(rules.Export))(t) {
		if bytes.Contains(ok(os.ReadFile(filepath.Join(rules.Export, e.Name())))(t), []byte("swordfish")) {
			t.Errorf("%s has the secret", e.Name())
		}
	}
	place := ok(indexdag.OpenPlace(rules.Export, nil))(t)
	f := ok(indexdag.NewFetcher([]indexdag.Place{place}, indexdag.FetchOptions{Identities: []age.Identity{key}}))(t)
	r := ok(indexdag.Open(t.Context(), f, cid.MustParse(p.IndexRoot)))(t)
	out := t.TempDir()
	ok(f.Fetch(t.Context(), r, "", out))(t)
	same(t, dir, out)

	rules.Compress = ""
	ok(h.data.SetRules(t.Context(), project, d.ID, rules))(t)
	if other := h.prepare(d); other.Carried != 0 {
		t.Errorf("files that were packed another way were carried over: %+v", other)
	}
}

// A file that was cut before it was compressed comes out the same however
// often its packing was killed, is found again by a later preparation, and is
// read from the middle by the pieces that hold the middle.
func TestCutStreams(t *testing.T) {
	t.Parallel()
	huge := noise(9, 10*MiB+3)
	copy(huge[5*MiB:], make([]byte, MiB))
	dir := tree(t, map[string][]byte{"a": noise(1, 100_000), "huge": huge, "huge.part-0-10": noise(2, 10), "z": noise(3, 2*MiB)})
	rules := small()
	rules.Compress, rules.Export = dataset.Zstd, t.TempDir()
	quiet := build(t, dbtest.SQLite)
	quiet.run()
	want := quiet.prepare(quiet.create("d", dir, rules))

	home := t.TempDir()
	rules.Export = t.TempDir()
	h := furnish(t, reopen(t, home), home)
	d := h.create("d", dir, rules)
	p := ok(h.data.Start(t.Context(), project, d.ID))(t)
	must(t, h.blocks.Close())
	must(t, h.db.Close())
	killed(t, home)
	h = furnish(t, reopen(t, home), home)
	if p = h.preparation(p.ID); p.State != dataset.Complete || p.Root != want.Root || p.Skipped != 0 {
		t.Fatalf("preparation %+v, want root %s", p, want.Root)
	}
	h.run()
	write(t, filepath.Join(dir, "new"), noise(4, 1000))
	p = h.prepare(d)
	found := h.files(p.ID, dataset.Query{PathPrefix: "huge"})
	if len(found) != 2 || len(found[0].Parts) < 3 || found[0].State != dataset.FileCarried {
		t.Fatalf("found %+v", found)
	}

	place := ok(indexdag.OpenPlace(rules.Export, nil))(t)
	f := ok(indexdag.NewFetcher([]indexdag.Place{place}, indexdag.FetchOptions{}))(t)
	r := ok(indexdag.Open(t.Context(), f, cid.MustParse(p.IndexRoot)))(t)
	out := t.TempDir()
	ok(f.Fetch(t.Context(), r, "", out))(t)
	same(t, dir, out)
	second := found[0].Parts[1]
	for _, c := range h.chunks(1) { // all other pieces are gone
		for _, id := range c.Pieces {
			if id != second.Piece {
				one := ok(h.pieces.Get(t.Context(), project, strconv.FormatInt(id, 10)))(t)
				must(t, os.Remove(filepath.Join(rules.Export, one.CID+".car")))
			}
		}
	}
	f = ok(indexdag.NewFetcher([]indexdag.Place{ok(indexdag.OpenPlace(rules.Export, nil))(t)}, indexdag.FetchOptions{}))(t)
	var got bytes.Buffer
	must(t, f.FetchRange(t.Context(), r, "huge", second.Offset+7, second.Length-7, &got))
	if !bytes.Equal(got.Bytes(), huge[second.Offset+7:second.Offset+second.Length]) {
		t.Errorf("%d other bytes", got.Len())
	}
	if err := f.FetchRange(t.Context(), r, "huge", second.Offset-1, 2, io.Discard); !fault.Is(err, fault.NotFound) {
		t.Errorf("what only a lost piece holds: %v", err)
	}
}
