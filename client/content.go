package client

import (
	"context"
	"io"
	"iter"
	"net/http"
	"time"
)

// Content is one stored object of a project.
type Content struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	CID       string    `json:"cid" doc:"root CID; empty while the content is being received"`
	Size      int64     `json:"size" doc:"bytes of all files"`
	Files     int64     `json:"files"`
	Profile   string    `json:"profile" doc:"import profile the CID was made with"`
	State     string    `json:"state" enum:"receiving,fetching,stored,packed,stored_on_filecoin,failed,removed"`
	Reason    string    `json:"reason,omitempty" doc:"why it is in this state, where that needs saying"`
	Bucket    int64     `json:"bucket,omitempty" doc:"the bucket that gathers it"`
	Copies    Copies    `json:"copies"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Copies counts replicas on Filecoin: what policies want and what is active.
type Copies struct {
	Wanted int `json:"wanted"`
	Active int `json:"active"`
}

// ContentFilter narrows a list of contents; zero fields do not.
type ContentFilter struct {
	State, CID, Name string
	Bucket           int64
}

// Content returns one content by id or CID.
func (c *Client) Content(ctx context.Context, ref string) (Content, error) {
	return get[Content](ctx, c, "/v1/contents/"+seg(ref))
}

// Contents lists contents, newest first.
func (c *Client) Contents(ctx context.Context, f ContentFilter) iter.Seq2[Content, error] {
	return list[Content](ctx, c, "/v1/contents",
		query("state", f.State, "cid", f.CID, "name", f.Name, "bucket", number(f.Bucket)))
}

// RemoveContent gives up a content by id or CID. Deals already made run on.
func (c *Client) RemoveContent(ctx context.Context, ref string) error {
	return c.do(ctx, http.MethodDelete, "/v1/contents/"+seg(ref), nil, nil, nil)
}

// AnyProvider asks for bytes from the best provider that holds them.
const AnyProvider = "any"

// Download is a stream from the node. A stream that breaks off before its end
// fails with io.ErrUnexpectedEOF or the transport's error, never with io.EOF.
type Download struct {
	io.ReadCloser
	res *http.Response
}

// Provider returns the provider the bytes came from, "" for the node's own
// blocks. It is certain once the stream is at its end.
func (d *Download) Provider() string {
	if p := d.res.Trailer.Get("X-Firth-Provider"); p != "" {
		return p
	}
	return d.res.Header.Get("X-Firth-Provider")
}

// ContentCAR streams a content as a CAR (version 1, the content's DAG in
// depth-first order). Provider "" reads the node's own blocks, AnyProvider the
// best provider's, "f0…" that provider's. The blocks are for the caller to
// verify: the node has done so, the wire has not.
func (c *Client) ContentCAR(ctx context.Context, ref, provider string) (*Download, error) {
	return c.download(ctx, call{
		method: http.MethodGet, path: "/v1/contents/" + seg(ref) + "/car", query: query("provider", provider),
		header: http.Header{"Accept": {"application/vnd.ipld.car"}},
	})
}

func (c *Client) download(ctx context.Context, k call) (*Download, error) {
	res, err := c.send(ctx, k)
	if err != nil {
		return nil, err
	}
	return &Download{ReadCloser: res.Body, res: res}, nil
}
