package piece_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/piece"
)

// slowly serves a CAR under an entity tag, counts its bytes, and holds each
// connection after some of them until the client goes.
type slowly struct {
	*httptest.Server
	body   atomic.Pointer[[]byte]
	tag    atomic.Pointer[string]
	served atomic.Int64
	hold   atomic.Int64 // bytes of a connection; 0 is all
}

func serveSlowly(t *testing.T, body []byte) *slowly {
	s := &slowly{}
	s.set(body, `"one"`)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tag := *s.tag.Load(); tag != "" {
			w.Header().Set("ETag", tag)
		}
		http.ServeContent(&counted{w, r, s, s.hold.Load()}, r, "", time.Time{}, bytes.NewReader(*s.body.Load()))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *slowly) set(body []byte, tag string) { s.body.Store(&body); s.tag.Store(&tag) }

type counted struct {
	http.ResponseWriter
	r    *http.Request
	s    *slowly
	left int64
}

func (c *counted) Write(p []byte) (int, error) {
	if c.s.hold.Load() > 0 && c.left <= 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		<-c.r.Context().Done()
		return 0, c.r.Context().Err()
	}
	n, err := c.ResponseWriter.Write(p)
	c.left -= int64(n)
	c.s.served.Add(int64(n))
	return n, err
}

const importerDir = "FIRTH_TEST_IMPORTER"

// importer is a node over stores in a directory.
func importer(t *testing.T, dir string, apart bool) *house {
	t.Helper()
	d := dbtest.Reopen(t, "sqlite:"+filepath.Join(dir, "firth.db"), event.Migrations, piece.Migrations())
	must(t, job.Migrate(t.Context(), d))
	h := &house{t: t, blobs: ok(disk.Open(filepath.Join(dir, "blobs")))(t)}
	h.second(d, piece.Settings{
		WorkDir: filepath.Join(dir, "work"), KeepBytes: commp.SlotRaw, Lease: 300 * time.Millisecond, ImportsApart: apart,
	}, nil)
	h.pieces.ConnectBy(http.DefaultClient)
	return h
}

// TestImporter is the process that TestImportGoesOn kills.
func TestImporter(t *testing.T) {
	dir := os.Getenv(importerDir)
	if dir == "" {
		t.Skip("runs as another test's process")
	}
	h := importer(t, dir, false)
	h.run()
	until(t, func() bool {
		im := ok(h.pieces.ImportByID(t.Context(), project, 1))(t)
		return im.State == piece.ImportDone
	})
}

// box is a Seal that only turns its bytes around.
type box struct{}

func (box) Seal(b []byte) ([]byte, error) {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return b, nil
}

func (b box) Open(sealed []byte) ([]byte, error) { return b.Seal(sealed) }

// User and password of an URL are sent to its server, and are nowhere to be read.
func TestImportByLogin(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{ImportsApart: true}, nil) // with nobody apart
		h.pieces.ConnectBy(http.DefaultClient)
		car, _ := own(3, 1000)
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, pass, _ := r.BasicAuth(); user != "an n" || pass != "s3cr:t/@" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(car))
		}))
		defer web.Close()
		host := strings.TrimPrefix(web.URL, "http://")
		n := piece.NewImport{Place: "http://an%20n:s3cr%3At%2F%40@" + host + "/x.car?a=b"}
		if _, err := h.pieces.Import(t.Context(), project, n); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "s3cr") {
			t.Errorf("without a seal: %v", err)
		}
		h.pieces.SealBy(box{})
		odd := piece.NewImport{Place: "http://ann:s3cr t@" + host + "/%zz"}
		if _, err := h.pieces.Import(t.Context(), project, odd); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "s3cr") {
			t.Errorf("of no URL: %v", err)
		}
		logins := func() (all []string) {
			must(t, h.db.Read().NewSelect().Table("piece_import").ColumnExpr("COALESCE(login, '')").Order("id").Scan(t.Context(), &all))
			return all
		}
		im := ok(h.pieces.Import(t.Context(), project, n))(t)
		if im.Place != web.URL+"/x.car?a=b" || logins()[0] != flipped(`{"user":"an%20n:s3cr%3At%2F%40"}`) {
			t.Errorf("%+v, %q", im, logins())
		}
		if _, _, err := h.pieces.ClaimImport(t.Context(), project, 1, "apart"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a node apart gets it: %v", err)
		}
		defer h.run()()
		h.pieceOf(h.imported(n))
		n.Place = strings.Replace(n.Place, "s3cr", "secr", 1)
		if im = h.imported(n); im.State != piece.ImportFailed || im.FaultKind != "forbidden" || strings.Contains(im.Reason, "secr") || !strings.Contains(im.Reason, "401") {
			t.Errorf("%+v", im)
		}
		if kept := strings.Join(logins(), ""); kept != "" {
			t.Errorf("kept behind the end: %q", kept)
		}
	})
}

func flipped(s string) string { b, _ := box{}.Seal([]byte(s)); return string(b) }

// A signed URL opens its one thing: workers apart are given it, nobody else
// reads its signature, and another time it has to be given again.
func TestImportOfSigned(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{ImportsApart: true}, nil)
	h.pieces.ConnectBy(http.DefaultClient)
	h.pieces.SealBy(box{})
	car, _ := own(3, 1000)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "x=%20&X-Amz-Signature=s3cr%2Ft&y" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(car))
	}))
	defer web.Close()
	signed := web.URL + "/x.car?x=%20&X-Amz-Signature=s3cr%2Ft&y"
	im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: signed}))(t)
	if im.Place != web.URL+"/x.car?x=%20&X-Amz-Signature=***&y" {
		t.Errorf("shown as %s", im.Place)
	}
	claimed, _, err := h.pieces.ClaimImport(t.Context(), project, 1, "apart")
	must(t, err)
	if got := ok(h.pieces.Address(claimed))(t); got != signed {
		t.Errorf("the worker is given %s", got)
	}
	must(t, h.pieces.GiveUpImport(t.Context(), piece.Owner{Project: project, Token: 1, Import: im.ID, Epoch: claimed.Epoch}, "enough", false))
	defer h.run()()
	until(t, func() bool {
		im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
		return im.State == piece.ImportDone || im.State == piece.ImportFailed
	})
	h.pieceOf(im)
	var kept int
	must(t, h.db.Read().NewRaw("SELECT count(*) FROM piece_import WHERE login IS NOT NULL OR place LIKE '%s3cr%'").Scan(t.Context(), &kept))
	if kept != 0 {
		t.Errorf("%d signatures are kept behind the end", kept)
	}
	h.pieces.SealBy(nil)
	if _, err := h.pieces.Import(t.Context(), project, piece.NewImport{Place: signed}); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "s3cr") {
		t.Errorf("without a seal: %v", err)
	}
}

// An import is cancelled while it waits and while its CAR is read, and leaves
// nothing behind; the place is free for another then.
func TestImportIsCancelled(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		work := t.TempDir()
		h := build(t, opened(t, open), piece.Settings{WorkDir: work, KeepBytes: commp.SlotRaw, Lease: 300 * time.Millisecond}, nil)
		h.pieces.ConnectBy(http.DefaultClient)
		car, _ := own(180, 240_000)
		web := serveSlowly(t, car)
		web.hold.Store(30_000_000)
		n := piece.NewImport{Place: web.URL + "/x.car"}
		im := ok(h.pieces.Import(t.Context(), project, n))(t)
		if _, err := h.pieces.CancelImport(t.Context(), project+1, im.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("by another project: %v", err)
		}
		for range 2 { // once more says so once more
			if im = ok(h.pieces.CancelImport(t.Context(), project, im.ID))(t); im.State != piece.ImportFailed || im.Reason != "cancelled on request" {
				t.Errorf("%+v", im)
			}
		}
		defer h.run()()
		again := ok(h.pieces.Import(t.Context(), project, n))(t)
		if again.ID == im.ID {
			t.Fatal("a cancelled import is taken for one that is under way")
		}
		until(t, func() bool {
			return ok(h.pieces.ImportByID(t.Context(), project, again.ID))(t).State == piece.ImportRunning && web.served.Load() >= 29_000_000
		})
		ok(h.pieces.CancelImport(t.Context(), project, again.ID))(t)
		web.hold.Store(0)
		done := h.imported(n) // there is one worker, which has to be free
		h.pieceOf(done)
		if _, err := h.pieces.CancelImport(t.Context(), project, done.ID); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "it is done") {
			t.Errorf("after its end: %v", err)
		}
		if again = ok(h.pieces.ImportByID(t.Context(), project, again.ID))(t); again.State != piece.ImportFailed || again.Reason != "cancelled on request" {
			t.Errorf("%+v", again)
		}
		until(t, func() bool { // what the last one leaves it removes after its end
			for range h.blobs.List(t.Context(), "piece/import", "") {
				return false
			}
			return len(ok(os.ReadDir(work))(t)) == 0
		})
	})
}

// Killed in the middle, the import of an URL reads only the rest the next time.
func TestImportGoesOn(t *testing.T) {
	car, _ := own(180, 240_000) // two windows and a half
	want := commitment(t, car)
	for name, body := range map[string][]byte{"CARv1": car, "CARv2": v2(car)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			web := serveSlowly(t, body)
			h := importer(t, dir, false)
			im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: web.URL + "/x.car"}))(t)
			must(t, h.db.Close())
			web.hold.Store(40_000_000)
			child := exec.Command(os.Args[0], "-test.run=^TestImporter$")
			child.Env = append(os.Environ(), importerDir+"="+dir)
			var out bytes.Buffer
			child.Stdout, child.Stderr = &out, &out
			must(t, child.Start())
			parts := filepath.Join(dir, "blobs", "piece+", fmt.Sprintf("import-%d+", im.ID))
			until(t, func() bool { // all windows there are were kept
				entries, _ := os.ReadDir(parts)
				return len(entries) > 1 && web.served.Load() >= 39_000_000
			})
			must(t, child.Process.Kill())
			_ = child.Wait()
			before := web.served.Load()
			web.hold.Store(0)
			h = importer(t, dir, false)
			defer h.run()()
			until(t, func() bool {
				im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
				return im.State == piece.ImportDone || im.State == piece.ImportFailed
			})
			p := h.pieceOf(im)
			if p.CID != want.CIDv2.String() || !bytes.Equal(ok(io.ReadAll(ok(h.pieces.Open(t.Context(), p.CID))(t)))(t), car) {
				t.Errorf("%+v", p)
			}
			rest := web.served.Load() - before
			t.Logf("%d bytes in all: %d were served before the kill, %d after", len(body), before, rest)
			if rest > int64(len(body))-16_000_000 || im.Reason != "" {
				t.Errorf("%d of %d bytes were read again: %s", rest, len(body), im.Reason)
			}
			h.nothingLeft(dir)
		})
	}
}

// nothingLeft looks for what imports leave.
func (h *house) nothingLeft(dir string) {
	h.t.Helper()
	until(h.t, func() bool {
		var left []string
		for info, err := range h.blobs.List(h.t.Context(), "piece/import-", "") {
			left = append(left, info.Key)
			must(h.t, err)
		}
		entries, _ := os.ReadDir(filepath.Join(dir, "work"))
		return len(left) == 0 && len(entries) == 0
	})
}

// What is another version by now, or names none, is read from the beginning, and
// the import says so.
func TestImportStartsOver(t *testing.T) {
	car, _ := own(180, 240_000) // two windows and a half
	other, _ := own(3, 60_000)
	for name, c := range map[string]struct {
		tag    string
		lose   bool
		reason string
	}{
		"another version": {tag: `"two"`, reason: "changed"},
		"no version":      {tag: "", reason: "changed"},
		"lost copy":       {tag: `"one"`, lose: true, reason: "of this machine"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			web := serveSlowly(t, car)
			h := importer(t, dir, false)
			stop := h.run()
			web.hold.Store(40_000_000)
			im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: web.URL + "/x.car"}))(t)
			until(t, func() bool {
				n := 0
				for range h.blobs.List(t.Context(), "piece/import-", "") {
					n++
				}
				return n > 1
			})
			stop()
			body := car
			if !c.lose {
				body = other
			}
			web.set(body, c.tag)
			web.hold.Store(0)
			if c.lose {
				must(t, os.RemoveAll(filepath.Join(dir, "work")))
			}
			must(t, h.db.Close())
			h = importer(t, dir, false)
			defer h.run()()
			until(t, func() bool {
				im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
				return im.State == piece.ImportDone || im.State == piece.ImportFailed
			})
			if p := h.pieceOf(im); p.CID != commitment(t, body).CIDv2.String() {
				t.Errorf("%+v", p)
			}
			if !strings.Contains(im.Reason, "started over: ") || !strings.Contains(im.Reason, c.reason) {
				t.Errorf("reason %q", im.Reason)
			}
			h.nothingLeft(dir)
		})
	}
}

// A worker that takes over goes on from the parts of the one before; the CAR of
// an URL it reads there, and the node then has its copy.
func TestWorkersGoOn(t *testing.T) {
	car, _ := own(300, 60_000) // more than two windows of a worker
	web := serveSlowly(t, car)
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{ImportsApart: true, Lease: 2 * time.Second, WorkDir: t.TempDir()}, nil)
	h.pieces.ConnectBy(http.DefaultClient)
	defer h.run()()
	for name, place := range map[string]string{"URL": web.URL + "/x.car", "file": put(t, "y.car", car)} {
		kept := make(chan struct{})
		died := sync.OnceFunc(func() { close(kept) })
		first := h.worker(direct{s: h.pieces, token: 1, opened: func(_ piece.Claim, at int64, in io.ReadCloser) io.ReadCloser {
			return &stuck{in, 17_500_000 - int(at), died}
		}}, 1)
		im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: place}))(t)
		<-kept
		var from atomic.Int64
		first()
		second := h.worker(direct{s: h.pieces, token: 2, opened: func(_ piece.Claim, at int64, in io.ReadCloser) io.ReadCloser {
			from.Store(at)
			return in
		}}, 1)
		until(t, func() bool {
			im = ok(h.pieces.ImportByID(t.Context(), project, im.ID))(t)
			return im.State == piece.ImportDone || im.State == piece.ImportFailed
		})
		if p := h.pieceOf(im); p.CID != commitment(t, car).CIDv2.String() || !bytes.Equal(h.car(p), car) || piece.IsURL(place) && !p.Cached {
			t.Errorf("%s: %+v", name, p)
		}
		if from.Load() < 8_000_000 || im.Reason != "" {
			t.Errorf("%s: the second worker began at byte %d: %s", name, from.Load(), im.Reason)
		}
		second()
	}
}

// stuck ends a stream after some bytes, and says so.
type stuck struct {
	io.ReadCloser
	left int
	died func()
}

func (s *stuck) Read(p []byte) (int, error) {
	if s.left <= 0 {
		s.died()
		return 0, errStuck
	}
	n, err := s.ReadCloser.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

var errStuck = fault.New(fault.Unavailable, "the worker dies")
