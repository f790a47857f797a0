package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/piece"
)

type newImport struct{ Body client.NewImport }

type importList struct {
	Paging
	State string `query:"state" enum:"waiting,running,done,failed"`
}

type newClaim struct{ Body client.NewClaim }

type importProgress struct {
	ID   int64 `path:"id" minimum:"1"`
	Body client.ImportProgress
}

type importFailure struct {
	ID   int64 `path:"id" minimum:"1"`
	Body client.ImportFailure
}

type ownedImport struct {
	Exchange
	ID    int64 `path:"id" minimum:"1"`
	Epoch int64 `query:"epoch" minimum:"1" required:"true" doc:"of the claim"`
}

type importPart struct {
	Exchange
	ID     int64 `path:"id" minimum:"1"`
	Number int   `path:"number" minimum:"0"`
	Epoch  int64 `query:"epoch" minimum:"1" required:"true" doc:"of the claim"`
}

type finishedImport struct {
	Exchange
	ID    int64  `path:"id" minimum:"1"`
	Epoch int64  `query:"epoch" minimum:"1" required:"true" doc:"of the claim"`
	Root  string `query:"root" required:"true" doc:"of the piece"`
	At    int64  `query:"at" minimum:"0" doc:"where the CAR begins in the file: behind the head of a CARv2"`
}

func (d *door) importRoutes() {
	d.claimRoutes()
	add(d, route{
		id: "importPiece", method: http.MethodPost, path: "/v1/pieces/imports", tag: "piece", scope: account.WriteContent, status: http.StatusCreated,
		summary: "Have a CAR become a piece",
		detail: "A CAR of version 1 or 2, on the node's machine or behind a URL. It is read once: every digest is checked, commitment and " +
			"index are computed. A file stays where it stands unless it is copied; of a CARv2 its data are the piece, " +
			"and of a file that fills a piece with zeros behind its blocks, as providers keep them, what comes before these. A file called by a " +
			"piece CID has to be that piece. Blocks are raw, dag-pb, dag-cbor or dag-json, named by SHA2-256, BLAKE2b-256 or BLAKE3, " +
			"or stand in identity CIDs of at most 32 bytes, and have 4 MiB at most; nothing else follows the last one. Answers at once; the import then goes on by itself.",
	}, func(ctx context.Context, g account.Grant, in *newImport) (*body[client.Import], error) {
		if !piece.IsURL(in.Body.Place) && !g.Allows(account.Admin) {
			return nil, fault.New(fault.Forbidden, "import %s: files of the node's machine are for tokens with the scope admin; give a URL", in.Body.Place)
		}
		im, err := d.Pieces.Import(ctx, g.Project, piece.NewImport{
			Place: in.Body.Place, Copy: in.Body.Copy, PieceCID: in.Body.PieceCID, Root: in.Body.Root,
		})
		return &body[client.Import]{importOf(im)}, err
	})
	add(d, route{
		id: "listImports", method: http.MethodGet, path: "/v1/pieces/imports", tag: "piece", scope: account.ReadContent,
		summary: "List imports of CARs", detail: "Newest first.",
	}, func(ctx context.Context, g account.Grant, in *importList) (*page[client.Import], error) {
		rows, err := d.Pieces.Imports(ctx, g.Project, piece.ImportFilter{State: piece.ImportState(in.State), Before: in.Before, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		return pageOf(rows, in.Limit, importOf, func(im piece.Import) int64 { return im.ID }), nil
	})
	add(d, route{
		id: "getImport", method: http.MethodGet, path: "/v1/pieces/imports/{id}", tag: "piece", scope: account.ReadContent,
		summary: "Show an import",
	}, func(ctx context.Context, g account.Grant, in *byID) (*body[client.Import], error) {
		im, err := d.Pieces.ImportByID(ctx, g.Project, in.ID)
		return &body[client.Import]{importOf(im)}, err
	})
	add(d, route{
		id: "cancelImport", method: http.MethodPost, path: "/v1/pieces/imports/{id}/cancel", tag: "piece", scope: account.WriteContent,
		summary: "End an import", detail: "It has failed then, and whoever is at it stops within a second or a third of its lease. 409 when it was over before.",
	}, func(ctx context.Context, g account.Grant, in *byID) (*body[client.Import], error) {
		im, err := d.Pieces.CancelImport(ctx, g.Project, in.ID)
		return &body[client.Import]{importOf(im)}, err
	})
}

// claimRoutes are for nodes of role commp.
func (d *door) claimRoutes() {
	add(d, route{
		id: "claimImport", method: http.MethodPost, path: "/v1/pieces/imports/claim", tag: "piece", scope: account.CommP,
		summary: "Own the next import that waits for a commitment",
		detail: "Nobody else gets it while its owner posts progress before the lease ends; 404 when none waits. The owner goes on " +
			"from the parts there are, reads the CAR from `url`, or from this node where that is empty, and hands the index in.",
	}, func(ctx context.Context, g account.Grant, in *newClaim) (*body[client.ImportClaim], error) {
		im, parts, err := d.Pieces.ClaimImport(ctx, g.Project, g.Token, in.Body.Worker)
		if err != nil {
			return nil, err
		}
		c := client.ImportClaim{
			ID: im.ID, Epoch: im.Epoch, Size: im.Size, Limit: d.Pieces.Payload(), Root: im.Root, Version: im.Tag(), Parts: parts,
			LeaseMS: d.Pieces.Lease().Milliseconds(),
		}
		if piece.IsURL(im.Place) {
			c.URL, err = d.Pieces.Address(im)
		}
		return &body[client.ImportClaim]{c}, err
	})
	add(d, route{
		id: "beatImport", method: http.MethodPost, path: "/v1/pieces/imports/{id}/progress", tag: "piece", scope: account.CommP,
		summary: "Renew the lease of an import", detail: "409 when it is lost.",
	}, func(ctx context.Context, g account.Grant, in *importProgress) (*none, error) {
		return nil, d.Pieces.BeatImport(ctx, owner(g, in.ID, in.Body.Epoch), in.Body.DoneBytes)
	})
	add(d, route{
		id: "giveUpImport", method: http.MethodPost, path: "/v1/pieces/imports/{id}/failure", tag: "piece", scope: account.CommP,
		summary: "End an attempt at an import",
		detail:  "Where another attempt is said to be of no use, the node tries it itself.",
	}, func(ctx context.Context, g account.Grant, in *importFailure) (*none, error) {
		return nil, d.Pieces.GiveUpImport(ctx, owner(g, in.ID, in.Body.Epoch), in.Body.Reason, in.Body.Retry)
	})
	add(d, route{
		id: "readImport", method: http.MethodGet, path: "/v1/pieces/imports/{id}/car", tag: "piece", scope: account.CommP,
		summary: "Read the CAR of an import", detail: "For its owner. The file as it is, ranges are served. What a URL names is read there.",
	}, func(ctx context.Context, g account.Grant, in *ownedImport) (*streamed, error) {
		f, im, err := d.Pieces.OpenImport(ctx, owner(g, in.ID, in.Epoch))
		if err != nil {
			return nil, err
		}
		return &streamed{func(huma.Context) {
			defer f.Close()
			h := in.answer.Header()
			h.Set("Content-Type", "application/vnd.ipld.car")
			h.Set("ETag", im.Tag())
			http.ServeContent(in.answer, in.request, "", time.Time{}, f)
		}}, nil
	})
	add(d, route{
		id: "keepImportPart", method: http.MethodPost, path: "/v1/pieces/imports/{id}/parts/{number}", tag: "piece", scope: account.CommP,
		summary: "Keep what was found in a part of an import's CAR", status: http.StatusNoContent,
		detail: "From which the next owner goes on. The body is a part as `flow/piece` writes it, 64 MiB at most; parts follow on each " +
			"other, part 0 replaces all there are. Renews the lease.",
	}, func(ctx context.Context, g account.Grant, in *importPart) (*none, error) {
		part := &arriving{body: in.request.Body, control: http.NewResponseController(in.answer)}
		defer part.end()
		return nil, d.Pieces.KeepImportPart(ctx, owner(g, in.ID, in.Epoch), in.Number, part)
	})
	add(d, route{
		id: "readImportPart", method: http.MethodGet, path: "/v1/pieces/imports/{id}/parts/{number}", tag: "piece", scope: account.CommP,
		summary: "Read a part that was kept",
	}, func(ctx context.Context, g account.Grant, in *importPart) (*streamed, error) {
		part, err := d.Pieces.ImportPart(ctx, owner(g, in.ID, in.Epoch), in.Number)
		if err != nil {
			return nil, err
		}
		return &streamed{func(huma.Context) {
			defer part.Close()
			in.answer.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.Copy(in.answer, part) // a part that is cut short has no checksum
		}}, nil
	})
	add(d, route{
		id: "finishImport", method: http.MethodPost, path: "/v1/pieces/imports/{id}/index", tag: "piece", scope: account.CommP,
		summary: "Hand in the index of an import's CAR",
		detail: "The body is the index as `base/pack` writes it, the tree of the commitment included. Slots of 127 KiB chosen only " +
			"then are compared with the bytes, all of 512 and one in a hundred besides; of a CAR that is copied when the copy is " +
			"there. Then the piece is there. 409 where it is not so: the token is refused from then on, what it handed in before is " +
			"computed again.",
	}, func(ctx context.Context, g account.Grant, in *finishedImport) (*body[client.Import], error) {
		index := &arriving{body: in.request.Body, control: http.NewResponseController(in.answer)}
		defer index.end()
		im, err := d.Pieces.FinishImport(ctx, owner(g, in.ID, in.Epoch), in.Root, in.At, index)
		return &body[client.Import]{importOf(im)}, err
	})
}

func owner(g account.Grant, id, epoch int64) piece.Owner {
	return piece.Owner{Project: g.Project, Token: g.Token, Import: id, Epoch: epoch}
}

func importOf(im piece.Import) client.Import {
	return client.Import{
		ID: im.ID, Place: im.Place, Copy: im.Copy, PieceCID: im.PieceCID, Root: im.Root, State: string(im.State), Committed: im.Committed, Reason: im.Reason,
		FaultKind: im.FaultKind, Known: im.Known, Note: im.Note,
		Attempts: im.Attempts, NextAttempt: instant(im.NextAttempt), DoneBytes: im.DoneBytes, Size: im.Size, Worker: im.Worker,
		Piece: im.Piece, CreatedAt: im.CreatedAt, UpdatedAt: im.UpdatedAt,
	}
}
