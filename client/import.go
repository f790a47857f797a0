package client

import (
	"context"
	"iter"
	"time"
)

// Import is a CAR of somebody's on its way to become a piece.
type Import struct {
	ID          int64      `json:"id"`
	Place       string     `json:"place" doc:"path on the node's machine, or URL"`
	Copy        bool       `json:"copy" doc:"the CAR goes into the blob store; else it stays where it stands"`
	PieceCID    string     `json:"piece_cid,omitempty" doc:"that was given, or that the file is called by; it is believed after the check"`
	Root        string     `json:"root,omitempty" doc:"that was given"`
	State       string     `json:"state" enum:"waiting,running,done,failed"`
	Reason      string     `json:"reason,omitempty" doc:"why the last attempt came to nothing"`
	Attempts    int        `json:"attempts"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	DoneBytes   int64      `json:"done_bytes"`
	Size        int64      `json:"size" doc:"bytes to read; 0 is not known yet"`
	Worker      string     `json:"worker,omitempty" doc:"who does it, or did last"`
	Piece       int64      `json:"piece,omitempty" doc:"id of the piece, once done"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

// NewImport says what to import.
type NewImport struct {
	Place    string `json:"place" minLength:"1" maxLength:"4096" doc:"absolute path on the node's machine, which needs the admin scope, or an http(s) URL"`
	Copy     bool   `json:"copy,omitempty" doc:"copy the CAR into the blob store; a URL's is always copied"`
	PieceCID string `json:"piece_cid,omitempty" doc:"piece CID of either version that the CAR has to have"`
	Root     string `json:"root,omitempty" doc:"root of the piece: one of the CAR's roots or blocks; default is its first root, of a CAR without one the block nothing links to"`
}

// ImportFilter narrows a list of imports; zero fields do not.
type ImportFilter struct {
	State string
}

// ImportPiece has a CAR become a piece. It returns at once; see Import. A place
// that is being imported already is that import.
func (c *Client) ImportPiece(ctx context.Context, n NewImport) (Import, error) {
	return post[Import](ctx, c, "/v1/pieces/imports", n)
}

// Import returns one import.
func (c *Client) Import(ctx context.Context, importID int64) (Import, error) {
	return get[Import](ctx, c, "/v1/pieces/imports/"+id(importID))
}

// Imports lists imports, newest first.
func (c *Client) Imports(ctx context.Context, f ImportFilter) iter.Seq2[Import, error] {
	return list[Import](ctx, c, "/v1/pieces/imports", query("state", f.State))
}
