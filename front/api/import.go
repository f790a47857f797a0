package api

import (
	"context"
	"net/http"

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

func (d *door) importRoutes() {
	add(d, route{
		id: "importPiece", method: http.MethodPost, path: "/v1/pieces/imports", tag: "piece", scope: account.WriteContent, status: http.StatusCreated,
		summary: "Have a CAR become a piece",
		detail: "A CAR of version 1 or 2, on the node's machine or behind a URL. It is read once: every digest is checked, commitment and " +
			"index are computed. A file stays where it stands unless it is copied; of a CARv2 its data are the piece. A file called by a " +
			"piece CID has to be that piece. Blocks have SHA2-256 CIDs of raw, dag-pb, dag-cbor or dag-json and 2 MiB at most; nothing " +
			"follows the last one. Answers at once; the import then goes on by itself.",
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
}

func importOf(im piece.Import) client.Import {
	return client.Import{
		ID: im.ID, Place: im.Place, Copy: im.Copy, PieceCID: im.PieceCID, Root: im.Root, State: string(im.State), Reason: im.Reason,
		Attempts: im.Attempts, NextAttempt: instant(im.NextAttempt), DoneBytes: im.DoneBytes, Size: im.Size, Worker: im.Worker,
		Piece: im.Piece, CreatedAt: im.CreatedAt, UpdatedAt: im.UpdatedAt,
	}
}
