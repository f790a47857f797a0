package client

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"
)

// Piece is what deals are about: a CAR with its commitment.
type Piece struct {
	ID         int64     `json:"id"`
	PieceCID   string    `json:"piece_cid" doc:"piece CID, version 2 (FRC-0069)"`
	PieceCIDv1 string    `json:"piece_cid_v1" doc:"piece CID, version 1, as the chain writes it"`
	Root       string    `json:"root" doc:"CID of the directory made for the piece"`
	CARSize    int64     `json:"car_size" doc:"bytes before padding"`
	PaddedSize int64     `json:"padded_size" doc:"bytes as a deal counts them, a power of two"`
	Blocks     int64     `json:"blocks"`
	Cached     bool      `json:"cached" doc:"the CAR is also kept written out"`
	Wrong      string    `json:"wrong,omitempty" doc:"why it is not what its CID says and is not served: a node of role commp lied"`
	CreatedAt  time.Time `json:"created_at"`
}

// PieceFilter narrows a list of pieces; zero fields do not.
type PieceFilter struct {
	Plan, Bucket int64
}

// Piece returns one piece by id or piece CID of either version.
func (c *Client) Piece(ctx context.Context, ref string) (Piece, error) {
	return get[Piece](ctx, c, "/v1/pieces/"+seg(ref))
}

// Pieces lists pieces, newest first.
func (c *Client) Pieces(ctx context.Context, f PieceFilter) iter.Seq2[Piece, error] {
	return list[Piece](ctx, c, "/v1/pieces", query("plan", number(f.Plan), "bucket", number(f.Bucket)))
}

// PieceCheck is what reading a piece and computing its commitment again found.
type PieceCheck struct {
	PieceCID string        `json:"piece_cid"`
	OK       bool          `json:"ok" doc:"every byte is that of the commitment"`
	Damaged  []PieceDamage `json:"damaged" nullable:"false" doc:"the first 1000 damaged runs, in the order of the CAR"`
	More     int64         `json:"more,omitempty" doc:"damaged runs that are left out"`
}

// PieceDamage is a run of a CAR, in steps of 127 KiB, that cannot be served.
type PieceDamage struct {
	Offset int64    `json:"offset" doc:"in the CAR, bytes"`
	Length int64    `json:"length"`
	Reason string   `json:"reason"`
	Blocks []string `json:"blocks" nullable:"false" doc:"CIDs of the first 100 blocks it touches"`
	Paths  []string `json:"paths" nullable:"false" doc:"of the files they come from, where they come from files"`
	More   int64    `json:"more,omitempty" doc:"blocks that are left out"`
}

// VerifyPiece has the node read a piece, given by id or piece CID of either
// version, and compute its commitment again. It takes as long as reading does.
func (c *Client) VerifyPiece(ctx context.Context, ref string) (PieceCheck, error) {
	return post[PieceCheck](ctx, c, "/v1/pieces/"+seg(ref)+"/verify", nil)
}

// VerifyPieceCopy is VerifyPiece of a copy somewhere else: from is a URL, or, for
// tokens with the admin scope, an absolute path on the node's machine.
func (c *Client) VerifyPieceCopy(ctx context.Context, ref, from string) (PieceCheck, error) {
	var out PieceCheck
	err := c.do(ctx, http.MethodPost, "/v1/pieces/"+seg(ref)+"/verify", query("from", from), nil, &out)
	return out, err
}

// PieceBytes streams bytes [off, off+n) of a piece's CAR; n < 0 means to the
// end. A node that ignores the range is an error, not the wrong bytes.
func (c *Client) PieceBytes(ctx context.Context, pieceCID string, off, n int64) (io.ReadCloser, error) {
	want := fmt.Sprintf("bytes=%d-", off)
	if n >= 0 {
		want += id(off + n - 1)
	}
	k := call{method: http.MethodGet, path: "/piece/" + seg(pieceCID), header: http.Header{}}
	whole := off == 0 && n < 0
	if n == 0 {
		return http.NoBody, nil
	}
	if !whole {
		k.header.Set("Range", want)
	}
	res, err := c.send(ctx, k)
	if err != nil {
		return nil, err
	}
	if !whole && res.StatusCode != http.StatusPartialContent {
		res.Body.Close()
		return nil, fmt.Errorf("piece %s: asked for %s, answered with status %d", pieceCID, want, res.StatusCode)
	}
	return res.Body, nil
}
