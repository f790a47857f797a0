package s3

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Sweep removes the parts of uploads that nobody has added to for as long as
// Options.Abandoned says: what writers left that died. It returns how many
// uploads those were. Parts that stay cost space and nothing else, so a bucket
// whose owner has a rule for them needs no sweep.
func (s *Store) Sweep(ctx context.Context) (swept int, err error) {
	dead := time.Now().Add(-s.abandoned)
	in := &s3.ListMultipartUploadsInput{Bucket: &s.place.Bucket, Prefix: aws.String(s.place.object(""))}
	for {
		page, err := s.client.ListMultipartUploads(ctx, in)
		if err != nil {
			return swept, s.classify(ctx, err, "list the uploads of %s", s.place.short())
		}
		for _, u := range page.Uploads {
			if _, ours := s.key(aws.ToString(u.Key)); !ours || aws.ToTime(u.Initiated).After(dead) {
				continue
			}
			did, err := s.sweepOne(ctx, u, dead)
			if err != nil {
				return swept, err
			}
			if did {
				swept++
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return swept, nil
		}
		in.KeyMarker, in.UploadIdMarker = page.NextKeyMarker, page.NextUploadIdMarker
	}
}

// sweepOne removes an upload unless a part of it is young.
func (s *Store) sweepOne(ctx context.Context, u types.MultipartUpload, dead time.Time) (swept bool, err error) {
	in := &s3.ListPartsInput{Bucket: &s.place.Bucket, Key: u.Key, UploadId: u.UploadId}
	for {
		page, err := s.client.ListParts(ctx, in)
		if codeOf(err) == gone {
			return false, nil
		}
		if err != nil {
			return false, s.classify(ctx, err, "list the parts of %s in %s", aws.ToString(u.Key), s.place.short())
		}
		for _, p := range page.Parts {
			if aws.ToTime(p.LastModified).After(dead) {
				return false, nil
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			break
		}
		in.PartNumberMarker = page.NextPartNumberMarker
	}
	_, err = s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.place.Bucket, Key: u.Key, UploadId: u.UploadId})
	if codeOf(err) == gone {
		return false, nil
	}
	return err == nil, s.classify(ctx, err, "give up the upload of %s in %s", aws.ToString(u.Key), s.place.short())
}

// gone is what servers say of an upload that ended meanwhile.
const gone = "NoSuchUpload"
