package client

import (
	"context"
	"io"
	"iter"
	"net/http"
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
	Committed   bool       `json:"committed,omitempty" doc:"a node of role commp has read it; the node's copy and the check are left"`
	Reason      string     `json:"reason,omitempty" doc:"why the last attempt came to nothing, or why this one started over"`
	FaultKind   string     `json:"fault_kind,omitempty" doc:"kind of the reason, as errors have it: invalid, not_found, forbidden, exhausted, unavailable …"`
	Known       bool       `json:"known,omitempty" doc:"the piece was there before; where its CAR stays, it is read from this place from now on"`
	Note        string     `json:"note,omitempty" doc:"what to know of the piece that came of it, such as that its root is not in it"`
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
	Place    string `json:"place" minLength:"1" maxLength:"4096" doc:"absolute path on the node's machine, which needs the admin scope, or an http(s) URL, whose user, password and signature are kept encrypted until the end and shown to nobody"`
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

// CancelImport ends an import that is not over.
func (c *Client) CancelImport(ctx context.Context, importID int64) (Import, error) {
	return post[Import](ctx, c, "/v1/pieces/imports/"+id(importID)+"/cancel", nil)
}

// ImportClaim is an import that a worker owns while it beats.
type ImportClaim struct {
	ID      int64  `json:"id"`
	Epoch   int64  `json:"epoch" doc:"shows who owns it; another one means that it is lost"`
	Size    int64  `json:"size" doc:"bytes of the file"`
	Limit   int64  `json:"limit" doc:"bytes of a CAR that fits into a piece"`
	Root    string `json:"root,omitempty" doc:"that the piece has to have"`
	URL     string `json:"url,omitempty" doc:"where the CAR is; of a file on the node's machine it is empty, and the node serves it"`
	Version string `json:"version" doc:"entity tag or time of change that the CAR is served with"`
	Parts   int    `json:"parts" doc:"how many parts of earlier claims there are to go on from"`
	LeaseMS int64  `json:"lease_ms" doc:"how long the owner may be silent, milliseconds"`
}

// ImportProgress is the heartbeat of an import's owner.
type ImportProgress struct {
	Epoch     int64 `json:"epoch"`
	DoneBytes int64 `json:"done_bytes" minimum:"0"`
}

// ImportFailure says why an owner gives up.
type ImportFailure struct {
	Epoch  int64  `json:"epoch"`
	Reason string `json:"reason" maxLength:"4096"`
	Retry  bool   `json:"retry" doc:"another attempt may succeed"`
}

// NewClaim asks for work.
type NewClaim struct {
	Worker string `json:"worker" minLength:"1" maxLength:"200" doc:"who asks, as people see it"`
}

// ClaimImport makes the worker the owner of the next import that waits for a
// commitment; where none does, the error is of kind not_found. Claims are for
// tokens with the scope commp.
func (c *Client) ClaimImport(ctx context.Context, worker string) (ImportClaim, error) {
	return post[ImportClaim](ctx, c, "/v1/pieces/imports/claim", NewClaim{worker})
}

// BeatImport renews the lease of an import.
func (c *Client) BeatImport(ctx context.Context, importID int64, p ImportProgress) error {
	return c.do(ctx, http.MethodPost, "/v1/pieces/imports/"+id(importID)+"/progress", nil, p, nil)
}

// GiveUpImport ends an attempt at an import.
func (c *Client) GiveUpImport(ctx context.Context, importID int64, f ImportFailure) error {
	return c.do(ctx, http.MethodPost, "/v1/pieces/imports/"+id(importID)+"/failure", nil, f, nil)
}

// ImportCAR is where the owner reads the CAR of an import, and the headers to
// send along. Ranges are served.
func (c *Client) ImportCAR(importID, epoch int64) (url string, header http.Header) {
	u := *c.base.JoinPath("/v1/pieces/imports/" + id(importID) + "/car")
	u.RawQuery = query("epoch", id(epoch)).Encode()
	header = http.Header{"User-Agent": {c.agent}}
	if c.token != "" {
		header.Set("Authorization", "Bearer "+c.token)
	}
	return u.String(), header
}

// KeepImportPart keeps what was found in the next part of an import's CAR, in the
// format of flow/piece: the next owner goes on behind it. Part 0 replaces all.
func (c *Client) KeepImportPart(ctx context.Context, importID, epoch int64, number int, part io.Reader) error {
	res, err := c.send(ctx, call{
		method: http.MethodPost, path: "/v1/pieces/imports/" + id(importID) + "/parts/" + id(int64(number)), body: io.NopCloser(part),
		query: query("epoch", id(epoch)), header: http.Header{"Content-Type": {"application/octet-stream"}},
	})
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// ImportPart reads a part that an owner of an import kept. The caller closes it.
func (c *Client) ImportPart(ctx context.Context, importID, epoch int64, number int) (io.ReadCloser, error) {
	res, err := c.send(ctx, call{
		method: http.MethodGet, path: "/v1/pieces/imports/" + id(importID) + "/parts/" + id(int64(number)), query: query("epoch", id(epoch)),
	})
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// FinishImport hands in the index of an import's CAR, in the format of
// base/pack: root is the piece's, at is where the CAR begins in the file.
func (c *Client) FinishImport(ctx context.Context, importID, epoch int64, root string, at int64, index io.Reader) (Import, error) {
	var out Import
	res, err := c.send(ctx, call{
		method: http.MethodPost, path: "/v1/pieces/imports/" + id(importID) + "/index", body: io.NopCloser(index),
		query:  query("epoch", id(epoch), "root", root, "at", id(at)),
		header: http.Header{"Content-Type": {"application/octet-stream"}, "Accept": {"application/json"}},
	})
	if err != nil {
		return out, err
	}
	return out, readJSON(res, &out)
}
