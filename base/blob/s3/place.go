package s3

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Scheme begins the URL of a bucket. "s3:bucket/prefix", as sources are named,
// means the same.
const Scheme = "s3://"

// Place is a bucket, or the part of it below a prefix.
type Place struct {
	Bucket   string
	Prefix   string // without slashes around it; "" is the whole bucket
	Endpoint string // URL of the server; "" is AWS, or what AWS_ENDPOINT_URL says
	Region   string // "" is what AWS_REGION says, else us-east-1
	Profile  string // of the shared credentials file; "" is the keys that Open is given
}

// Names reports whether a text is the URL of a bucket rather than a path.
func Names(text string) bool { return strings.HasPrefix(text, "s3:") }

// bucketName is what a bucket may be called anywhere, old ones included.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{2,254}$`)

// maxPrefix leaves room for a key within the 1,024 bytes of S3.
const maxPrefix = 400

// Parse reads s3://bucket/prefix?endpoint=URL&region=NAME&profile=NAME; the
// error is fault.Invalid. Credentials have no place in it: whoever puts them
// there is told where they belong, without repeating them.
func Parse(text string) (Place, error) {
	rest, ok := strings.CutPrefix(text, "s3:")
	rest = strings.TrimPrefix(rest, "//")
	shown, query, _ := strings.Cut(rest, "?")
	if user := strings.LastIndexByte(shown, '@'); user >= 0 {
		return Place{}, fault.New(fault.Invalid, "bucket …@%.100s: credentials do not belong into a URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile=", shown[user+1:])
	}
	bucket, prefix, _ := strings.Cut(shown, "/")
	p := Place{Bucket: bucket, Prefix: strings.TrimSuffix(prefix, "/")}
	values, err := url.ParseQuery(query)
	switch {
	case !ok || !bucketName.MatchString(bucket):
		return Place{}, fault.New(fault.Invalid, "bucket %.100q: want s3://bucket/prefix", shown)
	case err != nil:
		return Place{}, fault.New(fault.Invalid, "bucket s3://%.100s: what follows the question mark is no query of a URL", shown)
	case len(p.Prefix) > maxPrefix:
		return Place{}, fault.New(fault.Invalid, "bucket s3://%.100s…: the prefix has %d bytes, limit %d", shown, len(p.Prefix), maxPrefix)
	}
	for _, part := range strings.Split(p.Prefix, "/") {
		if p.Prefix != "" && (part == "" || part == "." || part == ".." || strings.ContainsFunc(part, unprintable)) {
			return Place{}, fault.New(fault.Invalid, "bucket s3://%.100s: part %.40q of the prefix must be text, and neither empty nor . nor ..", shown, part)
		}
	}
	for key, value := range values {
		if len(value) != 1 {
			return Place{}, fault.New(fault.Invalid, "bucket s3://%.100s: option %.40q is there %d times", shown, key, len(value))
		}
		switch key {
		case "endpoint":
			p.Endpoint = strings.TrimRight(value[0], "/")
		case "region":
			p.Region = value[0]
		case "profile":
			p.Profile = value[0]
		default:
			return Place{}, fault.New(fault.Invalid, "bucket s3://%.100s: unknown option %.40q, known are endpoint, region and profile", shown, key)
		}
	}
	if p.Endpoint != "" {
		u, err := url.Parse(p.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
			return Place{}, fault.New(fault.Invalid, "bucket s3://%.100s: the endpoint is no URL like https://s3.example.org", shown)
		}
	}
	return p, nil
}

func unprintable(c rune) bool { return c <= ' ' || c == 0x7f || c == 0xfffd || c == '?' || c == '\\' }

// String is the URL of the place in its one spelling.
func (p Place) String() string { return p.At("") }

// At is the URL of an object of the place.
func (p Place) At(key string) string {
	text := Scheme + strings.TrimRight(p.Bucket+"/"+p.object(key), "/")
	query := url.Values{}
	for name, value := range map[string]string{"endpoint": p.Endpoint, "region": p.Region, "profile": p.Profile} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) > 0 {
		text += "?" + query.Encode()
	}
	return text
}

// short is how errors name the place.
func (p Place) short() string { return Scheme + strings.TrimRight(p.Bucket+"/"+p.Prefix, "/") }

// object is the name of a key in the bucket.
func (p Place) object(key string) string {
	if p.Prefix == "" {
		return key
	}
	return p.Prefix + "/" + key
}

// Object takes the URL of an object apart: the place it is in, and its key
// there, which is what stands behind the last slash.
func Object(text string) (Place, string, error) {
	p, err := Parse(text)
	if err != nil {
		return Place{}, "", err
	}
	if p.Prefix == "" {
		return Place{}, "", fault.New(fault.Invalid, "object %.200q: names a bucket, not an object", p.short())
	}
	i := strings.LastIndexByte(p.Prefix, '/')
	key := p.Prefix[i+1:]
	p.Prefix = p.Prefix[:max(i, 0)]
	return p, key, nil
}
