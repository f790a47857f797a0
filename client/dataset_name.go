package client

import (
	"context"
	"net/http"
	"time"
)

// DatasetName is the IPNS name of a dataset, which leads to the index of the
// latest complete preparation.
type DatasetName struct {
	Name        string           `json:"name" doc:"IPNS name: k51…"`
	State       string           `json:"state" enum:"published,withdrawn" doc:"withdrawn: nothing is signed any more"`
	IPNS        string           `json:"ipns" doc:"path: /ipns/k51…"`
	DNSLink     string           `json:"dnslink" doc:"text for a TXT record at _dnslink.<your domain>; stays the same for good"`
	Preparation int64            `json:"preparation,omitempty" doc:"id of the preparation whose index it leads to; absent until one is complete"`
	Index       string           `json:"index,omitempty" doc:"CID of that index"`
	Sequence    int64            `json:"sequence" doc:"of the latest record; of two records the higher one counts"`
	TTL         int64            `json:"ttl_s" doc:"seconds for which readers may go on with a record"`
	SignedAt    *time.Time       `json:"signed_at,omitempty"`
	RenewAt     *time.Time       `json:"renew_at,omitempty" doc:"signed again then at the latest"`
	ExpiresAt   *time.Time       `json:"expires_at,omitempty" doc:"when the latest record is valid no more"`
	Routers     []RecordDelivery `json:"routers" nullable:"false" doc:"delegated routers that the node is configured with"`
	Record      []byte           `json:"record,omitempty" doc:"the signed IPNS record; not in lists"`
}

// RecordDelivery is what a delegated router has of a name.
type RecordDelivery struct {
	Router      string     `json:"router" doc:"URL, without a password"`
	State       string     `json:"state" enum:"waiting,delivered,refused" doc:"refused: it will not take this record; it is asked again with the next"`
	Sequence    int64      `json:"sequence,omitempty" doc:"of the record it took last"`
	Reason      string     `json:"reason,omitempty"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	DeliveredAt *time.Time `json:"delivered_at,omitempty"`
}

// DatasetChange is what may be changed of a dataset's rules, for preparations
// that begin afterwards; nil fields stay.
type DatasetChange struct {
	PieceSize *Size     `json:"piece_size,omitempty" doc:"a power of two from 4MiB to 64GiB; 0 is the default"`
	MinSize   *Size     `json:"min_size,omitempty" doc:"least data of a piece; 0 is the default"`
	MaxSize   *Size     `json:"max_size,omitempty" doc:"most data of a piece; 0 is the default"`
	Include   *[]string `json:"include,omitempty" doc:"globs; only what matches is packed; empty is all"`
	Exclude   *[]string `json:"exclude,omitempty" doc:"globs; what matches is left out"`
	Hidden    *bool     `json:"hidden,omitempty" doc:"pack names that begin with a dot"`
	Dedup     *bool     `json:"dedup,omitempty" doc:"put equal blocks into a piece once"`
	Out       *string   `json:"out,omitempty" doc:"absolute directory of the node, or s3://bucket/prefix, to write CARs into, \"\" for none; needs the scope admin"`
	Revision  int64     `json:"revision,omitempty" minimum:"1" doc:"change the rules of this revision, and others not; absent: whichever hold"`
}

// UpdateDataset changes the rules of a dataset for later preparations; one that
// runs keeps those it began with. With a revision, rules that somebody else has
// changed meanwhile are a conflict.
func (c *Client) UpdateDataset(ctx context.Context, ref string, change DatasetChange) (Dataset, error) {
	var out Dataset
	err := c.do(ctx, http.MethodPatch, datasetPath(ref, ""), nil, change, &out)
	return out, err
}

// DatasetName returns the IPNS name of a dataset, with its record.
func (c *Client) DatasetName(ctx context.Context, ref string) (DatasetName, error) {
	return get[DatasetName](ctx, c, datasetPath(ref, "/ipns"))
}

// PublishDataset gives a dataset its IPNS name, or its routers another try.
func (c *Client) PublishDataset(ctx context.Context, ref string) (DatasetName, error) {
	return post[DatasetName](ctx, c, datasetPath(ref, "/publish"), nil)
}

// UnpublishDataset has no more records signed. Routers keep the last until it
// expires, and the name stays the dataset's.
func (c *Client) UnpublishDataset(ctx context.Context, ref string) (DatasetName, error) {
	return post[DatasetName](ctx, c, datasetPath(ref, "/unpublish"), nil)
}
