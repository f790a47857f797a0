package source_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/webdav"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/base/source/sourcetest"
)

// far is a remote place of one kind, for the suite that all of them pass.
type far struct {
	url     string // of the place; what the suite makes is below "data/"
	options map[string]string
	put     func(key string, body []byte) // makes or replaces a file
	wrong   map[string]string             // options that change into credentials which are refused; nil where anybody is let in
	sum     string                        // what the hash of an item begins with
	page    map[string]string             // options that make listings come in small pages
	wire    string                        // URL of the server, for a storm to stand before it; "" where it is no HTTP
}

// behind is the place with the storm between it and whoever reads.
func (p far) behind(s *storm) far {
	there, _ := url.Parse(p.wire)
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { // the Host is signed, and stays
		r.Out.URL.Scheme, r.Out.URL.Host = "http", there.Host
	}}
	pass.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	pass.ModifyResponse = s.spoil
	pass.ErrorLog = log.New(io.Discard, "", 0)
	s.next = pass
	here := httptest.NewServer(s)
	s.t.Cleanup(here.Close)
	swap := func(text string) string {
		return strings.ReplaceAll(text, there.Host, strings.TrimPrefix(here.URL, "http://"))
	}
	p.url, p.options = swap(p.url), maps.Clone(p.options)
	for name, value := range p.options {
		p.options[name] = swap(value)
	}
	return p
}

// storm is what a network or a busy server does.
type storm struct {
	t        *testing.T
	next     http.Handler
	throttle int64 // every n-th request is refused for now; 1 is each
	cut      int64 // bytes of a body after which the line is cut, of every second answer
	n, asked atomic.Int64
}

func (s *storm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n := s.n.Add(1); s.throttle > 0 && n%s.throttle == 0 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}[n/s.throttle%2])
		return
	}
	s.next.ServeHTTP(w, r)
}

func (s *storm) spoil(res *http.Response) error {
	if s.cut > 0 && res.ContentLength > s.cut && s.asked.Add(1)%2 == 1 {
		res.Body = cutOff{io.LimitReader(res.Body, s.cut), res.Body}
	}
	return nil
}

type cutOff struct {
	io.Reader
	io.Closer
}

// Read fails where the body ends.
func (c cutOff) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		err = errors.New("the line is cut")
	}
	return n, err
}

// with is the options of the place and some more.
func (p far) with(more ...string) map[string]string {
	o := quick(more...)
	for name, value := range p.options {
		if _, ok := o[name]; !ok {
			o[name] = value
		}
	}
	return o
}

// conforms holds a kind of place to what package source promises of all.
func conforms(t *testing.T, open func(t *testing.T) far) {
	p := open(t)
	big := pattern(1 << 20)
	files := map[string][]byte{
		"a-b": []byte("dash sorts before slash"), "a.txt": nil, "a/b": []byte("bee"), "a/c d+e%20ü&=;'": []byte("odd but fine"), "big": big,
		"Case": []byte("upper"), "case": []byte("lower"), "deep/er/still/x": []byte("x"),
	}
	for path, body := range files {
		p.put("data/"+path, body)
	}
	p.put("else/where", []byte("not ours"))
	s := openFar(t, p, "/data")
	t.Run("tree", func(t *testing.T) { tellsTree(t, s, p, files) })
	t.Run("bytes", func(t *testing.T) { readsBytes(t, s, big) })
	t.Run("errors", func(t *testing.T) { tellsErrors(t, p, s) })
	t.Run("change", func(t *testing.T) { noticesChange(t, p, s, big) })
	t.Run("pages", func(t *testing.T) { turnsPages(t, p) })
	if p.wire != "" {
		t.Run("storm", func(t *testing.T) { weathers(t, p) })
	}
}

func openFar(t *testing.T, p far, below string, more ...string) *source.Source {
	t.Helper()
	s, err := source.Open(t.Context(), source.Spec{URL: p.url + below, Options: p.with(more...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func tellsTree(t *testing.T, s *source.Source, p far, files map[string][]byte) {
	items := walk(t, s, "", source.Filter{})
	want := []string{"Case", "a-b", "a.txt", "a/", "a/b", "a/c d+e%20ü&=;'", "big", "case", "deep/", "deep/er/", "deep/er/still/", "deep/er/still/x"}
	if got := keys(items); !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	for _, i := range items {
		if i.Kind != source.KindFile {
			continue
		}
		body := files[i.Path]
		if i.Size != int64(len(body)) || !strings.HasPrefix(i.Hash, p.sum) || i.ModTime.IsZero() || i.Unreadable != "" {
			t.Errorf("%q: %+v", i.Path, i)
		}
		if sum := fmt.Sprintf("md5:%x", md5.Sum(body)); p.sum == "md5:" && i.Hash != sum {
			t.Errorf("%q: hash %s, want %s", i.Path, i.Hash, sum)
		}
		if got := readAll(t, s, i); !bytes.Equal(got, body) {
			t.Errorf("%q: other bytes", i.Path)
		}
	}
	resumes(t, s)
	got := keys(walk(t, s, "", source.Filter{Include: []string{"a", "still"}, Exclude: []string{"*%20*"}}))
	if want := []string{"a/", "a/b", "deep/er/still/", "deep/er/still/x"}; !slices.Equal(got, want) {
		t.Errorf("filtered: %q", got)
	}
	one := openFar(t, p, "/data/deep/er/still/x")
	if got := walk(t, one, "", source.Filter{}); len(got) != 1 || got[0].Path != "x" || string(readAll(t, one, got[0])) != "x" {
		t.Errorf("a single file: %+v", got)
	}
}

func readsBytes(t *testing.T, s *source.Source, big []byte) {
	f, err := s.Open(t.Context(), "big", "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	readsAnywhere(t, f, big)
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	e, err := s.Open(t.Context(), "a.txt", "")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if n, err := e.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF {
		t.Errorf("an empty file: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Walk(ctx, "", source.Filter{}, func(source.Item) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a walk that is cancelled: %v", err)
	}
}

func tellsErrors(t *testing.T, p far, s *source.Source) {
	for _, path := range []string{"none", "a/none", "none/at/all", "../else/where", "a/../a/b", "/a/b", "a//b", ""} {
		if _, err := s.Open(t.Context(), path, ""); !fault.Is(err, fault.NotFound) {
			t.Errorf("open %q: %v", path, err)
		}
	}
	for _, missing := range []string{"/dat", "/data/a/bb/", "/data/none"} {
		if _, err := source.Open(t.Context(), source.Spec{URL: p.url + missing, Options: p.with()}); !fault.Is(err, fault.NotFound) {
			t.Errorf("missing %s: %v (%v)", missing, err, fault.KindOf(err))
		}
	}
	if p.wrong == nil {
		return
	}
	options := p.with("retries", "1")
	maps.Copy(options, p.wrong)
	_, err := source.Open(t.Context(), source.Spec{URL: p.url + "/data", Options: options})
	if !fault.Is(err, fault.Forbidden) {
		t.Errorf("wrong credentials: %v (%v)", err, fault.KindOf(err))
	}
	for _, secret := range p.wrong {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

// noticesChange replaces files before they are opened and while they are read:
// whoever reads gets one version or an error.
func noticesChange(t *testing.T, p far, s *source.Source, big []byte) {
	items := walk(t, s, "", source.Filter{Include: []string{"a/b", "big"}})
	b, whole := items[slices.IndexFunc(items, func(i source.Item) bool { return i.Path == "a/b" })], items[len(items)-1]
	p.put("data/a/b", []byte("wasp!"))
	if _, err := s.Open(t.Context(), "a/b", b.ID()); !fault.Is(err, fault.Conflict) {
		t.Errorf("a changed file opens: %v", err)
	}
	f, err := s.Open(t.Context(), "big", whole.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(big))
	if _, err := f.ReadAt(got[:1000], 0); err != nil {
		t.Fatal(err)
	}
	p.put("data/big", append(bytes.Repeat([]byte("new"), len(big)/3), "longer"...))
	_, err = f.ReadAt(got[len(big)/2:], int64(len(big)/2)) // asks anew
	if err == nil {
		_, err = f.ReadAt(got[1000:len(big)/2], 1000)
	}
	if err == nil {
		err = f.Check(t.Context())
	}
	if err == nil && !bytes.Equal(got, big) {
		t.Error("a mixture of two versions passes for one")
	}
	if err != nil && !fault.Is(err, fault.Conflict) {
		t.Errorf("a file that changed while it was read: %v", err)
	}
}

// turnsPages lists more than one page holds.
func turnsPages(t *testing.T, p far) {
	const n = 60
	var want []string
	for i := range n {
		name := fmt.Sprintf("k%05d", i)
		want = append(want, name)
		p.put("many/"+name, []byte(name))
	}
	p.options = p.with()
	maps.Copy(p.options, p.page)
	s := openFar(t, p, "/many")
	if got := keys(walk(t, s, "", source.Filter{})); !slices.Equal(got, want) {
		t.Errorf("%d of %d names", len(got), n)
	}
	if got := keys(walk(t, s, want[n-5], source.Filter{})); !slices.Equal(got, want[n-4:]) {
		t.Errorf("behind %s: %q", want[n-5], got)
	}
}

// weathers reads through throttling and lines that are cut.
func weathers(t *testing.T, p far) {
	body := pattern(300_000)
	for path, body := range map[string][]byte{"one": body, "sub/two": body[:100_000], "sub/three": nil} {
		p.put("rough/"+path, body)
	}
	want := []string{"one", "sub/", "sub/three", "sub/two"}
	for name, rough := range map[string]*storm{"throttles": {t: t, throttle: 3}, "cuts": {t: t, cut: 70_000}, "both": {t: t, throttle: 4, cut: 70_000}} {
		s := openFar(t, p.behind(rough), "/rough", "retries", "12")
		items := walk(t, s, "", source.Filter{})
		if got := keys(items); !slices.Equal(got, want) {
			t.Errorf("%s: keys %q", name, got)
			continue
		}
		for _, i := range items {
			if i.Kind == source.KindFile {
				if got := readAll(t, s, i); !bytes.Equal(got, body[:i.Size]) {
					t.Errorf("%s: %q: other bytes", name, i.Path)
				}
			}
		}
	}
	down := p.behind(&storm{t: t, throttle: 1})
	if _, err := source.Open(t.Context(), source.Spec{URL: down.url + "/rough", Options: down.with("retries", "1")}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("throttled for ever: %v (%v)", err, fault.KindOf(err))
	}
}

func TestConformS3(t *testing.T) {
	conforms(t, func(t *testing.T) far {
		url, options, put := sourcetest.S3(t)
		return far{url: url, options: options, put: put, wrong: map[string]string{"secret_access_key": "a wrong one"}, sum: "md5:",
			page: map[string]string{"list_chunk": "7"}, wire: options["endpoint"]}
	})
}

func TestConformAzure(t *testing.T) {
	conforms(t, func(t *testing.T) far {
		url, options, put := sourcetest.Azure(t)
		return far{url: url, options: options, put: put, wrong: map[string]string{"key": "YSB3cm9uZyBrZXk="}, sum: "md5:",
			page: map[string]string{"list_chunk": "7"}, wire: options["endpoint"]}
	})
}

// fake-gcs-server ends every listing with its first page, so pages of GCS are
// not seen here.
func TestConformGCS(t *testing.T) {
	conforms(t, func(t *testing.T) far {
		url, options, put := sourcetest.GCS(t)
		return far{url: url, options: options, put: put, sum: "md5:", wire: options["endpoint"]}
	})
}

// folder is a place over a directory that a server shows.
func folder(t *testing.T) (root string, put func(key string, body []byte)) {
	root = t.TempDir()
	return root, func(key string, body []byte) {
		t.Helper()
		path := filepath.Join(root, key)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// guarded lets "me" in.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "me" || pass != "swordfish" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestConformHTTP(t *testing.T) {
	conforms(t, func(t *testing.T) far {
		root, put := folder(t)
		server := httptest.NewServer(guarded(http.FileServerFS(os.DirFS(root))))
		t.Cleanup(server.Close)
		return far{url: server.URL, options: map[string]string{"user": "me", "pass": "swordfish"}, put: put,
			wrong: map[string]string{"pass": "guessed"}, wire: server.URL}
	})
}

func TestConformWebDAV(t *testing.T) {
	conforms(t, func(t *testing.T) far {
		root, put := folder(t)
		server := httptest.NewServer(guarded(&webdav.Handler{FileSystem: webdav.Dir(root), LockSystem: webdav.NewMemLS()}))
		t.Cleanup(server.Close)
		return far{url: "webdav+" + server.URL, options: map[string]string{"user": "me", "pass": "swordfish"}, put: put,
			wrong: map[string]string{"pass": "guessed"}, wire: server.URL}
	})
}

func TestConformSFTP(t *testing.T) {
	conforms(t, func(t *testing.T) far {
		root, put := folder(t)
		addr, key := sftpServer(t, root)
		return far{url: "sftp://me@" + addr + root, options: map[string]string{"pass": "secret", "host_keys": key}, put: put,
			wrong: map[string]string{"pass": "guessed"}}
	})
}
