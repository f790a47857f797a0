package source

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Spec names a source.
type Spec struct {
	// URL is a local path, or one of s3:bucket/prefix, gs:bucket/prefix,
	// azure:container/prefix (each also with "//"), http://…, https://…,
	// sftp://user@host:port/path, webdav+http://… and webdav+https://….
	URL string
	// Options are credentials and settings by rclone's names for the backend
	// ("access_key_id", "endpoint", "pass"), and ours: "retries", "timeout", "stall".
	// They may hold secrets: String and the log show their names alone.
	Options map[string]string
}

// String shows the URL without its password, and the names of the options.
func (s Spec) String() string {
	out := hidePassword(s.URL)
	if len(s.Options) == 0 {
		return out
	}
	names := make([]string, 0, len(s.Options))
	for name := range s.Options {
		names = append(names, name)
	}
	slices.Sort(names)
	return out + " (" + strings.Join(names, ", ") + ")"
}

// GoString keeps %#v from showing what String hides.
func (s Spec) GoString() string { return "source.Spec{" + s.String() + "}" }

// LogValue is String, so that a logged Spec tells no secret.
func (s Spec) LogValue() slog.Value { return slog.StringValue(s.String()) }

// hidePassword replaces what stands between "user:" and "@" of a URL's
// authority, and a query, which may carry a signature.
func hidePassword(raw string) string {
	i := strings.Index(raw, "://")
	if i < 0 {
		return raw
	}
	head, rest := raw[:i+3], raw[i+3:]
	authority, path, _ := strings.Cut(rest, "/")
	if len(authority) < len(rest) {
		path = "/" + path
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, _, secret := strings.Cut(authority[:at], ":")
		if secret {
			user += ":…"
		}
		authority = user + authority[at:]
	}
	if path, query, ok := strings.Cut(path, "?"); ok && query != "" && strings.HasPrefix(head, "http") {
		return head + authority + path + "?…"
	}
	return head + authority + path
}

// Check refuses what can never be opened, as Invalid: a URL of no known form, an
// option that is unknown or has a value it cannot have. Nobody is asked.
func (s Spec) Check() error {
	p, err := parseURL(s.URL)
	if err != nil {
		return err
	}
	_, _, err = readOptions(p, s.Options)
	return fault.Wrap(err, "source %s", hidePassword(s.URL))
}

// Local returns the path of a Spec that names a place on this machine.
func (s Spec) Local() (path string, ok bool) {
	p, err := parseURL(s.URL)
	return p.path, err == nil && p.kind == "local"
}
