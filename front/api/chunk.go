package api

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
)

type chunkList struct {
	DatasetRef
	Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"things a page"`
	After int64 `query:"after" minimum:"0" doc:"go on above this ordinal: the next of the page before"`
}

type chunkRef struct {
	DatasetRef
	N int64 `path:"n" minimum:"1" doc:"ordinal of the chunk in the latest preparation"`
}

type fileSearch struct {
	DatasetRef
	Path     string `query:"path" maxLength:"4096" doc:"the path begins with this; dir/ is all below a directory"`
	Name     string `query:"name" maxLength:"1024" doc:"the last name begins with this, upper and lower case alike"`
	Contains string `query:"contains" maxLength:"1024" doc:"somewhere in the path, upper and lower case alike"`
	Glob     string `query:"glob" maxLength:"1024" doc:"of the last name, or of the whole path when it has a slash"`
	State    string `query:"state" enum:"pending,packed,skipped,carried"`
	Chunk    int64  `query:"chunk" minimum:"1" doc:"only what this chunk holds, by its ordinal"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"things a page"`
	After    string `query:"after" doc:"go on behind this: the next of the page before"`
}

func (d *door) chunkRoutes() {
	add(d, route{
		id: "listChunks", method: http.MethodGet, path: "/v1/datasets/{ref}/chunks", tag: "dataset", scope: account.ReadContent,
		summary: "List the chunks of the latest preparation", detail: "By their ordinals, from 1; `next` is the value of `after` that continues.",
	}, d.listChunks)
	type verb func(ctx context.Context, project, id int64) (dataset.Chunk, error)
	for _, v := range []struct {
		id, path, summary, detail string
		do                        verb
	}{
		{"pauseChunk", "pause", "Have one chunk rest", "What it has done is kept.", d.Datasets.PauseChunk},
		{"resumeChunk", "resume", "Have a paused chunk go on", "", d.Datasets.ResumeChunk},
		{"retryChunk", "retry", "Try a failed chunk again", "At once, as if for the first time.", d.Datasets.RetryChunk},
		{"removeChunk", "remove", "Leave the files of a chunk out", "They are told as skipped, and so is a file of which it holds a part. The last chunk is a conflict.", d.Datasets.RemoveChunk},
	} {
		add(d, route{
			id: v.id, method: http.MethodPost, path: "/v1/datasets/{ref}/chunks/{n}/" + v.path, tag: "dataset", scope: account.WriteContent,
			summary: v.summary, detail: v.detail,
		}, func(ctx context.Context, g account.Grant, in *chunkRef) (*body[client.Chunk], error) {
			c, err := d.chunkAt(ctx, g, in.Ref, in.N)
			if err != nil {
				return nil, err
			}
			if c, err = v.do(ctx, g.Project, c.ID); err != nil {
				return nil, err
			}
			out, err := d.chunk(ctx, c)
			return &body[client.Chunk]{out}, err
		})
	}
	add(d, route{
		id: "listFiles", method: http.MethodGet, path: "/v1/datasets/{ref}/files", tag: "dataset", scope: account.ReadContent,
		summary: "Search the files of the latest preparation",
		detail: "By path or by name, while it runs too. `next` is the value of `after` that continues the same search; a call looks at a bounded " +
			"number of files, so that a page may be short, or empty, and go on all the same.",
	}, d.listFiles)
}

func (d *door) listChunks(ctx context.Context, g account.Grant, in *chunkList) (*page[client.Chunk], error) {
	set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
	if err != nil {
		return nil, err
	}
	p, err := d.latest(ctx, set)
	if err != nil {
		return nil, err
	}
	rows, err := d.Datasets.Chunks(ctx, g.Project, p.ID, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	all := make([]client.Chunk, len(rows))
	for i, c := range rows {
		if all[i], err = d.chunk(ctx, c); err != nil {
			return nil, err
		}
	}
	return pageOf(all, in.Limit, same, func(c client.Chunk) int64 { return c.Ordinal }), nil
}

// chunkAt finds a chunk of the latest preparation.
func (d *door) chunkAt(ctx context.Context, g account.Grant, ref string, n int64) (dataset.Chunk, error) {
	set, err := d.Datasets.Get(ctx, g.Project, ref)
	if err != nil {
		return dataset.Chunk{}, err
	}
	p, err := d.latest(ctx, set)
	if err != nil {
		return dataset.Chunk{}, err
	}
	rows, err := d.Datasets.Chunks(ctx, g.Project, p.ID, n-1, 1)
	if err == nil && (len(rows) == 0 || rows[0].Ordinal != n) {
		err = fault.New(fault.NotFound, "chunk %d: the latest preparation of dataset %q has none", n, set.Name)
	}
	if err != nil {
		return dataset.Chunk{}, err
	}
	return rows[0], nil
}

// chunk is a chunk on the wire.
func (d *door) chunk(ctx context.Context, c dataset.Chunk) (client.Chunk, error) {
	out := client.Chunk{
		ID: c.ID, Ordinal: c.Ordinal, Preparation: c.Preparation, State: string(c.State), Reason: c.Reason, NextAttempt: c.NextAttempt,
		Worker: c.Worker, Files: c.Files, Bytes: c.Bytes, DoneFiles: c.DoneFiles, DoneBytes: c.DoneBytes, Skipped: c.Skipped,
		First: printable(c.First), Final: printable(c.Final), Last: c.Last, Pieces: []client.Piece{},
		StartedAt: c.StartedAt, FinishedAt: c.FinishedAt, UpdatedAt: c.UpdatedAt,
	}
	for _, id := range c.Pieces {
		p, err := d.Pieces.Get(ctx, c.Project, text(id))
		if err != nil {
			return out, err
		}
		out.Pieces = append(out.Pieces, pieceOf(p))
	}
	return out, nil
}

func (d *door) listFiles(ctx context.Context, g account.Grant, in *fileSearch) (*body[client.Found], error) {
	set, err := d.Datasets.Get(ctx, g.Project, in.Ref)
	if err != nil {
		return nil, err
	}
	p, err := d.latest(ctx, set)
	if err != nil {
		return nil, err
	}
	q := dataset.Query{PathPrefix: in.Path, NamePrefix: in.Name, Contains: in.Contains, Glob: in.Glob, States: statesNamed(in.State)}
	var rows []dataset.Record
	out := client.Found{Items: []client.DatasetFile{}}
	if in.Chunk != 0 {
		c, err := d.chunkAt(ctx, g, in.Ref, in.Chunk)
		if err != nil {
			return nil, err
		}
		rows, out.Next, err = d.Datasets.ChunkFiles(ctx, g.Project, c.ID, q, in.After, in.Limit)
		if err != nil {
			return nil, err
		}
	} else if rows, out.Next, err = d.Datasets.Files(ctx, g.Project, p.ID, q, in.After, in.Limit); err != nil {
		return nil, err
	}
	for _, r := range rows {
		out.Items = append(out.Items, fileOf(r, in.Chunk == 0 && p.State == dataset.Complete))
	}
	return &body[client.Found]{out}, nil
}

// statesNamed returns the states of files with a name; none is all.
func statesNamed(name string) (states []dataset.FileState) {
	for _, s := range []dataset.FileState{dataset.FilePending, dataset.FilePacked, dataset.FileSkipped, dataset.FileCarried} {
		if s.String() == name {
			states = append(states, s)
		}
	}
	return states
}

// fileOf is a file on the wire; final says that its parts name pieces.
func fileOf(r dataset.Record, final bool) client.DatasetFile {
	f := client.DatasetFile{
		Path: printable(r.Path), Kind: r.Kind.String(), State: r.State.String(), Size: r.Size, Target: printable(r.Target), Reason: r.Reason,
		Parts: []client.FilePart{},
	}
	if f.Path != r.Path {
		f.RawPath = []byte(r.Path)
	}
	if r.Modified != 0 {
		at := time.Unix(0, r.Modified).UTC()
		f.Modified = &at
	}
	if r.CID.Defined() {
		f.CID = r.CID.String()
	}
	for _, p := range r.Parts {
		part := client.FilePart{Offset: p.Offset, Length: p.Length, CAROffset: p.CAROffset, CARLength: p.CARLength}
		if p.CID.Defined() {
			part.CID = p.CID.String()
		}
		if final || r.State == dataset.FileCarried {
			part.Piece = p.Piece
		} else {
			part.Chunk = p.Piece
		}
		f.Parts = append(f.Parts, part)
	}
	return f
}

// printable is a name as JSON can carry it.
func printable(name string) string { return strings.ToValidUTF8(name, string(utf8.RuneError)) }
