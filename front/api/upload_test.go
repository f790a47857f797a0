package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/client"
)

// noise is an endless stream that does not repeat.
type noise struct{ n uint64 }

func (z *noise) Read(p []byte) (int, error) {
	for i := range p {
		z.n = z.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(z.n >> 56)
	}
	return len(p), nil
}

// TestUploadsAreStreamed sends 256 MiB, as a body and as a form, and takes it
// back: the heap stays where it was.
func TestUploadsAreStreamed(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	const size = 256 << 20
	peak, stop := watchHeap()
	c := got(h.c.AddFile(t.Context(), "large", io.LimitReader(&noise{}, size), client.AddOptions{}))(t)
	h.equal(c.Size, size)
	tree := got(h.c.AddTree(t.Context(), "tree", func(yield func(client.Entry, error) bool) {
		yield(client.Entry{Path: "large", Body: io.LimitReader(&noise{}, size)}, nil)
	}, client.AddOptions{}))(t)
	h.equal(tree.Size, size)
	d := got(h.c.ContentCAR(t.Context(), tree.CID, ""))(t)
	n := got(io.Copy(io.Discard, d))(t)
	d.Close()
	if n < size {
		t.Errorf("%d bytes came back", n)
	}
	stop()
	if grown := peak.Load(); grown > 96<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// watchHeap measures how much the heap grows.
func watchHeap() (grown *atomic.Int64, stop func()) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, grown := int64(m.HeapInuse), &atomic.Int64{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				grown.Store(max(grown.Load(), int64(m.HeapInuse)-before))
			}
		}
	}()
	return grown, func() { cancel(); <-done }
}

// TestBrokenUploads leaves a failed content with a reason, whichever way an
// upload ends early.
func TestBrokenUploads(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	broken := errors.New("the disk is gone")
	_, err := h.c.AddFile(t.Context(), "reader", io.MultiReader(io.LimitReader(&noise{}, 3<<20), failing{broken}), client.AddOptions{})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	h.endsFailed("reader")

	ctx, cancel := context.WithCancel(t.Context())
	_, err = h.c.AddFile(ctx, "gone", io.MultiReader(io.LimitReader(&noise{}, 3<<20), calling(cancel), &noise{}), client.AddOptions{})
	if err == nil {
		t.Error("an upload that was cancelled ended well")
	}
	h.endsFailed("gone")

	_, err = h.c.AddTree(t.Context(), "tree", func(yield func(client.Entry, error) bool) {
		if yield(client.Entry{Path: "a", Body: strings.NewReader("a")}, nil) {
			yield(client.Entry{}, broken)
		}
	}, client.AddOptions{})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	h.endsFailed("tree")

	// One that promises more than it sends, on a bare connection.
	conn := got(net.Dial("tcp", strings.TrimPrefix(h.url, "http://")))(t)
	fmt.Fprintf(conn, "POST /v1/contents?name=short HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\nabc", h.secret)
	h.must(conn.Close())
	h.endsFailed("short")
}

func (h *house) endsFailed(name string) {
	h.Helper()
	h.until(name+" has failed", func() bool {
		all := drain(h.c.Contents(h.Context(), client.ContentFilter{Name: name, State: "failed"}))(h.T)
		if len(all) == 1 && all[0].Reason == "" {
			h.Errorf("no reason: %+v", all[0])
		}
		return len(all) == 1
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type calling func()

func (c calling) Read([]byte) (int, error) { c(); return 0, io.EOF }

// part is one part of a form, as it goes over the wire.
type part struct{ disposition, media, body string }

func form(parts ...part) (body *bytes.Buffer, media string) {
	body = &bytes.Buffer{}
	for _, p := range parts {
		fmt.Fprintf(body, "--limit\r\nContent-Disposition: form-data; name=\"file\"; %s\r\n", p.disposition)
		if p.media != "" {
			fmt.Fprintf(body, "Content-Type: %s\r\n", p.media)
		}
		fmt.Fprintf(body, "\r\n%s\r\n", p.body)
	}
	body.WriteString("--limit--\r\n")
	return body, "multipart/form-data; boundary=limit"
}

// TestForms takes what real clients send: curl, browsers, our own.
func TestForms(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	one := part{`filename="hello.txt"`, "text/plain", "hello world"}
	for _, c := range []struct {
		name  string
		query string
		parts []part
		files string // paths that must be there, by commas; "" is a plain file
		named string
	}{
		{"one file", "", []part{one}, "", "hello.txt"},
		{"one file as a tree", "?tree=true", []part{one}, "hello.txt", "hello.txt"},
		{"two files", "?name=mine", []part{one, {`filename="b"`, "", "b"}}, "hello.txt,b", "mine"},
		{"a directory", "", []part{{`filename="dir/sub/a b.txt"`, "", "x"}}, "dir/sub/a b.txt", "dir"},
		{"RFC 5987", "", []part{{`filename="x"; filename*=UTF-8''dir%2f%e2%82%ac.txt`, "", "x"}}, "dir/€.txt", "dir"},
		{"raw UTF-8", "", []part{{`filename="dir/ä.txt"`, "", "x"}}, "dir/ä.txt", "dir"},
		{"empty directory and link", "", []part{
			{`filename="d/empty/"`, client.DirectoryType, ""}, {`filename="d/l"`, client.SymlinkType, "../x"},
		}, "d/empty,d/l", "d"},
		{"one link", "", []part{{`filename="l"`, client.SymlinkType, "x"}}, "l", "l"},
		{"nothing, as a tree", "?tree=true", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.T = t
			body, media := form(c.parts...)
			res, text := h.call(http.MethodPost, "/v1/contents"+c.query, h.secret, body, "Content-Type", media)
			if res.StatusCode != http.StatusCreated {
				t.Fatalf("%d %s", res.StatusCode, text)
			}
			made := drain(h.c.Contents(t.Context(), client.ContentFilter{}))(t)[0]
			h.equal(made.Name, c.named)
			root := got(cid.Decode(made.CID))(t)
			for _, path := range strings.FieldsFunc(c.files, func(r rune) bool { return r == ',' }) {
				got(dag.Resolve(t.Context(), h.s.Blocks, root, path))(t)
			}
			if e := got(dag.Stat(t.Context(), h.s.Blocks, root))(t); e.Dir != (c.files != "" || c.query != "") {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestBadForms refuses what is no form of files, and says why.
func TestBadForms(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	field, media := form(part{`x="y"`, "", "v"})
	climbing, _ := form(part{`filename="../../etc/passwd"`, "", "x"})
	twice, _ := form(part{`filename="d/a"`, "", "x"}, part{`filename="d/a"`, "", "y"})
	nothing, _ := form()
	long, _ := form(part{`filename="d/l"`, client.SymlinkType, strings.Repeat("x", 5000)})
	whole, _ := form(part{`filename="d/a"`, "", strings.Repeat("x", 5000)})
	for name, c := range map[string]struct {
		body  string
		media string
		says  string
	}{
		"a field":         {field.String(), media, "no filename"},
		"climbing":        {climbing.String(), media, ".."},
		"twice":           {twice.String(), media, "already in the tree"},
		"nothing":         {nothing.String(), media, "no file"},
		"long link":       {long.String(), media, "4096"},
		"no boundary":     {"x", "multipart/form-data", "boundary"},
		"another's limit": {whole.String(), "multipart/form-data; boundary=other", "form"},
		"cut":             {whole.String()[:3000], media, "EOF"},
		"cut at the end":  {strings.TrimSuffix(whole.String(), "--\r\n"), media, "boundary"},
		"bad type":        {"x", "multipart/form-data; =", "content type"},
	} {
		res, text := h.call(http.MethodPost, "/v1/contents", h.secret, strings.NewReader(c.body), "Content-Type", c.media)
		if res.StatusCode < 400 || res.StatusCode >= 500 || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: %d %s", name, res.StatusCode, text)
		}
	}
	res, _ := h.call(http.MethodPost, "/v1/contents", h.secret, strings.NewReader("x"), "Content-Encoding", "gzip")
	h.equal(res.StatusCode, 400)
	if all := drain(h.c.Contents(t.Context(), client.ContentFilter{State: "stored"}))(t); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// TestRefusalsAreHeardOverTheUpload refuses in the middle of uploads that go on:
// each client hears why, none just loses its connection.
func TestRefusalsAreHeardOverTheUpload(t *testing.T) {
	h := build(t, dbtest.SQLite, still)
	for range 20 {
		_, err := h.c.AddTree(t.Context(), "tree", func(yield func(client.Entry, error) bool) {
			big := bytes.Repeat([]byte("more "), 1<<20)
			_ = yield(client.Entry{Path: "tree/first", Body: strings.NewReader("x")}, nil) &&
				yield(client.Entry{Path: "tree/../second", Body: strings.NewReader("x")}, nil) &&
				yield(client.Entry{Path: "tree/third", Body: bytes.NewReader(big)}, nil)
		}, client.AddOptions{})
		var p *client.Error
		if !errors.As(err, &p) || p.Status != 400 {
			t.Fatalf("the refusal was not heard: %v", err)
		}
	}
}
