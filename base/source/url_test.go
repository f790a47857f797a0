package source

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/webdav"

	"github.com/firth-project/firth/base/fault"
)

func TestParseURL(t *testing.T) {
	tests := map[string]struct {
		kind, path string
		options    string
	}{
		"/data/set":                  {kind: "local", path: "/data/set"},
		"data":                       {kind: "local", path: "data"},
		"./s3:odd":                   {kind: "local", path: "./s3:odd"},
		"notes:2024":                 {kind: "local", path: "notes:2024"},
		`C:\data`:                    {kind: "local", path: `C:\data`},
		"file:///data":               {kind: "local", path: "/data"},
		"s3:bucket":                  {kind: "s3", path: "bucket"},
		"s3://bucket/a//b/":          {kind: "s3", path: "bucket/a//b/"},
		"GS:bucket/x":                {kind: "google cloud storage", path: "bucket/x"},
		"azure:box/p":                {kind: "azureblob", path: "box/p"},
		"http://h":                   {kind: "http", path: "http://h/"},
		"https://u:p@h:1/a%20b?q#f":  {kind: "http", path: "https://u:p@h:1/a%20b?q"},
		"sftp://me@h:22/a/../b/":     {kind: "sftp", path: "/b", options: "host=h port=22 user=me"},
		"sftp://h/~/docs":            {kind: "sftp", path: "docs", options: "host=h"},
		"webdav+https://u:p@h/dav/x": {kind: "webdav", path: "dav/x", options: "pass=p url=https://h/ user=u"},
	}
	for raw, want := range tests {
		p, err := parseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		var options []string
		for k, v := range p.options {
			options = append(options, k+"="+v)
		}
		slices.Sort(options)
		if p.kind != want.kind || p.path != want.path || strings.Join(options, " ") != want.options {
			t.Errorf("%s: %+v", raw, p)
		}
	}
	for _, raw := range []string{"", "s3:", "s3:///x", "gs:/", "azure:..", "ftp://h/x", "http://", "sftp:///x", "webdav+http://", "http://[::1", "a\x00b", "nfs://h/x",
		strings.Repeat("x", maxURL+1)} {
		if p, err := parseURL(raw); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.40q: %+v, %v", raw, p, err)
		}
	}
}

func TestSecretsAreHidden(t *testing.T) {
	s := Spec{URL: "sftp://me:hunter2@host/x", Options: map[string]string{"pass": "hunter2", "key_pem": "hunter2"}}
	for _, shown := range []string{s.String(), fmt.Sprint(s), fmt.Sprintf("%+v %#v %s", s, s, &s), s.LogValue().String()} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("shows %s", shown)
		}
	}
	for raw, want := range map[string]string{
		"https://u:p@h/x?sig=abc": "https://u:…@h/x?…", "http://h": "http://h", "s3:b/p": "s3:b/p", "webdav+http://a:b:c@d@h/": "webdav+http://a:…@h/",
	} {
		if got := hidePassword(raw); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
	_, err := Open(t.Context(), Spec{URL: "http://u:hunter2@127.0.0.1:1/x?sig=hunter2", Options: map[string]string{"retries": "0"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestOptionsAreNamed(t *testing.T) {
	for url, options := range map[string]map[string]string{
		"s3:b": {"download_url": "x"}, "s3:b/2": {"access_key_id": "only"}, "sftp://u@h/": {"server_command": "rm"}, "webdav+http://h/": {"bearer_token_command": "rm"},
		"gs:b": {}, "azure:b": {}, "http://h/": {"no_head": "true"}, "/": {"pass": "x"}, "s3:b/3": {"retries": "many"}, "s3:b/4": {"timeout": "-1s"}, "s3:b/5": {"ordered": "?"},
		"s3:b/6": {"list_chunk": "x"},
	} {
		_, err := Open(t.Context(), Spec{URL: url, Options: options})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s %v: %v", url, options, err)
		}
		for name := range options {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: the error does not name %s: %v", url, name, err)
			}
		}
	}
}

func TestIDs(t *testing.T) {
	for _, id := range []string{"0:0:", "12345:1700000000000000000:md5:0123", "7:-5:etag:\"a:b\""} {
		v, ok := versionOf(id)
		if !ok || v.ID() != id {
			t.Errorf("%s: %+v, %v", id, v, ok)
		}
	}
	for _, id := range []string{"", "1", "1:2", "x:1:", "1:y:"} {
		if _, ok := versionOf(id); ok {
			t.Errorf("%q is an id", id)
		}
	}
}

// Where there is no openat2, os.Root does the same.
func TestOpenBeneath(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "d", "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "d/f", "out": "/etc/hostname"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, kind := range map[string]fault.Kind{"link": fault.Conflict, "out": fault.Conflict, "none": fault.NotFound, "d/f/x": fault.NotFound} {
		if f, err := openBeneath(root, path); err == nil || !fault.Is(localFault(err), kind) {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
	for _, path := range []string{"d/f", "d", "."} {
		f, err := openBeneath(root, path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// A server that ignores Range, read through rclone, gives an error and no
// wrong bytes.
func TestWindowsAreChecked(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	dav := &webdav.Handler{FileSystem: webdav.Dir(root), LockSystem: webdav.NewMemLS()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		dav.ServeHTTP(w, r)
	}))
	defer server.Close()
	s, err := Open(t.Context(), Spec{URL: "webdav+" + server.URL, Options: map[string]string{"vendor": "sharepoint-ntlm"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f, err := s.Open(t.Context(), "f", "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 100)
	if n, err := f.ReadAt(p, 1000); n != 0 || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "ignores Range") {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := f.ReadAt(p, 0); n != 100 || err != nil {
		t.Errorf("in order: %d, %v", n, err)
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"/x", "s3:b/p", "s3://b//", "gs:", "azure:a/b", "http://u:p@h/?q", "https://[::1]:8/%zz", "sftp://a@b/~/", "webdav+http://u:p@h/x", "file://", "x:y", ":", "://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		_ = hidePassword(raw)
		p, err := parseURL(raw)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("kind of %v", err)
			}
			return
		}
		if p.kind == "" || p.kind != "local" && p.kind != "webdav" && p.path == "" && p.kind != "sftp" {
			t.Errorf("%+v", p)
		}
		if _, _, err := readOptions(p, nil); err != nil {
			t.Error(err)
		}
	})
}

// slow matches as a regular expression does.
func slow(text string) *regexp.Regexp {
	text = strings.TrimPrefix(strings.TrimRight(text, "/"), "/")
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for i := 0; i < len(text); {
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, "**/") && (i == 0 || text[i-1] == '/'):
			b.WriteString(`(?:.*/)?`)
			i += 3
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			i += 2
		case rest[0] == '*':
			b.WriteString(`[^/]*`)
			i++
		case rest[0] == '?':
			b.WriteString(`[^/]`)
			i++
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
			i++
		}
	}
	return regexp.MustCompile(b.String() + `$`)
}

// Every short glob over every short path.
func TestGlobsMatchAsRegexps(t *testing.T) {
	words := func(alphabet string, most int) (out []string) {
		for from := []string{""}; most > 0; most-- {
			var next []string
			for _, w := range from {
				for _, c := range alphabet {
					next = append(next, w+string(c))
				}
			}
			out, from = append(out, next...), next
		}
		return out
	}
	paths := slices.DeleteFunc(words("ab/", 6), func(p string) bool { return !fs.ValidPath(p) })
	for _, text := range words("a*/?", 6) {
		g, err := parseGlob(text)
		if err != nil || strings.HasPrefix(text, "//") {
			continue
		}
		re := slow(text)
		for _, path := range paths {
			name := path[strings.LastIndexByte(path, '/')+1:]
			held := path
			if !g.whole {
				held = name
			}
			if got, want := g.match(path, name, true), re.MatchString(held); got != want {
				t.Fatalf("glob %q, path %q: %v, want %v", text, path, got, want)
			}
		}
	}
}

func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"*.txt", "a.txt"}, {"**/b", "a/b"}, {"a/**/b", "a/b"}, {"a/**", "a/b/c"}, {"[a-c]?", "bx"}, {`\*`, "*"}, {"***", "a/b"}, {"a**/b", "ax/b"},
		{"**/*a*/**/b?", "x/ya/z/bc"}, {"[!a]", "b"}, {"[]a]", "]"}, {"/x", "x"}, {"x/", "x"}, {"*/a*b", "c/aab"}, {"**/a/**/a", "a/a/b/a"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		g, err := parseGlob(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("kind of %v", err)
			}
			return
		}
		if len(path) > 200 || len(text) > 60 || !fs.ValidPath(path) || path == "." {
			return
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		got := g.match(path, name, true)
		if strings.ContainsAny(text, `[]\`) || strings.ContainsFunc(text+path, func(r rune) bool { return r > 126 }) || strings.HasPrefix(text, "//") {
			return
		}
		held := path
		if !g.whole {
			held = name
		}
		if want := slow(text).MatchString(held); got != want {
			t.Errorf("glob %q, path %q: %v, want %v", text, path, got, want)
		}
	})
}
