package fetch

import (
	"net/url"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// signs are the fields of a query that open what an URL names, or sign for it:
// those of S3, Google, Azure, CloudFront and their likes, and what services call
// their tokens. Names are in lower case.
var signs = []string{
	"x-amz-signature", "x-amz-security-token", "x-goog-signature", "x-oss-signature", "q-signature", "signature", "sig",
	"token", "access_token", "auth", "jwt", "api_key", "apikey", "password", "secret",
}

// hidden stands in for the value of such a field.
const hidden = "***"

// Secrets are what an URL has that opens it: user and password, and values of
// its query. The zero value is none.
type Secrets struct {
	User   string   `json:"user,omitempty"`   // "user:password", as it is written in an URL
	Values []string `json:"values,omitempty"` // in their order, as they are written in a query
}

// Take takes the secrets out of an URL. What is left can be shown, and is another
// for another thing.
func Take(text string) (plain string, s Secrets, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", s, fault.New(fault.Invalid, "%.200q: is no address as RFC 3986 has them", Shown(text))
	}
	if u.User != nil {
		s.User, u.User = u.User.String(), nil
	}
	u.RawQuery = eachSign(u.RawQuery, func(value string) string {
		s.Values = append(s.Values, value)
		return hidden
	})
	if s.None() {
		return text, s, nil
	}
	return u.String(), s, nil
}

// None reports whether there are no secrets.
func (s Secrets) None() bool { return s.User == "" && len(s.Values) == 0 }

// Into puts secrets back where they were taken from. If they are not those of
// the URL, the error is fault.Conflict.
func (s Secrets) Into(plain string) (string, error) {
	u, err := url.Parse(plain)
	if err != nil {
		return "", fault.Mark(fault.Internal, err)
	}
	if s.User != "" {
		user, err := url.Parse("//" + s.User + "@")
		if err != nil {
			return "", fault.New(fault.Internal, "%s: what is kept of its user is none", plain)
		}
		u.User = user.User
	}
	left := s.Values
	u.RawQuery = eachSign(u.RawQuery, func(string) string {
		if len(left) == 0 {
			err = fault.New(fault.Conflict, "%s: its signature is not kept any more; name the whole address again", plain)
			return hidden
		}
		value := left[0]
		left = left[1:]
		return value
	})
	return u.String(), err
}

// eachSign replaces the values of a query that are signs, and nothing else of
// its text, which may be signed.
func eachSign(query string, replace func(value string) string) string {
	fields := strings.Split(query, "&")
	for i, f := range fields {
		name, value, has := strings.Cut(f, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if has && value != "" && slices.Contains(signs, strings.ToLower(name)) {
			fields[i] = f[:len(f)-len(value)] + replace(value)
		}
	}
	return strings.Join(fields, "&")
}

// Shown is an URL as errors may have it, and be it none: without what opens it.
func Shown(text string) string {
	u, err := url.Parse(text)
	if err == nil {
		u.RawQuery = eachSign(u.RawQuery, func(string) string { return hidden })
		return u.Redacted()
	}
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = "…" + text[at:]
	}
	if before, query, has := strings.Cut(text, "?"); has {
		text = before + "?" + eachSign(query, func(string) string { return hidden })
	}
	return text
}
