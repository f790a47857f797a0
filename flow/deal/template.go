package deal

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/firth-project/firth/base/fault"
)

// Template is a URL of pieces that are kept outside, such as
// https://cdn.example/{piece_cid}.car, with the piece CID of version 2 or, as
// {piece_cid_v1}, of version 1 (FRC-0069) in its path or query.
type Template string

const maxTemplate = 2048 // bytes

// URL is where a piece is fetched.
func (t Template) URL(pieceCID, pieceCIDv1 string) string {
	return strings.NewReplacer("{piece_cid}", pieceCID, "{piece_cid_v1}", pieceCIDv1).Replace(string(t))
}

// Check refuses, as Invalid, templates under which pieces could not be told
// apart, or that no provider could fetch from. None is fine.
func (t Template) Check() error {
	if t == "" {
		return nil
	}
	const mark = "cid-of-a-piece"
	filled := t.URL(mark, mark)
	u, err := url.Parse(filled)
	switch {
	case len(t) > maxTemplate:
		return fault.New(fault.Invalid, "has %d bytes, limit %d", len(t), maxTemplate)
	case strings.ContainsFunc(string(t), func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return fault.New(fault.Invalid, "%q has spaces or control characters in it", string(t))
	case filled == string(t):
		return fault.New(fault.Invalid, "%q has neither {piece_cid} nor {piece_cid_v1} in it", string(t))
	case strings.ContainsAny(filled, "{}"):
		return fault.New(fault.Invalid, "%q has another word in braces than piece_cid and piece_cid_v1", string(t))
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fault.New(fault.Invalid, "%q is no http(s) URL", string(t))
	case u.User != nil:
		return fault.New(fault.Invalid, "%q names a user, and everyone sees URLs; use http_headers of a policy", u.Redacted())
	case strings.Contains(u.Host, mark):
		return fault.New(fault.Invalid, "%q has a piece CID in its host, which is too long for a label there", string(t))
	case strings.Contains(filled, "#"):
		return fault.New(fault.Invalid, "%q has a fragment, which is never sent", string(t))
	}
	return nil
}

// origin is the server that a template names.
func (t Template) origin() string {
	u, err := url.Parse(t.URL("", ""))
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
