package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/firth-project/firth/base/fault"
)

// Get asks for the range. When the connection breaks, the reader asks for the
// rest of the same version.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fault.New(fault.Invalid, "get %s: offset %d is below 0", key, off)
	}
	r := &reader{ctx: ctx, s: s, key: key, at: off, end: -1}
	if n >= 0 && off+n >= off {
		r.end = off + n
	}
	if n == 0 {
		return r, r.empty()
	}
	err := r.open()
	if isStatus(err, 416) {
		err = r.empty()
	}
	if err != nil {
		return nil, s.classify(ctx, err, "get %s in %s", key, s.place.short())
	}
	return r, nil
}

// patience is how often a reader is taken up again without a byte between.
const patience = 4

// reader is a part of an object on its way.
type reader struct {
	ctx  context.Context
	s    *Store
	key  string
	etag string // of the version that is read
	at   int64
	end  int64 // -1 is the end of the object, until that is known
	body io.ReadCloser
	idle int // times it was taken up since the last byte
}

// empty ends the reader at its offset, if the object reaches that far.
func (r *reader) empty() error {
	info, err := r.s.Stat(r.ctx, r.key)
	if err == nil && r.at > info.Size {
		err = fault.New(fault.Invalid, "get %s: offset %d, the object has %d bytes", r.key, r.at, info.Size)
	}
	r.end = r.at
	return err
}

// open asks for what is left. The whole of an object is asked for without a
// range: an empty one has none.
func (r *reader) open() error {
	in := &s3.GetObjectInput{Bucket: &r.s.place.Bucket, Key: r.s.name(r.key)}
	if r.etag != "" {
		in.IfMatch = &r.etag
	}
	switch {
	case r.end >= 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.at, r.end-1))
	case r.at > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.at))
	}
	out, err := r.s.client.GetObject(r.ctx, in)
	if err != nil {
		return err
	}
	if in.Range != nil && out.ContentRange == nil && r.at > 0 {
		_ = out.Body.Close()
		return fault.New(fault.Unavailable, "the server answers a range with the whole object")
	}
	length := aws.ToInt64(out.ContentLength)
	if r.end < 0 || r.end > r.at+length {
		r.end = r.at + length
	}
	r.body, r.etag = out.Body, aws.ToString(out.ETag)
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.at >= r.end {
			return 0, io.EOF
		}
		var err error
		if r.body != nil {
			var n int
			n, err = r.body.Read(p[:min(int64(len(p)), r.end-r.at)])
			if n > 0 {
				r.at, r.idle = r.at+int64(n), 0
				return n, nil
			}
			if err == nil {
				return 0, nil
			}
			_ = r.body.Close()
			r.body = nil
		}
		if r.ctx.Err() != nil {
			return 0, r.ctx.Err()
		}
		if r.idle++; r.idle > patience {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, fault.New(fault.Unavailable, "get %s in %s: broke off at byte %d: %w", r.key, r.s.place.short(), r.at, err)
		}
		if err := r.open(); err != nil {
			if isStatus(err, 412) {
				err = fault.New(fault.Conflict, "was replaced while it was read")
			}
			return 0, r.s.classify(r.ctx, err, "get %s in %s from byte %d", r.key, r.s.place.short(), r.at)
		}
	}
}

func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
