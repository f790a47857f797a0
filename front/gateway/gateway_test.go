package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front/gateway"
)

func TestPiece(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, engine dbtest.Open) {
		h := open(t, migrated(t, engine), gateway.AccessPublic, piece.Settings{})
		for _, ref := range []string{h.piece.CID, h.piece.CIDv1, h.piece.CID + ".car", h.piece.CIDv1 + ".car"} {
			a := h.get("/piece/" + ref)
			if a.status != 200 || a.err != nil || !bytes.Equal(a.body, h.car) {
				t.Errorf("%s: status %d, %d bytes, %v", ref, a.status, len(a.body), a.err)
			}
			for name, want := range map[string]string{
				"ETag": `"` + h.piece.CID + `"`, "Content-Type": "application/vnd.ipld.car", "Accept-Ranges": "bytes",
				"Content-Length": fmt.Sprint(len(h.car)), "Cache-Control": "public, max-age=29030400, immutable",
				"Content-Disposition": `attachment; filename="` + h.piece.CID + `.car"`,
			} {
				if got := a.header.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", ref, name, got, want)
				}
			}
			if a := h.ask(http.MethodHead, "/piece/"+ref); a.status != 200 || len(a.body) != 0 || a.header.Get("Content-Length") != fmt.Sprint(len(h.car)) {
				t.Errorf("HEAD %s: %+v", ref, a)
			}
		}
		for path, want := range map[string]int{
			"/piece/nonsense": 400, "/piece/" + h.root.String(): 400, "/": 404, "/piece/": 404, "/ipns/x": 400, "/ipns/": 400, "/ipns/data.example": 404,
			"/piece/baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq": 404,
		} {
			if a := h.get(path); a.status != want || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: status %d %s, want %d", path, a.status, a.body, want)
			}
		}
		if a := h.ask(http.MethodPost, "/piece/"+h.piece.CID); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: %d", a.status)
		}
	})
}

func TestPieceRanges(t *testing.T) {
	for name, s := range map[string]piece.Settings{"view": {}, "cached": {CacheCAR: true}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, migrated(t, dbtest.SQLite), gateway.AccessPublic, s)
			if h.piece.Cached != s.CacheCAR {
				t.Fatalf("piece %+v", h.piece)
			}
			path, n := "/piece/"+h.piece.CID, len(h.car)
			for _, one := range []struct {
				rng      string
				from, to int
			}{
				{"bytes=0-0", 0, 1}, {"bytes=5-99", 5, 100}, {"bytes=1000-", 1000, n}, {"bytes=-7", n - 7, n},
				{fmt.Sprintf("bytes=0-%d", n), 0, n}, // one byte too far, as Boost asks
				{fmt.Sprintf("bytes=%d-%d", n-1, n+5), n - 1, n}, {fmt.Sprintf("bytes=1000000-%d", 1<<62), 1_000_000, n},
			} {
				a := h.get(path, "Range", one.rng)
				if a.status != 206 || !bytes.Equal(a.body, h.car[one.from:one.to]) || a.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", one.from, one.to-1, n) {
					t.Errorf("%s: status %d, %d bytes, %s", one.rng, a.status, len(a.body), a.header.Get("Content-Range"))
				}
			}
			if a := h.get(path, "Range", fmt.Sprintf("bytes=%d-", n)); a.status != 416 || a.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", n) {
				t.Errorf("a range behind the end: %d", a.status)
			}
			if a := h.get(path, "Range", "bytes=0-1,10-11"); a.status != 206 || !strings.HasPrefix(a.header.Get("Content-Type"), "multipart/byteranges") {
				t.Errorf("two ranges: %d %s", a.status, a.header.Get("Content-Type"))
			}
			if a := h.get(path, "Range", "bytes=0-0"+strings.Repeat(",9-9", 5000)); a.status != 200 || len(a.body) != n {
				t.Errorf("5001 ranges: %d", a.status)
			}
			etag := `"` + h.piece.CID + `"`
			if a := h.get(path, "If-None-Match", etag); a.status != 304 || len(a.body) != 0 {
				t.Errorf("what the caller has: %d", a.status)
			}
			if a := h.get(path, "Range", "bytes=5-9", "If-Range", `"other"`); a.status != 200 || len(a.body) != n {
				t.Errorf("a range of something else: %d", a.status)
			}
			var readers sync.WaitGroup
			for i := range 16 {
				readers.Go(func() {
					from := i * n / 16
					if a := h.get(path, "Range", fmt.Sprintf("bytes=%d-%d", from, n)); !bytes.Equal(a.body, h.car[from:]) {
						t.Errorf("reader %d: other bytes", i)
					}
				})
			}
			readers.Wait()
		})
	}
}

func TestWhoMayRead(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, engine dbtest.Open) {
		h := open(t, migrated(t, engine), gateway.AccessToken, piece.Settings{})
		url, headers := h.links.PieceURL(h.piece.CID)
		if url != "http://pieces.example/piece/"+h.piece.CID {
			t.Errorf("link %s", url)
		}
		link := headers["Authorization"]
		_, elsewhere := gateway.NewLinks([]byte("another"), "", time.Now).PieceURL(h.piece.CID)
		_, other := h.links.PieceURL("bafkzcibcaapjmobglb7yhrsxtxxh4yh5gjrvyrbmbtnzwwhjimtxbhnuvg2dwii")
		expiry, mac, _ := strings.Cut(strings.TrimPrefix(link, "Bearer firthp_"), "_")
		dag, whole := "/ipfs/"+h.root.String()+"?format=raw", "/piece/"+h.piece.CID
		unknown := "/piece/baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq"
		for _, one := range []struct {
			what, auth                string
			onDAG, onPiece, onUnknown int
		}{
			{"nothing", "", 401, 401, 401},
			{"a token that reads", "Bearer " + h.reads, 200, 200, 404},
			{"lower case", "bearer " + h.reads, 200, 200, 404},
			{"a token that writes", "Bearer " + h.writes, 403, 403, 403},
			{"a wrong token", "Bearer " + h.reads[:len(h.reads)-4] + "AAAA", 401, 401, 401},
			{"the piece's link", link, 401, 200, 403},
			{"another piece's link", other["Authorization"], 401, 403, 403},
			{"another node's link", elsewhere["Authorization"], 401, 403, 403},
			{"a link made to last", "Bearer firthp_9" + expiry + "_" + mac, 401, 403, 403},
			{"a link cut short", link[:len(link)-2], 401, 403, 403},
			{"half a link", "Bearer firthp_", 401, 403, 403},
			{"basic", "Basic " + strings.TrimPrefix(link, "Bearer "), 401, 401, 401},
		} {
			for path, want := range map[string]int{dag: one.onDAG, whole: one.onPiece, unknown: one.onUnknown} {
				a := h.get(path, "Authorization", one.auth)
				if a.status != want || want != 200 && bytes.Contains(a.body, h.car[100:200]) {
					t.Errorf("%s, %s: status %d, want %d: %.200s", one.what, path, a.status, want, a.body)
				}
				if cache := a.header.Get("Cache-Control"); strings.Contains(cache, "public") || want == 200 && !strings.Contains(cache, "private") {
					t.Errorf("%s, %s: Cache-Control %q", one.what, path, cache)
				}
			}
		}
		if a := h.get("/piece/"+h.piece.CIDv1, "Authorization", link); a.status != 200 {
			t.Errorf("the link on the CID v1: %d", a.status)
		}
		h.now = h.now.Add(31 * 24 * time.Hour)
		if a := h.get(whole, "Authorization", link); a.status != 403 || !strings.Contains(string(a.body), "ended") {
			t.Errorf("a link that ended: %d %s", a.status, a.body)
		}
	})
}

func TestDAGs(t *testing.T) {
	h := open(t, migrated(t, dbtest.SQLite), gateway.AccessPublic, piece.Settings{})
	root := "/ipfs/" + h.root.String()
	if a := h.get(root + "/dir/file"); a.status != 200 || !bytes.Equal(a.body, h.file) {
		t.Errorf("a file: %d, %d bytes", a.status, len(a.body))
	}
	if a := h.get(root+"/dir/file", "Range", "bytes=1048570-1048580"); a.status != 206 || !bytes.Equal(a.body, h.file[1048570:1048581]) {
		t.Errorf("a range over two blocks: %d, %d bytes", a.status, len(a.body))
	}
	if a := h.ask(http.MethodHead, root+"/dir/file"); a.status != 200 || a.header.Get("Content-Length") != "2500000" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	if a := h.get(root + "/"); a.status != 200 || !strings.Contains(string(a.body), "page.html") {
		t.Errorf("a listing: %d", a.status)
	}
	if a := h.get(root + "/page.html"); !strings.HasPrefix(a.header.Get("Content-Security-Policy"), "sandbox") || strings.Contains(a.header.Get("Content-Security-Policy"), "same-origin") || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a document may do too much: %v", a.header)
	}
	raw := h.get(root, "Accept", "application/vnd.ipld.raw")
	if got := ok(h.root.Prefix().Sum(raw.body))(t); raw.status != 200 || got != h.root || raw.header.Get("Content-Type") != "application/vnd.ipld.raw" {
		t.Errorf("raw: %d, bytes of %s", raw.status, got)
	}
	for query, want := range map[string]int{"": 7, "&dag-scope=block": 1, "&dag-scope=entity": 1} {
		a := h.get(root + "?format=car" + query)
		r := ok(dag.NewCARReader(bytes.NewReader(a.body), dag.CAROptions{}))(t)
		n := 0
		for {
			if _, _, err := r.Next(); err == io.EOF {
				break
			} else {
				must(t, err)
			}
			n++
		}
		if a.status != 200 || a.err != nil || n != want || r.Roots[0] != h.root {
			t.Errorf("CAR %q: %d, %d blocks of %v", query, a.status, n, r.Roots)
		}
	}
	for path, want := range map[string]int{
		root + "/absent": 404, "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku": 404, "/ipfs/x": 400, "/ipfs/": 400,
		"/ipfs/bafkqablimvwgy3y": 200, // an identity CID is its own block
	} {
		if a := h.get(path); a.status != want {
			t.Errorf("%s: status %d, want %d", path, a.status, want)
		}
	}
	if a := h.ask(http.MethodPut, root); a.status != 405 {
		t.Errorf("PUT: %d", a.status)
	}
}

// What cannot be sent whole breaks off: neither a CAR nor a range ends as if it
// were all.
func TestLostBlocksBreakTheConnection(t *testing.T) {
	h := open(t, migrated(t, dbtest.SQLite), gateway.AccessPublic, piece.Settings{})
	file := ok(dag.Resolve(t.Context(), h.blocks, h.root, "dir/file"))(t)
	children := ok(dag.Children(t.Context(), h.blocks, file.Cid))(t)
	must(t, h.blocks.DeleteBlock(t.Context(), children[2]))
	for _, path := range []string{
		"/piece/" + h.piece.CID, "/ipfs/" + h.root.String() + "?format=car", "/ipfs/" + h.root.String() + "/dir/file",
	} {
		if a := h.get(path); a.err == nil {
			t.Errorf("%s: ends well with status %d and %d bytes", path, a.status, len(a.body))
		}
	}
	if a := h.get("/piece/"+h.piece.CID, "Range", "bytes=0-1000"); a.status != 206 || a.err != nil {
		t.Errorf("what is still there: %d, %v", a.status, a.err)
	}
}

func TestRefusesAnUnknownAccess(t *testing.T) {
	if _, err := gateway.New(gateway.Config{Access: "everyone"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("access everyone: %v", err)
	}
}
