package s3

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// Put sends r: at once if it is small, else in parts that become an object when
// the last one is there.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (blob.Info, error) {
	if err := check(ctx, key); err != nil {
		return blob.Info{}, err
	}
	size, err := s.put(ctx, key, &stream{ctx: ctx, r: r})
	if err != nil {
		return blob.Info{}, s.classify(ctx, err, "put %s in %s", key, s.place.short())
	}
	return blob.Info{Key: key, Size: size, ModTime: time.Now().UTC()}, nil
}

func (s *Store) put(ctx context.Context, key string, r *stream) (int64, error) {
	small, err := io.ReadAll(io.LimitReader(r, smallBytes))
	if err != nil {
		return 0, err
	}
	if len(small) < smallBytes {
		return s.send(ctx, key, small)
	}
	part := s.part()
	n := copy(*part, small)
	more, err := r.fill((*part)[n:])
	if n += more; err != nil || n < partBytes {
		defer s.parts.Put(part)
		if err != nil {
			return 0, err
		}
		return s.send(ctx, key, (*part)[:n])
	}
	u, err := s.begin(ctx, key)
	if err != nil {
		s.parts.Put(part)
		return 0, err
	}
	size, err := u.run(ctx, part, r)
	if err != nil {
		u.abort(ctx)
	}
	return size, err
}

func (s *Store) part() *[]byte { return s.parts.Get().(*[]byte) }

// send makes an object of bytes.
func (s *Store) send(ctx context.Context, key string, b []byte) (int64, error) {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.place.Bucket, Key: s.name(key), Body: bytes.NewReader(b), ContentLength: aws.Int64(int64(len(b))),
	})
	return int64(len(b)), err
}

// upload is an object in parts.
type upload struct {
	s   *Store
	key string
	id  *string

	mu   sync.Mutex
	done []types.CompletedPart // in the order of their numbers; without a tag while under way
}

func (s *Store) begin(ctx context.Context, key string) (*upload, error) {
	made, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.place.Bucket, Key: s.name(key)})
	if err != nil {
		return nil, err
	}
	return &upload{s: s, key: key, id: made.UploadId}, nil
}

// run sends the first part, which is full, and those that r fills, and makes
// the object of them.
func (u *upload) run(ctx context.Context, first *[]byte, r *stream) (int64, error) {
	sendCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, sendCtx := errgroup.WithContext(sendCtx)
	size, err := u.feed(sendCtx, g, first, r)
	stopped := err != nil && sendCtx.Err() != nil // then the part that ended it says why
	if err != nil {
		cancel()
	}
	if sent := g.Wait(); sent != nil && (err == nil || stopped) {
		err = sent
	}
	if err != nil {
		return 0, err
	}
	return size, u.complete(ctx)
}

// feed has parts sent while the next one is read.
func (u *upload) feed(ctx context.Context, g *errgroup.Group, part *[]byte, r *stream) (size int64, err error) {
	defer func() { u.s.parts.Put(part) }()
	for n := partBytes; n > 0; {
		if len(u.done) == maxParts {
			return 0, fault.New(fault.Exhausted, "has more than %d bytes, which is the most this store takes", int64(maxParts)*partBytes)
		}
		select {
		case u.s.slots <- struct{}{}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		u.part(ctx, g, part, n)
		size += int64(n)
		part = u.s.part()
		if n, err = r.fill(*part); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// part sends n bytes of a buffer as the next part, and then gives the buffer
// and its slot back.
func (u *upload) part(ctx context.Context, g *errgroup.Group, part *[]byte, n int) {
	u.mu.Lock()
	u.done = append(u.done, types.CompletedPart{PartNumber: aws.Int32(int32(len(u.done) + 1))})
	number := len(u.done)
	u.mu.Unlock()
	g.Go(func() error {
		defer func() {
			u.s.parts.Put(part)
			<-u.s.slots
		}()
		out, err := u.s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &u.s.place.Bucket, Key: u.s.name(u.key), UploadId: u.id, PartNumber: aws.Int32(int32(number)),
			Body: bytes.NewReader((*part)[:n]), ContentLength: aws.Int64(int64(n)),
		})
		if err != nil {
			return err
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.done[number-1].ETag = out.ETag
		return nil
	})
}

// complete makes an object of the parts.
func (u *upload) complete(ctx context.Context) error {
	_, err := u.s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.s.place.Bucket, Key: u.s.name(u.key), UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.done},
	})
	return err
}

// abortTime is how long giving an upload back may take when nobody waits for it
// any more; Sweep does it otherwise.
const abortTime = 10 * time.Second

// abort removes the parts. What it cannot remove is left to Sweep: the error
// that led here is the one that counts.
func (u *upload) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	_, _ = u.s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.s.place.Bucket, Key: u.s.name(u.key), UploadId: u.id,
	})
}

// stream is what a Put reads: until it ends, or the context does.
type stream struct {
	ctx  context.Context
	r    io.Reader
	over bool
}

func (s *stream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.over {
		return 0, io.EOF
	}
	n, err := s.r.Read(p)
	s.over = err == io.EOF // no other error is an end: io.ErrUnexpectedEOF is a reader that broke
	return n, err
}

// fill reads until p is full or the stream ends.
func (s *stream) fill(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = s.Read(p[n:])
		n += k
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}
