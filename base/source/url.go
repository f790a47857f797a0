package source

import (
	"net/url"
	"path"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// place is a Spec's URL taken apart.
type place struct {
	kind    string            // "local", or the name of rclone's backend
	path    string            // local path; bucket/prefix; path on the server; URL of an http source
	options map[string]string // that the URL itself says, by rclone's names
}

const knownForms = "a local path, s3:bucket/prefix, gs:bucket/prefix, azure:container/prefix, http(s)://…, sftp://user@host/path or webdav+http(s)://…"

// buckets are the forms that name a bucket and a prefix.
var buckets = map[string]string{"s3": "s3", "gs": "google cloud storage", "azure": "azureblob"}

// maxURL is the longest URL read, in bytes.
const maxURL = 16 << 10

func parseURL(raw string) (place, error) {
	switch {
	case raw == "":
		return place{}, fault.New(fault.Invalid, "source: empty: give %s", knownForms)
	case len(raw) > maxURL:
		return place{}, fault.New(fault.Invalid, "source: URL of %d bytes: at most %d", len(raw), maxURL)
	case strings.ContainsRune(raw, 0):
		return place{}, fault.New(fault.Invalid, "source %q: holds a NUL byte", hidePassword(raw))
	}
	scheme, rest, found := strings.Cut(raw, ":")
	if !found || strings.ContainsAny(scheme, `/\`) {
		return place{kind: "local", path: raw}, nil
	}
	scheme = strings.ToLower(scheme)
	if kind, ok := buckets[scheme]; ok {
		return parseBucket(raw, kind, strings.TrimPrefix(rest, "//"))
	}
	after, isURL := strings.CutPrefix(rest, "//")
	if !isURL {
		return place{kind: "local", path: raw}, nil
	}
	switch scheme {
	case "file":
		return place{kind: "local", path: after}, nil
	case "http", "https":
		return parseHTTP(raw)
	case "webdav+http", "webdav+https":
		return parseWebDAV(raw)
	case "sftp":
		return parseSFTP(raw)
	}
	return place{}, fault.New(fault.Invalid, "source %q: no source speaks %q: give %s", hidePassword(raw), scheme, knownForms)
}

func parseBucket(raw, kind, rest string) (place, error) {
	if bucket, _, _ := strings.Cut(rest, "/"); bucket == "" || bucket == "." || bucket == ".." {
		return place{}, fault.New(fault.Invalid, "source %q: names no bucket: write it behind the colon, as in s3:bucket/prefix", raw)
	}
	return place{kind: kind, path: rest}, nil
}

// parseServer reads a URL that must name a host.
func parseServer(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error quotes the URL, password and all.
		var why = err
		if e, ok := err.(*url.Error); ok {
			why = e.Err
		}
		return nil, fault.New(fault.Invalid, "source %q: not a URL: %v", hidePassword(raw), why)
	}
	if u.Hostname() == "" {
		return nil, fault.New(fault.Invalid, "source %q: names no host: write scheme://host/path", hidePassword(raw))
	}
	return u, nil
}

func parseHTTP(raw string) (place, error) {
	u, err := parseServer(raw)
	if err != nil {
		return place{}, err
	}
	u.Fragment, u.RawFragment = "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	return place{kind: "http", path: u.String()}, nil
}

func parseWebDAV(raw string) (place, error) {
	u, err := parseServer(raw[len("webdav+"):])
	if err != nil {
		return place{}, err
	}
	p := place{kind: "webdav", options: map[string]string{}}
	takeUser(u, p.options)
	p.path = strings.Trim(u.Path, "/")
	p.options["url"] = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}).String()
	return p, nil
}

func parseSFTP(raw string) (place, error) {
	u, err := parseServer(raw)
	if err != nil {
		return place{}, err
	}
	p := place{kind: "sftp", path: path.Clean("/" + u.Path), options: map[string]string{"host": u.Hostname()}}
	takeUser(u, p.options)
	if u.Port() != "" {
		p.options["port"] = u.Port()
	}
	// "/~/" is the way to say "from the user's home" in an sftp URL.
	if home, ok := strings.CutPrefix(p.path+"/", "/~/"); ok {
		p.path = strings.TrimSuffix(home, "/")
	}
	return p, nil
}

// takeUser moves user and password from a URL to the options.
func takeUser(u *url.URL, options map[string]string) {
	if u.User == nil {
		return
	}
	if name := u.User.Username(); name != "" {
		options["user"] = name
	}
	if pass, ok := u.User.Password(); ok {
		options["pass"] = pass
	}
	u.User = nil
}
