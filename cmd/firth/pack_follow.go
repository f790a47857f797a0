package main

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
)

// packedPiece is the JSON contract of a line of `firth pack --json`.
type packedPiece struct {
	PieceCID   string `json:"piece_cid"` // v2
	PieceCIDv1 string `json:"piece_cid_v1"`
	Root       string `json:"root"`     // of the CAR
	CARSize    int64  `json:"car_size"` // bytes
	PaddedSize int64  `json:"padded_size"`
	Files      int64  `json:"files"` // a part of one counts as one
	Bytes      int64  `json:"bytes"` // of the files that are in the piece
	CAR        string `json:"car"`   // path or bucket URL of the exported CAR, "" if none was written
}

// packedDataset is the JSON contract of its last line.
type packedDataset struct {
	Root    string        `json:"root"`
	Index   string        `json:"index"`  // CID of the index DAG, which the last piece holds
	Pieces  int64         `json:"pieces"` // lines before this one
	Files   int64         `json:"files"`  // in the dataset, not counting skipped ones
	Bytes   int64         `json:"bytes"`
	Skipped []skippedFile `json:"skipped"`
}

type skippedFile struct {
	Path    string `json:"path"`
	RawPath []byte `json:"path_base64,omitempty"` // where the path is no UTF-8
	Reason  string `json:"reason"`
}

// glance is how often a run looks how far it is without being told: each look
// costs as much as packing a few files.
const glance = 500 * time.Millisecond

// follow prints pieces as they are packed until the preparation is over. What
// fails is not waited for: whoever runs the command can.
func (p *packing) follow(ctx context.Context, id int64) error {
	changed, stop := p.packer.Datasets.Changes()
	defer stop()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		prep, err := p.packer.Datasets.Preparation(ctx, account.DefaultProject, id)
		if err != nil {
			return err
		}
		if err := p.tell(ctx, id); err != nil {
			return err
		}
		switch {
		case prep.State == dataset.Complete:
			return nil
		case prep.State == dataset.Failed || prep.Reason != "" && prep.Attempt > 0:
			return p.failed(prep.Fault, prep.Reason)
		case prep.Reason != "":
			p.waits(prep.Reason, prep.NextAttempt)
		}
		if p.line.bar != nil {
			if err := p.show(ctx, id); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-tick.C:
		}
	}
}

// tell prints the pieces of the chunks that are packed, in their order.
func (p *packing) tell(ctx context.Context, id int64) error {
	for {
		page, err := p.packer.Datasets.Chunks(ctx, account.DefaultProject, id, p.told, 100)
		if err != nil {
			return err
		}
		for _, c := range page {
			if c.State == dataset.ChunkFailed {
				return p.failed(c.Fault, c.Reason)
			}
			if c.State == dataset.ChunkPacking && c.Reason != "" {
				p.waits(c.Reason, c.NextAttempt)
			}
			if c.State != dataset.ChunkPacked {
				return nil
			}
			files, bytes := c.DoneFiles, c.DoneBytes // all in the first: others hold directories
			for _, piece := range c.Pieces {
				if err := p.piece(ctx, piece, files, bytes); err != nil {
					return err
				}
				files, bytes = 0, 0
			}
			p.told = c.Ordinal
		}
		if len(page) == 0 {
			return nil
		}
	}
}

func (p *packing) failed(kind fault.Kind, reason string) error {
	if p.kept && kind.Retry() {
		return fault.New(kind, "%s; the same command goes on from here", reason)
	}
	return fault.New(kind, "%s", reason)
}

// piece prints one piece.
func (p *packing) piece(ctx context.Context, id, files, bytes int64) error {
	made, err := p.packer.Pieces.Get(ctx, account.DefaultProject, fmt.Sprint(id))
	if err != nil {
		return err
	}
	p.pieces++
	a := packedPiece{made.CID, made.CIDv1, made.Root, made.CARSize, made.PaddedSize, files, bytes, made.CAR}
	if p.place != "" && a.CAR == "" {
		a.CAR = piece.CARIn(p.place, made.CID)
	}
	if p.global.JSON {
		return p.printJSON(a)
	}
	p.line.hide()
	holds := "directories and index"
	if a.Files > 0 {
		holds = size(a.Bytes) + " in " + plural(int(a.Files), "file")
	}
	_, err = fmt.Fprintf(p.out, "%s  %s  (%s padded)\n", a.PieceCID, holds, size(a.PaddedSize))
	return err
}

// show rewrites the line that says how far the run is.
func (p *packing) show(ctx context.Context, id int64) error {
	st, err := p.packer.Datasets.Status(ctx, account.DefaultProject, id)
	if err != nil {
		return err
	}
	p.line.show(progressOf(st))
	return nil
}

func progressOf(st dataset.Status) string {
	prep, found := st.Preparation, ""
	if prep.Stage == dataset.Scanning {
		found = " found so far"
	}
	text := fmt.Sprintf("%s of %s in %d of %s%s", size(st.Done.Bytes), size(max(prep.Bytes, st.Total.Bytes)), st.Done.Files,
		plural(int(max(prep.Files, st.Total.Files)), "file"), found)
	if st.BytesPerSec > 0 {
		text += fmt.Sprintf(", %s/s", size(int64(st.BytesPerSec)))
	}
	if st.Remaining > 0 {
		text += ", " + span(st.Remaining) + " left"
	}
	if prep.Stage == dataset.Indexing {
		text += ", indexing"
	}
	return text
}

// conclude prints the index's piece and what the whole is.
func (p *packing) conclude(ctx context.Context, id int64) error {
	prep, err := p.packer.Datasets.Preparation(ctx, account.DefaultProject, id)
	if err != nil {
		return err
	}
	if prep.IndexPiece != 0 {
		if err := p.piece(ctx, prep.IndexPiece, 0, 0); err != nil {
			return err
		}
	}
	n, err := p.packer.Datasets.Counts(ctx, account.DefaultProject, id)
	if err != nil {
		return err
	}
	a := packedDataset{
		Root: prep.Root, Index: prep.IndexRoot, Pieces: p.pieces, Files: n.Packed + n.Carried, Bytes: n.PackedBytes + n.CarriedBytes,
		Skipped: []skippedFile{},
	}
	if a.Skipped, err = p.skipped(ctx, id); err != nil {
		return err
	}
	if p.global.JSON {
		err = p.printJSON(struct {
			Dataset packedDataset `json:"dataset"`
		}{a})
	} else {
		err = p.sum(a)
	}
	if err == nil && a.Files == 0 && prep.Skipped == 0 {
		_, err = fmt.Fprintln(p.err, "firth: there was no file to pack: the pieces hold directories only; see --include and --exclude")
	}
	if err == nil && prep.Skipped > 0 {
		return skippedError{prep.Skipped}
	}
	return err
}

// skipped lists the files that were left out.
func (p *packing) skipped(ctx context.Context, id int64) ([]skippedFile, error) {
	all := []skippedFile{}
	for cursor := ""; ; {
		page, next, err := p.packer.Datasets.Files(ctx, account.DefaultProject, id, dataset.Query{States: []dataset.FileState{dataset.FileSkipped}}, cursor, 1000)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			f := skippedFile{Path: r.Path, Reason: r.Reason}
			if !utf8.ValidString(r.Path) {
				f.RawPath = []byte(r.Path)
			}
			all = append(all, f)
		}
		if cursor = next; next == "" {
			return all, nil
		}
	}
}

func (p *packing) sum(a packedDataset) error {
	for _, f := range a.Skipped {
		if _, err := fmt.Fprintf(p.out, "skipped %s: %s\n", plain(f.Path), plain(f.Reason)); err != nil {
			return err
		}
	}
	p.facts(fact{"root", a.Root}, fact{"index", "/ipfs/" + a.Index},
		fact{"packed", fmt.Sprintf("%s in %s, %s", exactSize(a.Bytes), plural(int(a.Files), "file"), plural(int(a.Pieces), "piece"))})
	return nil
}
