package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/blob/blobtest"
	"github.com/firth-project/firth/base/blob/s3"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source/sourcetest"
)

// server is a real S3 server with one bucket.
func server(t *testing.T) (s3.Place, s3.Options) {
	t.Helper()
	source, options, _ := sourcetest.S3(t)
	p, err := s3.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	p.Endpoint, p.Region = options["endpoint"], options["region"]
	return p, s3.Options{AccessKey: options["access_key_id"], SecretKey: options["secret_access_key"]}
}

func open(t *testing.T, p s3.Place, o s3.Options) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestServer runs what needs a server on one, each below a prefix of its own.
func TestServer(t *testing.T) {
	p, o := server(t)
	for name, test := range map[string]func(*testing.T, s3.Place, s3.Options){
		"conformance": conformance, "large objects": largeObjects, "broken uploads": brokenUploads, "sweep": sweep, "exact": exact,
		"list pages": listPages, "move": move, "faults": faults, "put ends": putEnds,
	} {
		p := p
		p.Prefix = strings.ReplaceAll(name, " ", "-")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p, o)
		})
	}
}

func conformance(t *testing.T, p s3.Place, o s3.Options) {
	n := 0
	blobtest.Run(t, func(t *testing.T) blob.Store {
		n++
		p := p
		p.Prefix = fmt.Sprintf("%s/%d", p.Prefix, n)
		return open(t, p, o)
	})
}

// noise is bytes that no two parts have in common.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b) // never fails
	return b
}

func read(t *testing.T, s blob.Store, key string, off, n int64) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), key, off, n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func largeObjects(t *testing.T, p s3.Place, o s3.Options) {
	s := open(t, p, o)
	all := noise(40<<20 + 11)
	for _, size := range []int{256<<10 - 1, 256 << 10, 8<<20 - 1, 8 << 20, 8<<20 + 1, 16 << 20, len(all)} {
		data := all[:size]
		info, err := s.Put(t.Context(), "large", io.MultiReader(bytes.NewReader(data[:size/3]), bytes.NewReader(data[size/3:])))
		if err != nil || info.Size != int64(size) {
			t.Fatalf("%d bytes: %+v, %v", size, info, err)
		}
		if got := read(t, s, "large", 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back different", size)
		}
		off := int64(size) / 2
		if got := read(t, s, "large", off, 100_000); !bytes.Equal(got, data[off:min(off+100_000, int64(size))]) {
			t.Errorf("a range of %d bytes came back different", size)
		}
	}
}

// A reader that breaks far into an object leaves nothing of it, not even parts,
// however its error is called.
func brokenUploads(t *testing.T, p s3.Place, o s3.Options) {
	o.Abandoned = time.Nanosecond
	s := open(t, p, o)
	for _, broken := range []error{io.ErrUnexpectedEOF, fault.New(fault.Conflict, "changed")} {
		r := io.MultiReader(bytes.NewReader(noise(20<<20)), failing{broken})
		if _, err := s.Put(t.Context(), "k", r); err == nil || !strings.Contains(err.Error(), broken.Error()) {
			t.Errorf("error = %v, want %v", err, broken)
		}
		if _, err := s.Stat(t.Context(), "k"); !fault.Is(err, fault.NotFound) {
			t.Errorf("after %v the object is there: %v", broken, err)
		}
	}
	if n, err := s.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("%d uploads were left behind, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A writer that dies in the middle leaves an upload. It is no object, and it is
// swept when it is old enough, while one that is alive is not.
func sweep(t *testing.T, p s3.Place, o s3.Options) {
	living := open(t, p, o)
	r, w := io.Pipe()
	put := make(chan error, 1)
	go func() {
		_, err := living.Put(t.Context(), "k", r)
		put <- err
	}()
	data := noise(20 << 20)
	if _, err := w.Write(data[:17<<20]); err != nil { // two parts are sent, or on their way, when this is read
		t.Fatal(err)
	}
	for parts(t, p, o) < 2 { // a server may take a part that it is being sent into an upload that was given up
		runtime.Gosched()
	}
	if n, err := living.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d of the living, %v", n, err)
	}
	if _, err := living.Stat(t.Context(), "k"); !fault.Is(err, fault.NotFound) {
		t.Errorf("half an object is there: %v", err)
	}
	elsewhere := p
	elsewhere.Prefix = "other"
	o.Abandoned = time.Nanosecond
	if n, err := open(t, elsewhere, o).Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d uploads of another prefix, %v", n, err)
	}
	if n, err := open(t, p, o).Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("swept %d uploads, want 1: %v", n, err)
	}
	_, _ = w.Write(data[17<<20:]) // the upload may end before all is read
	_ = w.Close()
	if err := <-put; !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "given up") {
		t.Errorf("a Put whose upload was swept: %v", err)
	}
	if _, err := living.Stat(t.Context(), "k"); !fault.Is(err, fault.NotFound) {
		t.Errorf("half an object is there: %v", err)
	}
}

// parts counts the parts of the one upload below a prefix.
func parts(t *testing.T, p s3.Place, o s3.Options) int {
	t.Helper()
	c := awss3.New(awss3.Options{
		BaseEndpoint: &p.Endpoint, Region: p.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, ""),
	})
	uploads, err := c.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &p.Bucket, Prefix: aws.String(p.Prefix + "/")})
	if err != nil {
		t.Fatal(err)
	}
	if len(uploads.Uploads) == 0 {
		return 0
	}
	up := uploads.Uploads[0]
	page, err := c.ListParts(t.Context(), &awss3.ListPartsInput{Bucket: &p.Bucket, Key: up.Key, UploadId: up.UploadId})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Parts)
}

// An exact store names objects like their keys, and does not mind what else is
// in the bucket.
func exact(t *testing.T, p s3.Place, o s3.Options) {
	marked := open(t, p, o)
	o.Exact = true
	plain := open(t, p, o)
	for _, s := range []*s3.Store{marked, plain} {
		if _, err := s.Put(t.Context(), "k.car", strings.NewReader("text")); err != nil {
			t.Fatal(err)
		}
	}
	seen := func(s *s3.Store) (all []string) {
		for info, err := range s.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, info.Key)
		}
		return all
	}
	for name, s := range map[string]*s3.Store{"marked": marked, "exact": plain} {
		if got := seen(s); len(got) != 1 || got[0] != "k.car" {
			t.Errorf("the %s store lists %q", name, got)
		}
	}
	if err := marked.Delete(t.Context(), "k.car"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, plain, "k.car", 0, -1); string(got) != "text" {
		t.Errorf("the exact object holds %q", got)
	}
	place, key, err := s3.Object(p.At("k.car"))
	if err != nil || place != p || key != "k.car" {
		t.Errorf("Object = %+v, %q, %v", place, key, err)
	}
}

func listPages(t *testing.T, p s3.Place, o s3.Options) {
	s := open(t, p, o)
	const objects = 1100
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < objects; i += 8 {
				if _, err := s.Put(t.Context(), fmt.Sprintf("n/%04d", i), strings.NewReader("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	for info, err := range s.List(t.Context(), "n/", "n/0009") {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("n/%04d", n+10); info.Key != want {
			t.Fatalf("object %d is %q, want %q", n, info.Key, want)
		}
		n++
	}
	if n != objects-10 {
		t.Errorf("saw %d objects", n)
	}
}

func move(t *testing.T, p s3.Place, o s3.Options) {
	s := open(t, p, o)
	data := noise(9 << 20)
	if _, err := s.Put(t.Context(), "a/1", bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "b", strings.NewReader("before")); err != nil {
		t.Fatal(err)
	}
	if err := s.Move(t.Context(), "a/1", "b"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "b", 0, -1); !bytes.Equal(got, data) {
		t.Error("moved bytes came back different")
	}
	if err := s.Move(t.Context(), "a/1", "c"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an absent object: %v", err)
	}
}

// What is wrong is said with its remedy, and never with the secret.
func faults(t *testing.T, p s3.Place, o s3.Options) {
	absent, wrong, half, nobody := p, o, o, p
	absent.Bucket = "there-is-none"
	wrong.SecretKey = "not the secret"
	half.SecretKey = ""
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Endpoint = "http://" + l.Addr().String()
	_ = l.Close()
	says := func(status int, code string) s3.Place {
		answer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as it is</Message></Error>", code)
		}))
		t.Cleanup(answer.Close)
		at := p
		at.Endpoint = answer.URL
		return at
	}
	for _, c := range []struct {
		name    string
		place   s3.Place
		options s3.Options
		kind    fault.Kind
		remedy  string
	}{
		{"no bucket", absent, o, fault.Invalid, `bucket "there-is-none": does not exist`},
		{"wrong secret", p, wrong, fault.Forbidden, "mend the access key"},
		{"half a key", p, half, fault.Invalid, "set both"},
		{"nobody there", nobody, o, fault.Unavailable, "connection refused"},
		{"clock", says(403, "RequestTimeTooSkewed"), o, fault.Forbidden, "clock"},
		{"may not", says(403, "AccessDenied"), o, fault.Forbidden, "list, read, write and delete"},
		{"elsewhere", says(301, "PermanentRedirect"), o, fault.Invalid, "region="},
		{"full", says(507, "InsufficientStorage"), o, fault.Exhausted, "make room"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := s3.Open(t.Context(), c.place, c.options)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("error = %v, want %v with %q", err, c.kind, c.remedy)
			}
			if err != nil && (strings.Contains(err.Error(), c.options.SecretKey) && c.options.SecretKey != "" || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error tells too much: %v", err)
			}
		})
	}
}

func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, name := range []string{"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"} {
		t.Setenv(name, t.TempDir()+"/none")
	}
	p, err := s3.Parse("s3://bucket?endpoint=http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s3.Open(t.Context(), p, s3.Options{}); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("no credentials: %v", err)
	}
	p.Profile = "none"
	if _, err := s3.Open(t.Context(), p, s3.Options{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "none") {
		t.Errorf("an unknown profile: %v", err)
	}
}

// A connection that breaks is taken up where it broke, as long as the object is
// the one it was.
func TestReaderIsTakenUp(t *testing.T) {
	data := noise(1 << 20)
	asked := 0
	var replaced bool
	answer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("list-type"):
			fmt.Fprint(w, "<ListBucketResult></ListBucketResult>")
			return
		case r.Header.Get("If-Match") != "" && replaced:
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		asked++
		w.Header().Set("ETag", `"1"`)
		half := &cut{ResponseWriter: w, left: 300_000}
		http.ServeContent(half, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer answer.Close()
	s := open(t, s3.Place{Bucket: "bucket", Endpoint: answer.URL}, s3.Options{AccessKey: "a", SecretKey: "b"})
	if got := read(t, s, "k", 5, -1); !bytes.Equal(got, data[5:]) || asked < 4 {
		t.Errorf("%d bytes by %d requests", len(got), asked)
	}
	r, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	replaced = true
	if got, err := io.ReadAll(r); !fault.Is(err, fault.Conflict) || len(got) == len(data) {
		t.Errorf("of an object that was replaced %d bytes were read, %v", len(got), err)
	}
}

// cut breaks a response off.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler) // a connection that breaks
	}
	return c.ResponseWriter.Write(p)
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"s3:bucket":           "s3://bucket",
		"s3:bucket/a/b/":      "s3://bucket/a/b",
		"s3://bucket/a":       "s3://bucket/a",
		"s3://bucket?region=": "s3://bucket",
		"s3://bucket/p?region=eu-1&endpoint=http://127.0.0.1:9000/&profile=x": "s3://bucket/p?endpoint=http%3A%2F%2F127.0.0.1%3A9000&profile=x&region=eu-1",
	} {
		p, err := s3.Parse(text)
		if err != nil || p.String() != want {
			t.Errorf("Parse(%q) = %q, %v, want %q", text, p, err, want)
		}
		if again, err := s3.Parse(p.String()); err != nil || again != p {
			t.Errorf("Parse(%q) = %+v, %v", p, again, err)
		}
	}
	for _, text := range []string{
		"", "s3:", "s3://", "s3:/x", "disk", "s3:a", "s3://key:secret@bucket/x", "s3:bucket//x", "s3:bucket/../x", "s3:bucket/a b",
		"s3:bucket?endpoint=ftp://x", "s3:bucket?endpoint=https://k:s@x", "s3:bucket?secret=x", "s3:bucket?region=a&region=b", "s3:bucket?%zz",
		"s3:bucket/" + strings.Repeat("a", 500),
	} {
		_, err := s3.Parse(text)
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "key:secret") {
			t.Errorf("Parse(%q): %v", text, err)
		}
	}
	if _, _, err := s3.Object("s3://bucket"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bucket as an object: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"s3:bucket/a?region=x", "s3://b-1/..", "s3://b/a?endpoint=http://x&profile=%00", "s3:bucket/\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := s3.Parse(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("Parse(%q): %v", text, err)
			}
			return
		}
		if again, err := s3.Parse(p.String()); err != nil || again != p {
			t.Errorf("Parse(%q) = %+v, of %q %+v, %v", text, p, p, again, err)
		}
		at, key, err := s3.Object(p.At("x.car"))
		if err != nil || at != p || key != "x.car" {
			t.Errorf("Object(%q) = %+v, %q, %v", p.At("x.car"), at, key, err)
		}
	})
}

// A Put gives up when its context ends, though nobody reads on.
func putEnds(t *testing.T, p s3.Place, o s3.Options) {
	s := open(t, p, o)
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(bytes.NewReader(noise(12<<20)), ending{cancel})
	if _, err := s.Put(ctx, "k", r); err == nil || ctx.Err() == nil {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Stat(t.Context(), "k"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Stat: %v", err)
	}
}

type ending struct{ cancel func() }

func (e ending) Read(p []byte) (int, error) { e.cancel(); return len(p), nil }
