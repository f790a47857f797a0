package deal

import (
	"encoding/json"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Hidden stands where the value of a header is not shown. Given back in a
// change, it keeps the value that is there.
const Hidden = "***"

// Seal encrypts what must not be read in the database. Open undoes Seal, and
// refuses with Forbidden or Invalid what was sealed with another secret.
type Seal interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

const (
	maxHeaders     = 16
	maxHeaderBytes = 8 << 10 // names and values together
)

// reserved reports whether a fetch over HTTP has a use of its own for a header.
func reserved(name string) bool {
	return slices.Contains([]string{
		"Accept-Encoding", "Connection", "Content-Length", "Host", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	}, name)
}

// checkHeaders returns headers in their one spelling, or what is Invalid about
// them (RFC 9110, section 5). It tells no values.
func checkHeaders(given map[string]string) (map[string]string, error) {
	if len(given) > maxHeaders {
		return nil, fault.New(fault.Invalid, "policy: %d http_headers, limit %d", len(given), maxHeaders)
	}
	all, bytes := make(map[string]string, len(given)), 0
	for name, value := range given {
		spelled, value := textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value)
		_, twice := all[spelled]
		switch {
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !tokenRune(r) }):
			return nil, fault.New(fault.Invalid, "policy http_headers: %.60q is no name of a header", name)
		case reserved(spelled):
			return nil, fault.New(fault.Invalid, "policy http_headers: %s is the provider's to send", spelled)
		case twice:
			return nil, fault.New(fault.Invalid, "policy http_headers: %s is given twice", spelled)
		case value == "" || strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
			return nil, fault.New(fault.Invalid, "policy http_headers: the value of %s is empty, or has more in it than printable ASCII", spelled)
		}
		all[spelled] = value
		bytes += len(name) + len(value)
	}
	if bytes > maxHeaderBytes {
		return nil, fault.New(fault.Invalid, "policy http_headers: have %d bytes, limit %d", bytes, maxHeaderBytes)
	}
	return all, nil
}

// tokenRune reports whether a name of a header may have r in it.
func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// hidden are headers as they are shown.
func hidden(names []string) map[string]string {
	all := make(map[string]string, len(names))
	for _, name := range names {
		all[name] = Hidden
	}
	return all
}

// lock seals the headers of a policy that was checked, and hides them in it.
// Those hidden already are taken from the policy as it was before: for the same
// server only, because a secret is not for another.
func (s *Service) lock(p *Policy, before Policy) error {
	same := Template(p.URLTemplate).origin() == Template(before.URLTemplate).origin()
	if same && maps.Equal(p.HTTPHeaders, before.HTTPHeaders) && len(before.headers) > 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(p.HTTPHeaders))
	var old map[string]string
	for _, name := range names {
		if p.HTTPHeaders[name] != Hidden {
			continue
		}
		if before.HTTPHeaders[name] == "" {
			return fault.New(fault.Invalid, "policy http_headers: %s says %s, which keeps a value, and there is none", name, Hidden)
		}
		if !same {
			return fault.New(fault.Invalid, "policy http_headers: %s was for another server than url_template names now; give its value again, or leave the header out", name)
		}
		if old == nil {
			var err error
			if old, err = s.unlock(before); err != nil {
				return fault.Wrap(err, "policy http_headers: give all values again; the one of %s", name)
			}
		}
		p.HTTPHeaders[name] = old[name]
	}
	p.headers = nil
	if len(names) == 0 {
		return nil
	}
	text, err := json.Marshal(p.HTTPHeaders)
	if err != nil {
		return fault.Wrap(err, "headers of a policy")
	}
	if p.headers, err = s.seal.Seal(text); err != nil {
		return fault.Wrap(err, "encrypt the headers of a policy")
	}
	p.HTTPHeaders = hidden(names)
	return nil
}

// unlock returns the headers of a policy in clear.
func (s *Service) unlock(p Policy) (all map[string]string, err error) {
	if len(p.headers) == 0 {
		return nil, nil
	}
	text, err := s.seal.Open(p.headers)
	if err != nil {
		return nil, err
	}
	return all, fault.Wrap(json.Unmarshal(text, &all), "headers of policy %d", p.ID)
}
