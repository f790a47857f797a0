package api

import (
	"context"
	"net/http"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/piece"
)

type bucketList struct {
	Paging
	State string `query:"state" enum:"open,closing,packing,ready,dealing,complete,collected,failed"`
}

type byID struct {
	ID int64 `path:"id" minimum:"1"`
}

func (d *door) bucketRoutes() {
	add(d, route{
		id: "listBuckets", method: http.MethodGet, path: "/v1/buckets", tag: "bucket", scope: account.ReadContent,
		summary: "List buckets", detail: "Newest first.",
	}, func(ctx context.Context, g account.Grant, in *bucketList) (*page[client.Bucket], error) {
		rows, err := d.Contents.Buckets(ctx, g.Project, content.BucketFilter{
			State: content.BucketState(in.State), Before: in.Before, Limit: in.Limit,
		})
		if err != nil {
			return nil, err
		}
		return pageOf(rows, in.Limit, bucket, func(b content.Bucket) int64 { return b.ID }), nil
	})
	add(d, route{
		id: "getBucket", method: http.MethodGet, path: "/v1/buckets/{id}", tag: "bucket", scope: account.ReadContent,
		summary: "Show a bucket",
	}, func(ctx context.Context, g account.Grant, in *byID) (*body[client.Bucket], error) {
		b, err := d.Contents.Bucket(ctx, g.Project, in.ID)
		return &body[client.Bucket]{bucket(b)}, err
	})
	add(d, route{
		id: "closeBucket", method: http.MethodPost, path: "/v1/buckets/{id}/close", tag: "bucket", scope: account.WriteContent,
		summary: "Close a bucket now", detail: "Whatever its size and age. An empty one is a conflict; one that is past open stays as it is.",
	}, func(ctx context.Context, g account.Grant, in *byID) (*body[client.Bucket], error) {
		b, err := d.Contents.CloseBucket(ctx, g.Project, in.ID)
		return &body[client.Bucket]{bucket(b)}, err
	})
}

func bucket(b content.Bucket) client.Bucket {
	return client.Bucket{
		ID: b.ID, State: string(b.State), Size: b.Size, Contents: b.Contents, Plan: b.Plan, Reason: b.Reason,
		OpenedAt: b.OpenedAt, ClosesAt: b.ClosesAt, NextAttempt: b.NextAttempt, UpdatedAt: b.UpdatedAt,
	}
}

type pieceList struct {
	Paging
	Plan   int64 `query:"plan" minimum:"1"`
	Bucket int64 `query:"bucket" minimum:"1" doc:"the pieces a bucket became"`
}

type pieceRef struct {
	Ref string `path:"ref" doc:"id, or piece CID of either version"`
}

type pieceCheck struct {
	Ref  string `path:"ref" doc:"id, or piece CID of either version"`
	From string `query:"from" maxLength:"4096" doc:"an outside copy to compare instead: http(s) URL whose server serves ranges, or, with the scope admin, an absolute path on the node's machine"`
}

func (d *door) pieceRoutes() {
	d.importRoutes()
	add(d, route{
		id: "listPieces", method: http.MethodGet, path: "/v1/pieces", tag: "piece", scope: account.ReadContent,
		summary: "List pieces", detail: "Newest first. The bytes of a piece are at `/piece/{cid}`, outside this document.",
	}, func(ctx context.Context, g account.Grant, in *pieceList) (*page[client.Piece], error) {
		f := piece.Filter{Plan: in.Plan, Before: in.Before, Limit: in.Limit}
		if in.Bucket != 0 {
			b, err := d.Contents.Bucket(ctx, g.Project, in.Bucket)
			if err != nil {
				return nil, err
			}
			if b.Plan == 0 || in.Plan != 0 && in.Plan != b.Plan {
				return whole(nil, pieceOf), nil // not packed yet, or another plan's
			}
			f.Plan = b.Plan
		}
		rows, err := d.Pieces.List(ctx, g.Project, f)
		if err != nil {
			return nil, err
		}
		return pageOf(rows, in.Limit, pieceOf, func(p piece.Piece) int64 { return p.ID }), nil
	})
	add(d, route{
		id: "getPiece", method: http.MethodGet, path: "/v1/pieces/{ref}", tag: "piece", scope: account.ReadContent,
		summary: "Show a piece",
	}, func(ctx context.Context, g account.Grant, in *pieceRef) (*body[client.Piece], error) {
		p, err := d.Pieces.Get(ctx, g.Project, in.Ref)
		return &body[client.Piece]{pieceOf(p)}, err
	})
	add(d, route{
		id: "verifyPiece", method: http.MethodPost, path: "/v1/pieces/{ref}/verify", tag: "piece", scope: account.ReadContent,
		summary: "Read a piece and compute its commitment again",
		detail: "Names what is damaged: runs of the CAR with the blocks and files they come from. Takes as long as reading the piece; " +
			"a node verifies one piece at a time, the next waits.",
	}, func(ctx context.Context, g account.Grant, in *pieceCheck) (*body[client.PieceCheck], error) {
		p, bad, err := d.verify(ctx, g, in)
		if err != nil {
			return nil, err
		}
		return &body[client.PieceCheck]{checkOf(p, bad)}, nil
	})
}

func (d *door) verify(ctx context.Context, g account.Grant, in *pieceCheck) (piece.Piece, []pack.Damage, error) {
	if in.From == "" {
		return d.Pieces.Verify(ctx, g.Project, in.Ref, nil)
	}
	if !piece.IsURL(in.From) && !g.Allows(account.Admin) {
		return piece.Piece{}, nil, fault.New(fault.Forbidden, "copy at %s: files of the node's machine are for tokens with the scope admin; give a URL", in.From)
	}
	return d.Pieces.VerifyCopy(ctx, g.Project, in.Ref, in.From, nil)
}

// maxDamaged is how many damaged runs an answer names.
const maxDamaged = 1000

func checkOf(p piece.Piece, bad []pack.Damage) client.PieceCheck {
	out := client.PieceCheck{PieceCID: p.CID, OK: len(bad) == 0, Damaged: []client.PieceDamage{}, More: int64(max(len(bad)-maxDamaged, 0))}
	for _, d := range bad[:min(len(bad), maxDamaged)] {
		one := client.PieceDamage{
			Offset: d.Offset, Length: d.Length, Reason: d.Reason, Blocks: []string{}, Paths: append([]string{}, d.Paths...), More: d.More,
		}
		for _, c := range d.Blocks {
			one.Blocks = append(one.Blocks, c.String())
		}
		out.Damaged = append(out.Damaged, one)
	}
	return out
}

func pieceOf(p piece.Piece) client.Piece {
	return client.Piece{
		ID: p.ID, PieceCID: p.CID, PieceCIDv1: p.CIDv1, Root: p.Root, CARSize: p.CARSize, PaddedSize: p.PaddedSize,
		Blocks: p.Blocks, Cached: p.Cached, Wrong: p.Wrong, CreatedAt: p.CreatedAt,
	}
}
