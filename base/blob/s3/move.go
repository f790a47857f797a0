package s3

import (
	"context"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/firth-project/firth/base/fault"
)

// copyBytes is how much a server copies at a time; S3 allows 5 GiB.
const copyBytes = 1 << 30

// Move gives an object another key, and replaces what is there: the server
// copies, no byte comes here. An absent from is fault.NotFound.
func (s *Store) Move(ctx context.Context, from, to string) error {
	info, err := s.Stat(ctx, from)
	if err == nil {
		err = check(ctx, to)
	}
	if err != nil {
		return err
	}
	source := aws.String((&url.URL{Path: s.place.Bucket + "/" + *s.name(from)}).EscapedPath())
	if info.Size <= copyBytes {
		_, err = s.client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &s.place.Bucket, Key: s.name(to), CopySource: source})
	} else {
		err = s.copyParts(ctx, source, to, info.Size)
	}
	if err != nil {
		return s.classify(ctx, err, "move %s to %s in %s", from, to, s.place.short())
	}
	return s.Delete(ctx, from)
}

// copyParts makes an object of the ranges of another one.
func (s *Store) copyParts(ctx context.Context, source *string, to string, size int64) error {
	u, err := s.begin(ctx, to)
	if err != nil {
		return err
	}
	for off := int64(0); off < size && err == nil; off += copyBytes {
		number := aws.Int32(int32(len(u.done) + 1))
		var out *s3.UploadPartCopyOutput
		out, err = s.client.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
			Bucket: &s.place.Bucket, Key: s.name(to), UploadId: u.id, PartNumber: number, CopySource: source,
			CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, min(off+copyBytes, size)-1)),
		})
		if err == nil && (out.CopyPartResult == nil || out.CopyPartResult.ETag == nil) {
			err = fault.New(fault.Unavailable, "the server does not say what it copied")
		}
		if err == nil {
			u.done = append(u.done, types.CompletedPart{PartNumber: number, ETag: out.CopyPartResult.ETag})
		}
	}
	if err == nil {
		err = u.complete(ctx)
	}
	if err != nil {
		u.abort(ctx)
	}
	return err
}
