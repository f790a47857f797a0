package retrieval_test

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/retrieval"
)

const large = 1 << 30 // a piece that takes all

// TestFetch gets the tree from one good provider, on both engines.
func TestFetch(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		h := build(t, open(t, event.Migrations, piece.Migrations(), retrieval.Migrations()), large)
		h.provider("f01", nil)
		r, _, err := h.fetch(retrieval.Request{}, nil)
		must(t, err)
		if r.Provider != "f01" || r.Method != retrieval.CAR || r.Bytes < 3_500_000 || r.Blocks < 15 || r.TTFB <= 0 || r.PieceCID != h.plan.Pieces[0].CID {
			t.Errorf("%+v", r)
		}
		h.expect("f01 car ok", "f01 ok")
		for e, err := range h.events.Subscribe(t.Context(), 0) {
			must(t, err)
			if e.Kind == "retrieval.ok" && e.Project == project {
				break
			}
		}
	})
}

// TestRepeatedBlocks takes a CAR that has a block wherever it is linked
// (dups=y), and hands each on once.
func TestRepeatedBlocks(t *testing.T) {
	h := build(t, sqlite(t), large)
	h.provider("f01", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.RawQuery = "car-dups=y"
			next.ServeHTTP(w, r)
		})
	})
	r, blocks, err := h.fetch(retrieval.Request{}, nil)
	must(t, err)
	if h.expect("f01 car ok", "f01 ok"); r.Blocks <= int64(blocks) {
		t.Errorf("%d blocks came, %d are in the DAG", r.Blocks, blocks)
	}
}

// TestBadProvidersCostAnAttempt puts bad providers before a good one: none of
// them keeps the tree from coming, whole and in order.
func TestBadProvidersCostAnAttempt(t *testing.T) {
	cases := map[string]struct {
		wrap               func(http.Handler) http.Handler
		attempts, observed string
	}{
		"wrong bytes":   {spoil, "f01 car failed", "f01 wrong_bytes"},
		"breaks off":    {cut(1_000_000), "f01 car failed, f01 piece failed", "f01 broken, f01 broken"},
		"ends early":    {shorten, "f01 car failed, f01 piece failed", "f01 broken, f01 refused"},
		"has no bytes":  {status(http.StatusNotFound), "f01 car failed, f01 piece failed", "f01 refused, f01 refused"},
		"stands still":  {stall, "f01 car failed", "f01 timeout"},
		"never answers": {hang, "f01 car failed", "f01 timeout"},
		"sends around":  {loop, "f01 car failed, f01 piece failed", "f01 refused, f01 refused"},
		"is away":       {away, "f01 car failed", "f01 unreachable"},
		"another DAG":   {other, "f01 car failed", "f01 wrong_bytes"},
		"no range":      {noRange, "f01 car failed, f01 piece failed", "f01 refused, f01 refused"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, sqlite(t), large)
			h.settings = retrieval.Settings{FirstByte: time.Minute, Idle: time.Minute}
			if strings.Contains(c.observed, "timeout") {
				h.settings = retrieval.Settings{FirstByte: 2 * time.Second, Idle: 2 * time.Second}
			}
			h.provider("f01", c.wrap)
			h.provider("f02", nil)
			r, _, err := h.fetch(retrieval.Request{}, nil)
			must(t, err)
			if r.Provider != "f02" {
				t.Errorf("came from %+v", r)
			}
			h.expect(c.attempts+", f02 car ok", c.observed+", f02 ok")
			if _, _, err := h.fetch(retrieval.Request{}, nil); err != nil {
				t.Fatal(err)
			}
			if got, _ := h.attempts(); got[len(got)-1] != "f02 car ok" || strings.Contains(strings.Join(got[len(got)-1:], ""), "f01") {
				t.Errorf("the one with failures is asked again before the good one: %v", got)
			}
		})
	}
}

// TestPieceRanges gets the tree from a provider that serves pieces only.
func TestPieceRanges(t *testing.T) {
	h := build(t, sqlite(t), large)
	asked := 0
	h.provider("f01", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/ipfs/") {
				http.Error(w, "no gateway here", http.StatusNotImplemented)
				return
			}
			asked++
			next.ServeHTTP(w, r)
		})
	})
	r, blocks, err := h.fetch(retrieval.Request{}, nil)
	must(t, err)
	h.expect("f01 car failed, f01 piece ok", "f01 refused, f01 ok")
	if r.Method != retrieval.Piece || asked > blocks*2/3 {
		t.Errorf("%+v: %d questions for %d blocks", r, asked, blocks)
	}
}

// TestSplitContent gets a tree that was cut into pieces from providers none of
// which holds all of it.
func TestSplitContent(t *testing.T) {
	h := build(t, sqlite(t), 1<<20)
	n := len(h.plan.Pieces)
	if n < 3 {
		t.Fatalf("%d pieces", n)
	}
	for i := range n {
		h.provider([]string{"f01", "f02", "f03", "f04", "f05", "f06", "f07", "f08"}[i], nil, i)
	}
	_, _, err := h.fetch(retrieval.Request{}, nil)
	must(t, err)
	_, rows := h.attempts()
	pieces := map[string]bool{}
	for _, r := range rows {
		if r.Method == retrieval.Piece && r.State == retrieval.OK {
			pieces[r.PieceCID] = true
		}
	}
	if len(pieces) != n {
		t.Errorf("%d of %d pieces were read", len(pieces), n)
	}
}

// TestNobodyDelivers tells what every provider's failure was.
func TestNobodyDelivers(t *testing.T) {
	h := build(t, sqlite(t), large)
	if _, _, err := h.fetch(retrieval.Request{}, nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("without holders: %v", err)
	}
	if _, _, err := h.fetch(retrieval.Request{Provider: "f09"}, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown provider: %v", err)
	}
	h.doors["f08"] = ""
	if _, _, err := h.fetch(retrieval.Request{Provider: "f08"}, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("provider without HTTP: %v", err)
	}
	h.provider("f01", spoil)
	h.provider("f02", status(http.StatusPaymentRequired))
	_, _, err := h.fetch(retrieval.Request{}, nil)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "f01 (car)") || !strings.Contains(err.Error(), "402 Payment Required") {
		t.Errorf("%v", err)
	}
}

// TestNamedProvider asks nobody else.
func TestNamedProvider(t *testing.T) {
	h := build(t, sqlite(t), large)
	h.provider("f01", nil)
	h.provider("f02", spoil)
	if r, _, err := h.fetch(retrieval.Request{Provider: "f01"}, nil); err != nil || r.Provider != "f01" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, _, err := h.fetch(retrieval.Request{Provider: "f02"}, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	h.expect("f01 car ok, f02 car failed", "f01 ok, f02 wrong_bytes")
}

// TestLimit ends an attempt that sends more than is allowed.
func TestLimit(t *testing.T) {
	h := build(t, sqlite(t), large)
	h.settings.MaxBytes = 1_000_000
	h.provider("f01", nil)
	if _, _, err := h.fetch(retrieval.Request{}, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	h.expect("f01 car failed", "f01 limit")
}

// TestReaderGoes ends the fetch with the reader's error, and blames nobody.
func TestReaderGoes(t *testing.T) {
	h := build(t, sqlite(t), large)
	h.provider("f01", nil)
	h.provider("f02", nil)
	n := 0
	_, _, err := h.fetch(retrieval.Request{}, func(blocks.Block) error {
		if n++; n == 3 {
			return errStop
		}
		return nil
	})
	if !errors.Is(err, errStop) {
		t.Errorf("%v", err)
	}
	h.expect("f01 car failed", "")
}

// spoil alters a byte of every large write.
func spoil(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(spoiler{w}, r) })
}

type spoiler struct{ http.ResponseWriter }

func (s spoiler) Write(p []byte) (int, error) {
	q := append([]byte(nil), p...)
	if len(q) > 5000 {
		q[len(q)/2] ^= 1
	}
	return s.ResponseWriter.Write(q)
}

// cut breaks every answer off after n bytes.
func cut(n int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&cutter{w, n}, r) })
	}
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// shorten leaves the last sections of a CAR out, cleanly, and has no pieces.
func shorten(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/piece/") {
			http.NotFound(w, r)
			return
		}
		r.URL.RawQuery = "format=car&dag-scope=block"
		next.ServeHTTP(w, r)
	})
}

func status(code int) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not\nhere", code) })
	}
}

// stall sends a good beginning, then nothing.
func stall(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&staller{w, r, 400_000}, r)
	})
}

type staller struct {
	http.ResponseWriter
	r    *http.Request
	left int
}

func (s *staller) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		<-s.r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	return s.ResponseWriter.Write(p)
}

func hang(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// away is a door that closes as it is opened.
func away(http.Handler) http.Handler { return nil }

func loop(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) })
}

// other sends a CAR that is sound, of something else below the root.
func other(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.TrimSuffix(r.URL.Path, "/") + "/a/3"
		next.ServeHTTP(w, r)
	})
}

// noRange has no gateway and ignores ranges.
func noRange(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/ipfs/") {
			http.NotFound(w, r)
			return
		}
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	})
}
