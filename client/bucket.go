package client

import (
	"context"
	"iter"
	"time"
)

// Bucket gathers contents until a size or an age is reached, then becomes
// pieces.
type Bucket struct {
	ID          int64      `json:"id"`
	State       string     `json:"state" enum:"open,closing,packing,ready,dealing,complete,collected,failed"`
	Size        int64      `json:"size" doc:"bytes of its contents"`
	Contents    int64      `json:"contents"`
	Plan        int64      `json:"plan,omitempty" doc:"the plan its pieces are made by"`
	Reason      string     `json:"reason,omitempty"`
	OpenedAt    time.Time  `json:"opened_at"`
	ClosesAt    time.Time  `json:"closes_at" doc:"when its age alone closes it"`
	NextAttempt *time.Time `json:"next_attempt,omitempty" doc:"when a failed bucket is tried again"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

// BucketFilter narrows a list of buckets; zero fields do not.
type BucketFilter struct {
	State string
}

// Bucket returns one bucket.
func (c *Client) Bucket(ctx context.Context, bucket int64) (Bucket, error) {
	return get[Bucket](ctx, c, "/v1/buckets/"+id(bucket))
}

// Buckets lists buckets, newest first.
func (c *Client) Buckets(ctx context.Context, f BucketFilter) iter.Seq2[Bucket, error] {
	return list[Bucket](ctx, c, "/v1/buckets", query("state", f.State))
}

// CloseBucket closes an open bucket now, whatever its size and age.
func (c *Client) CloseBucket(ctx context.Context, bucket int64) (Bucket, error) {
	return post[Bucket](ctx, c, "/v1/buckets/"+id(bucket)+"/close", nil)
}
