package source_test

import (
	"bytes"
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// bucket answers as S3 does, and holds keys that no server over a file system
// can: only what reading needs, in key order.
type bucket struct {
	keys  int
	key   func(n int) string // n-th of all, in order
	body  func(key string) []byte
	lists atomic.Int64
	fault func(w http.ResponseWriter, r *http.Request, lists int64) bool
}

func bucketOf(keys ...string) *bucket {
	return &bucket{keys: len(keys), key: func(n int) string { return keys[n] }, body: func(key string) []byte {
		if strings.HasSuffix(key, "/") && !strings.HasSuffix(key, "full/") {
			return nil
		}
		return []byte("body of " + key)
	}}
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/odd/")
	if r.URL.Path == "/odd" || r.URL.Path == "/odd/" {
		if n := b.lists.Add(1); b.fault == nil || !b.fault(w, r, n) {
			b.list(w, r.URL.Query())
		}
		return
	}
	if !b.has(key) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body := b.body(key)
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
	http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(body))
}

func (b *bucket) has(key string) bool {
	for n := range b.keys {
		if b.key(n) == key {
			return true
		}
	}
	return false
}

type listed struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name, Prefix          string
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	NextMarker            string `xml:",omitempty"`
	Contents              []listedKey
	CommonPrefixes        []struct{ Prefix string }
}

type listedKey struct {
	Key, LastModified, ETag string
	Size                    int
}

func (b *bucket) list(w http.ResponseWriter, q url.Values) {
	out := listed{Name: "odd", Prefix: q.Get("prefix"), EncodingType: q.Get("encoding-type")}
	most, _ := strconv.Atoi(q.Get("max-keys"))
	from, _ := strconv.Atoi(q.Get("continuation-token") + q.Get("marker")) // of version 2, of version 1
	prefixes := map[string]bool{}
	spell := func(s string) string { return s }
	if out.EncodingType == "url" {
		spell = url.QueryEscape
	}
	for n := from; n < b.keys; n++ {
		key := b.key(n)
		rest, ok := strings.CutPrefix(key, out.Prefix)
		if !ok {
			continue
		}
		if len(out.Contents) == max(most, 1) {
			out.IsTruncated, out.NextContinuationToken, out.NextMarker = true, strconv.Itoa(n), strconv.Itoa(n)
			break
		}
		if d := q.Get("delimiter"); d != "" {
			if dir, _, below := strings.Cut(rest, d); below {
				if p := out.Prefix + dir + d; !prefixes[p] {
					prefixes[p] = true
					out.CommonPrefixes = append(out.CommonPrefixes, struct{ Prefix string }{spell(p)})
				}
				continue
			}
		}
		body := b.body(key)
		out.Contents = append(out.Contents, listedKey{spell(key), "2023-11-14T22:13:20.000Z", fmt.Sprintf(`"%x"`, md5.Sum(body)), len(body)})
	}
	xml.NewEncoder(w).Encode(out)
}

func (b *bucket) start(t *testing.T) map[string]string {
	t.Helper()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return quick("endpoint", server.URL, "access_key_id", "k", "secret_access_key", "s", "force_path_style", "true")
}

func TestBucketOddKeys(t *testing.T) {
	all := []string{
		"../up", "./dot", "/", "/leading", "a", "a!", "a-b", "a/below", "a/deep/er", "b/", "b/..", "b/../c", "b/./d", "b//double", "b/Case", "b/case", "b/con\x01trol\n",
		"c+d e%41", "d/full/", "d/full/x", "marker/", "marker/only/", "p//q", "p/r", "tail//", "ü/\u202e", "．/wide",
	}
	slices.Sort(all)
	b := bucketOf(all...)
	options := b.start(t)
	options["list_url_encode"] = "true" // XML has no control bytes
	s := open(t, "s3:odd", options)
	items := walk(t, s, "", source.Filter{})
	told := map[string]source.Item{}
	for _, i := range items {
		told[i.Key()] = i
	}
	bad := []string{"../up", "./dot", "/", "/leading", "a/below", "a/deep/er", "b/..", "b/../c", "b/./d", "b//double", "d/full/", "p//q", "tail//"}
	for _, key := range all {
		i, ok := told[key]
		switch isBad := slices.Contains(bad, key); {
		case !ok:
			t.Errorf("%q is lost", key)
		case ok && isBad != (i.Unreadable != ""):
			t.Errorf("%q: unreadable is %q", key, i.Unreadable)
		case ok && !isBad && i.Kind == source.KindFile:
			if got := string(readAll(t, s, i)); got != "body of "+key {
				t.Errorf("%q reads %q", key, got)
			}
		case isBad:
			if _, err := s.Open(t.Context(), i.Path, ""); !strings.HasPrefix(i.Path, "a/") && i.Path != "d/full" && !fault.Is(err, fault.NotFound) {
				t.Errorf("%q opens: %v", key, err)
			}
		}
	}
	if i := items[slices.IndexFunc(items, func(i source.Item) bool { return i.Path == "d/full" })]; i.Unreadable == "" {
		t.Errorf("a directory with content: %+v", i)
	}
	for _, dir := range []string{"b/", "d/", "marker/", "marker/only/", "ü/"} {
		if told[dir].Kind != source.KindDir {
			t.Errorf("directory %q: %+v", dir, told[dir])
		}
	}
	got := keys(items)
	if !slices.IsSorted(got) {
		t.Errorf("not in order: %q", got)
	}
	filtered := keys(walk(t, s, "", source.Filter{Include: []string{"b/Case", "marker"}, Exclude: []string{"only"}}))
	if want := []string{"b/Case", "marker/"}; !slices.Equal(filtered, want) {
		t.Errorf("filtered: %q", filtered)
	}
}

func TestBucketResumes(t *testing.T) {
	b := bucketOf("a", "a-b", "b/c/d", "b/c/e", "b/f", "c/", "c/g", "d")
	s := open(t, "s3:odd", b.start(t))
	if got, want := keys(walk(t, s, "", source.Filter{})), []string{"a", "a-b", "b/", "b/c/", "b/c/d", "b/c/e", "b/f", "c/", "c/g", "d"}; !slices.Equal(got, want) {
		t.Fatalf("keys %q", got)
	}
	resumes(t, s)
}

// A listing that breaks goes on behind what was told, and nothing is told twice.
func TestBucketListingBreaks(t *testing.T) {
	var names []string
	for n := range 2500 {
		names = append(names, fmt.Sprintf("k%05d", n))
	}
	b := bucketOf(names...)
	b.fault = func(w http.ResponseWriter, r *http.Request, n int64) bool {
		if n%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n%3 == 0
	}
	options := b.start(t)
	options["list_chunk"] = "500"
	s := open(t, "s3:odd", options)
	if got := keys(walk(t, s, "", source.Filter{})); !slices.Equal(got, names) {
		t.Errorf("%d keys", len(got))
	}
	b.fault = func(w http.ResponseWriter, r *http.Request, n int64) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	options["retries"] = "0"
	if _, err := source.Open(t.Context(), source.Spec{URL: "s3:odd", Options: options}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("throttled for ever: %v", err)
	}
}

func TestBucketOutOfOrder(t *testing.T) {
	b := bucketOf("a", "c", "b")
	options := b.start(t)
	s := open(t, "s3:odd", options)
	err := s.Walk(t.Context(), "", source.Filter{}, func(source.Item) error { return nil })
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "ordered=false") {
		t.Errorf("got %v", err)
	}
	options["ordered"] = "false"
	if got := keys(walk(t, open(t, "s3:odd", options), "", source.Filter{})); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("by directory: %q", got)
	}
}

// Memory does not grow with the number of keys.
func TestBucketManyKeys(t *testing.T) {
	keys := 20_000
	if os.Getenv("FIRTH_TEST_LONG") == "1" {
		keys = 1_000_000
	}
	b := &bucket{keys: keys, key: func(n int) string { return fmt.Sprintf("prefix/key-%09d", n) }, body: func(string) []byte { return nil }}
	s := open(t, "s3:odd/prefix", b.start(t))
	var most uint64
	n := 0
	if err := s.Walk(t.Context(), "", source.Filter{}, func(source.Item) error {
		if n++; n%10_000 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != keys || most > 64<<20 {
		t.Errorf("%d keys, %d bytes of heap", n, most)
	}
	t.Logf("%d keys, at most %d KiB of heap", n, most>>10)
}

// Neither rclone's configuration nor the environment has a say.
func TestEnvironmentHasNoSay(t *testing.T) {
	t.Setenv("RCLONE_CONFIG", "/nonexistent/rclone.conf")
	t.Setenv("RCLONE_S3_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("RCLONE_CONFIG_SOURCE_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("RCLONE_S3_ACCESS_KEY_ID", "other")
	t.Setenv("AWS_ACCESS_KEY_ID", "other")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "other")
	t.Setenv("AWS_REGION", "eu-north-1")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent/aws")
	var credentials atomic.Value
	b := bucketOf("k")
	b.fault = func(w http.ResponseWriter, r *http.Request, n int64) bool {
		credentials.Store(r.Header.Get("Authorization"))
		return false
	}
	options := b.start(t)
	s := open(t, "s3:odd", options)
	if got := walk(t, s, "", source.Filter{}); len(got) != 1 {
		t.Errorf("items %v", got)
	}
	if got, _ := credentials.Load().(string); !strings.Contains(got, "Credential=k/") || !strings.Contains(got, "/us-east-1/") {
		t.Errorf("signed as %q", got)
	}
	delete(options, "access_key_id")
	delete(options, "secret_access_key")
	public := open(t, "s3:odd", options)
	items := walk(t, public, "", source.Filter{})
	if got, _ := credentials.Load().(string); got != "" || string(readAll(t, public, items[0])) != "body of k" {
		t.Errorf("a public bucket is asked as %q", got)
	}
}
