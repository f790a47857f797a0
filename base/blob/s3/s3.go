package s3

import (
	"context"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// Options say how a place is opened.
type Options struct {
	// AccessKey and SecretKey are used for places that name no profile. Both
	// empty, the usual places of AWS are looked at: the environment, the shared
	// credentials file, the machine's role.
	AccessKey, SecretKey string
	// Exact names objects exactly like their keys, for others to read. Without
	// it each name ends in a mark, because servers that keep objects as files
	// cannot have both "a" and "a/b"; an exact store has to do without such keys.
	Exact bool
	// Abandoned is how long nobody may have added to an upload for Sweep to take
	// it for dead; 0 is a day.
	Abandoned time.Duration
}

// mark ends the name of an object in a store that is not exact. It sorts before
// every byte of a key, so that names are in the order of their keys.
const mark = "!"

const (
	smallBytes = 256 << 10 // up to here an object is sent at once
	partBytes  = 8 << 20
	maxParts   = 10_000 // of S3
	sending    = 4      // parts of a store under way
)

// Store keeps objects in a bucket; it is a blob.Store. Its methods may be
// called at the same time, from any number of processes.
type Store struct {
	place     Place
	client    *s3.Client
	mark      string
	abandoned time.Duration
	slots     chan struct{} // holds one for each part under way
	parts     sync.Pool     // of *[]byte with partBytes
}

// Open opens a place and looks whether it can be read. A bucket that is not
// there is fault.Invalid, missing or wrong credentials are fault.Forbidden, a
// server that cannot be reached is fault.Unavailable; each names its remedy.
func Open(ctx context.Context, p Place, o Options) (*Store, error) {
	client, err := dial(ctx, p, o)
	if err != nil {
		return nil, fault.Wrap(err, "open %s", p.short())
	}
	s := &Store{
		place: p, client: client, mark: mark, abandoned: o.Abandoned, slots: make(chan struct{}, sending),
		parts: sync.Pool{New: func() any { b := make([]byte, partBytes); return &b }},
	}
	if o.Exact {
		s.mark = ""
	}
	if s.abandoned <= 0 {
		s.abandoned = 24 * time.Hour
	}
	_, err = client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &p.Bucket, Prefix: aws.String(p.object("")), MaxKeys: aws.Int32(1)})
	return s, s.classify(ctx, err, "open %s", p.short())
}

// attempts is how often the client tries a request that may succeed later.
const attempts = 4

// dial makes the client. Checksums beyond the signed SHA-256 of what is sent
// are left to servers that demand them: many know none of them.
func dial(ctx context.Context, p Place, o Options) (*s3.Client, error) {
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(web()), config.WithLogger(logging.Nop{}),
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		config.WithRetryer(func() aws.Retryer { return retry.NewStandard(patient) }),
	}
	switch {
	case p.Profile != "":
		load = append(load, config.WithSharedConfigProfile(p.Profile))
	case (o.AccessKey == "") != (o.SecretKey == ""):
		return nil, fault.New(fault.Invalid, "of the access key and its secret only one is set; set both, or none")
	case o.AccessKey != "":
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, "")))
	}
	if p.Region != "" {
		load = append(load, config.WithRegion(p.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "credentials: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return s3.NewFromConfig(cfg, func(c *s3.Options) {
		if p.Endpoint != "" {
			c.BaseEndpoint = &p.Endpoint
		}
		c.UsePathStyle = c.BaseEndpoint != nil || strings.Contains(p.Bucket, ".") // few servers have a name for each bucket
	}), nil
}

// patient tries a request again that met another one about the same object,
// besides what is tried again anyway.
func patient(o *retry.StandardOptions) {
	o.MaxAttempts = attempts
	o.Retryables = append(o.Retryables, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusConflict: {}}})
}

func web() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = 10 * time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = 2 * time.Minute // the end of a large upload may take the server that long
			t.MaxIdleConnsPerHost = 16
		})
}

// Place returns where the store is.
func (s *Store) Place() Place { return s.place }

// name is what an object is called in the bucket.
func (s *Store) name(key string) *string { return aws.String(s.place.object(key) + s.mark) }

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := check(ctx, key); err != nil {
		return blob.Info{}, err
	}
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.place.Bucket, Key: s.name(key)})
	if err != nil {
		return blob.Info{}, s.classify(ctx, err, "stat %s in %s", key, s.place.short())
	}
	return blob.Info{Key: key, Size: aws.ToInt64(head.ContentLength), ModTime: aws.ToTime(head.LastModified)}, nil
}

// Delete removes the object.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.place.Bucket, Key: s.name(key)})
	if err = s.classify(ctx, err, "delete %s in %s", key, s.place.short()); fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// List asks for the objects by pages of up to 1,000.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &s.place.Bucket, Prefix: aws.String(s.place.object(prefix))}
		if after != "" {
			in.StartAfter = aws.String(s.place.object(after) + s.mark)
		}
		for {
			if err := ctx.Err(); err != nil {
				yield(blob.Info{}, err)
				return
			}
			page, err := s.client.ListObjectsV2(ctx, in)
			if err != nil {
				yield(blob.Info{}, s.classify(ctx, err, "list %s", s.place.short()))
				return
			}
			for _, o := range page.Contents {
				key, ok := s.key(aws.ToString(o.Key))
				if !ok || !strings.HasPrefix(key, prefix) || key <= after {
					continue
				}
				if !yield(blob.Info{Key: key, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) || aws.ToString(page.NextContinuationToken) == "" {
				return
			}
			in.ContinuationToken = page.NextContinuationToken
		}
	}
}

// key is the key of an object; ok is false for one that the store did not make.
func (s *Store) key(name string) (key string, ok bool) {
	key, ok = strings.CutPrefix(name, s.place.object(""))
	if ok {
		key, ok = strings.CutSuffix(key, s.mark)
	}
	return key, ok && blob.CheckKey(key) == nil
}

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return blob.CheckKey(key)
}
