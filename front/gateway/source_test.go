package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front/gateway"
)

// anyFile is a source that does not look at what it opens, and counts it.
type anyFile struct{ open *atomic.Int64 }

type unchecked struct {
	*os.File
	open *atomic.Int64
}

func (unchecked) Check() error { return nil }

func (f unchecked) Close() error {
	f.open.Add(-1)
	return f.File.Close()
}

func (a anyFile) OpenSource(_ context.Context, s pack.Source) (pack.File, error) {
	f, err := os.Open(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "gone: %w", err)
	}
	if err != nil {
		return nil, err
	}
	a.open.Add(1)
	return unchecked{f, a.open}, nil
}

// fromSource opens a house with a piece whose CAR is a view of a file.
func fromSource(t *testing.T, times int) (h *house, p piece.Piece, car []byte, path string, files *atomic.Int64) {
	d := migrated(t, dbtest.SQLite)
	h = open(t, d, gateway.AccessPublic, piece.Settings{})
	files = new(atomic.Int64)
	h.pieces.ReadFrom(anyFile{files})
	path = filepath.Join(t.TempDir(), "file")
	p, car = h.fromFile(d, path, bytes.Repeat(h.file, times))
	return h, p, car, path, files
}

// overwrite changes bytes of a file and leaves its times.
func overwrite(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	info := ok(os.Stat(path))(t)
	f := ok(os.OpenFile(path, os.O_WRONLY, 0))(t)
	ok(f.WriteAt(b, at))(t)
	must(t, f.Close())
	must(t, os.Chtimes(path, time.Time{}, info.ModTime()))
}

// fromFile adopts a piece whose CAR is a view of a file, and returns the CAR.
func (h *house) fromFile(d *db.DB, path string, body []byte) (piece.Piece, []byte) {
	h.t.Helper()
	must(h.t, os.WriteFile(path, body, 0o600))
	header := dag.CARHeader([]cid.Cid{h.root})
	car, spool := bytes.Clone(header), pack.NewSpool()
	from := ok(spool.AddSource(pack.Source{Origin: "a disk", Path: path, Size: int64(len(body))}))(h.t)
	const leaf = 1 << 20
	for at := 0; at < len(body); at += leaf {
		b := body[at:min(at+leaf, len(body))]
		r := pack.Record{Offset: int64(len(car)), From: from, Position: int64(at), Size: len(b), Digest: sha256.Sum256(b)}
		must(h.t, spool.Add(r))
		car = append(r.AppendHead(car), b...)
	}
	tree := commp.NewTree(int64(len(car)))
	must(h.t, tree.SetAt(0, car))
	index := filepath.Join(h.t.TempDir(), "index")
	f := ok(os.Create(index))(h.t)
	must(h.t, spool.WriteIndex(h.t.Context(), f, header, int64(len(car)), tree))
	must(h.t, f.Close())
	made := pack.Made{Piece: ok(tree.Piece())(h.t), Root: h.root, CARSize: int64(len(car)), Blocks: spool.Records()}
	must(h.t, h.pieces.KeepIndex(h.t.Context(), made.Piece.CIDv2.String(), index))
	var p piece.Piece
	must(h.t, d.Tx(h.t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		p, err = h.pieces.Adopt(ctx, tx, account.DefaultProject, "test", made)
		return err
	}))
	return p, car
}

// A file that is edited while its piece is being sent ends the connection: what
// was sent is right, and it does not look whole.
func TestEditedSourceBreaksTheConnection(t *testing.T) {
	h, p, car, path, _ := fromSource(t, 12) // more than the reader and two sockets hold
	body := bytes.Repeat(h.file, 12)
	if a := h.get("/piece/"+p.CID, "Range", "bytes=1000000-2000000"); a.status != 206 || !bytes.Equal(a.body, car[1000000:2000001]) {
		t.Errorf("a range: %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
	res, err := http.Get(h.url + "/piece/" + p.CIDv1 + ".car")
	must(t, err)
	defer res.Body.Close()
	first := make([]byte, 1<<20)
	ok(io.ReadFull(res.Body, first))(t)
	overwrite(t, path, int64(len(body)-10), []byte("edited"))
	rest, err := io.ReadAll(res.Body)
	if got := append(first, rest...); err == nil || !bytes.HasPrefix(car, got) || len(got) > len(car)-100 {
		t.Errorf("%d bytes of %d, %v", len(got), len(car), err)
	}
}

// What is known to be wrong before the first byte is told by a status, with the
// file's name; what is not wrong is still to be had.
func TestSpoiledSourceIsToldByStatus(t *testing.T) {
	h, p, car, path, files := fromSource(t, 2)
	url := "/piece/" + p.CID
	overwrite(t, path, 2_000_000, []byte("edited"))
	for what, rng := range map[string]string{
		"the edited bytes": "bytes=2000000-2000200", "from before them": "bytes=1999000-", "two ranges": "bytes=2000000-2000200,3000000-3000010",
		"the slot they are in": "bytes=1980000-1980000",
	} {
		a := h.get(url, "Range", rng)
		if a.status != 409 || !bytes.Contains(a.body, []byte(filepath.Base(path))) || !bytes.Contains(a.body, []byte("changed since it was prepared")) {
			t.Errorf("%s: %d %.300s, %v", what, a.status, a.body, a.err)
		}
		if h := a.header; h.Get("ETag")+h.Get("Content-Range")+h.Get("Content-Disposition")+h.Get("Cache-Control") != "" || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: headers %v", what, h)
		}
	}
	for _, at := range []int{0, 100, 1_200_000, 3_000_000, len(car) - 50} {
		if a := h.get(url, "Range", fmt.Sprintf("bytes=%d-%d", at, at+49)); a.status != 206 || !bytes.Equal(a.body, car[at:at+50]) {
			t.Errorf("at %d, which is as it was: %d %.300s", at, a.status, a.body)
		}
	}
	if a := h.get(url, "Range", "bytes=100-149,3000000-3000049"); a.status != 206 || !bytes.Contains(a.body, car[100:150]) || !bytes.Contains(a.body, car[3_000_000:3_000_050]) || a.err != nil {
		t.Errorf("two ranges that are as they were: %d, %v", a.status, a.err)
	}
	if a := h.get(url, "Range", "bytes=100-149,2000000-2000049"); a.err == nil {
		t.Errorf("a good range and a bad one: %d, %v", a.status, a.err)
	}
	if a := h.ask(http.MethodHead, url); a.status != 200 || a.header.Get("Content-Length") != fmt.Sprint(len(car)) {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	must(t, os.Remove(path))
	if a := h.get(url); a.status != 503 || !bytes.Contains(a.body, []byte("is gone since it was prepared")) || !bytes.Contains(a.body, []byte(filepath.Base(path))) {
		t.Errorf("a file that is gone: %d %.300s", a.status, a.body)
	}
	if files.Load() != 0 {
		t.Errorf("%d files are open", files.Load())
	}
}

// Whoever reads while a file is edited back and forth gets the right bytes, and
// all of them or a connection that breaks or a status.
func TestReadersOfAChangingSource(t *testing.T) {
	h, p, car, path, _ := fromSource(t, 4)
	stop := make(chan struct{})
	var writer, readers sync.WaitGroup
	right := car[5_000_100:5_000_400]
	at := int64(bytes.Index(ok(os.ReadFile(path))(t), right))
	writer.Go(func() {
		for wrong := true; ; wrong = !wrong {
			select {
			case <-stop:
				overwrite(t, path, at, right)
				return
			default:
			}
			if wrong {
				overwrite(t, path, at, bytes.Repeat([]byte{1}, len(right)))
			} else {
				overwrite(t, path, at, right)
			}
		}
	})
	for i := range 6 {
		readers.Go(func() {
			for k := range 6 {
				from := (i*6 + k) % 8 * 700_000
				a := h.get("/piece/"+p.CID, "Range", fmt.Sprintf("bytes=%d-", from))
				whole := a.err == nil && a.status == 206
				if a.status == 206 && !bytes.HasPrefix(car[from:], a.body) || whole && len(a.body) != len(car)-from || a.status != 206 && a.status != 409 {
					t.Errorf("reader %d from %d: %d, %d bytes, %v", i, from, a.status, len(a.body), a.err)
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writer.Wait()
	if a := h.get("/piece/" + p.CID); a.status != 200 || !bytes.Equal(a.body, car) {
		t.Errorf("put back: %d, %d bytes", a.status, len(a.body))
	}
}

// Clients who hang up, in the middle of one range or several, leave nothing open.
func TestHangingUpFreesEverything(t *testing.T) {
	h, p, _, _, files := fromSource(t, 12)
	for _, rng := range []string{"bytes=0-", "bytes=100-20000000", "bytes=0-9000000,10000000-29000000"} {
		for range 4 {
			ctx, hangUp := context.WithCancel(t.Context())
			req := ok(http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/piece/"+p.CID, nil))(t)
			req.Header.Set("Range", rng)
			res := ok(http.DefaultTransport.RoundTrip(req))(t)
			ok(io.ReadFull(res.Body, make([]byte, 1<<20)))(t)
			hangUp()
			_ = res.Body.Close()
		}
	}
	tick, limit := time.NewTicker(2*time.Millisecond), time.After(2*time.Minute)
	defer tick.Stop()
	for files.Load() != 0 {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d files are open", files.Load())
		}
	}
}
