package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/firth-project/firth/app"
	"github.com/firth-project/firth/base/fault"
	src "github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
)

type packCmd struct {
	Source string `arg:"" name:"path" help:"Directory or file, or a source: s3:bucket/prefix, gs:…, azure:…, https://…, sftp://user@host/path, webdav+https://…"`
	cutFlags
	Out     string            `help:"Write <piece cid>.car files into this directory, or s3:bucket/prefix; without it nothing is written but what --home keeps." placeholder:"DIR|BUCKET"`
	Workers int               `help:"Threads to pack with; default is one more than processors. However many, 128 MiB of memory hold them." placeholder:"N"`
	Name    string            `help:"Name of the dataset in --home; default is the last element of the path." placeholder:"NAME"`
	Option  map[string]string `help:"Option of a source, such as endpoint=URL or env_auth=true; may be repeated." mapsep:"none" placeholder:"K=V"`
}

// cutFlags say what of a source becomes pieces, and how large.
type cutFlags struct {
	PieceSize client.Size `help:"Size of a full piece: a power of two from 4MiB to 64GiB." default:"32GiB" placeholder:"SIZE"`
	MinSize   client.Size `help:"Least data of a piece; default is 0.6 of what it holds." placeholder:"SIZE"`
	MaxSize   client.Size `help:"Most data of a piece; default is 0.9 of what it holds." placeholder:"SIZE"`
	Include   []string    `help:"Pack only what matches this glob (** crosses slashes); may be repeated." sep:"none" placeholder:"GLOB"`
	Exclude   []string    `help:"Leave out what matches this glob; may be repeated." sep:"none" placeholder:"GLOB"`
	NoHidden  bool        `help:"Leave out names that begin with a dot."`
	NoDedup   bool        `help:"Keep equal blocks of a piece each."`
}

// Help is what `firth pack --help` says besides the flags.
func (*packCmd) Help() string {
	return "Prints each piece when it is packed, and the dataset's root and index at the end; with --json a line each. No node has to run. " +
		"With --home the database and the indexes stay there: an interrupted run goes on where it was, a second one packs only what is new " +
		"or changed, and `firth serve` with that home serves the pieces from the source.\n\n" +
		"Exit codes: 0 all is packed; 8 complete, but files were skipped, which are listed with the reason; " +
		"2 wrong usage, 3 no such source, 4 conflict, 5 forbidden, 6 full, 7 the source is unavailable or the run was interrupted, 1 our mistake."
}

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

// skippedCode is the exit code of a command that did all it was to do but for
// files that could not be read.
const skippedCode = 8

// skippedError says that files were left out.
type skippedError struct{ files int64 }

func (e skippedError) Error() string {
	return fmt.Sprintf("complete, but %s skipped", plural(int(e.files), "file"))
}

// packing is one run of pack.
type packing struct {
	*call
	cmd    *packCmd
	packer *app.Packer
	place  string // where CARs are written to, "" for nowhere
	kept   bool   // the home stays
	line   *waiting
	pieces int64
	told   int64     // chunks whose pieces were printed
	waited time.Time // the next try of a source that was told last
}

func (c *packCmd) Run(call *call) (err error) {
	url, err := c.look(call)
	if err != nil {
		return err
	}
	rules, err := c.rules()
	if err != nil {
		return err
	}
	home := call.global.Home
	if home == "" {
		if home, err = app.TemporaryHome(); err != nil {
			return fault.Wrap(err, "make a temporary home")
		}
		defer func() { err = errors.Join(err, app.Discard(home)) }()
	}
	if err := c.apart(url, home, call.global.Home == "", &rules); err != nil {
		return err
	}
	cfg, _, err := call.load(map[string]any{"home": home})
	if err != nil {
		return err
	}
	cfg.Home, cfg.Log.Level, cfg.Workers.Hash = home, "error", 1
	if piece.InBucket(rules.Export) {
		if rules.Export, err = app.CheckBucket(call.ctx, cfg, rules.Export); err != nil {
			return fault.Wrap(err, "--out")
		}
	}
	if c.Workers != 0 {
		cfg.Dataset.Workers = c.Workers
	}
	log, err := app.NewLogger(cfg.Log, call.err)
	if err != nil {
		return err
	}
	p := &packing{call: call, cmd: c, place: rules.Export, kept: call.global.Home != ""}
	ctx, stop := context.WithCancelCause(call.ctx)
	defer stop(nil)
	log = slog.New(fullWatch{log.Handler(), stop})
	if p.packer, err = app.OpenPacker(ctx, cfg, !p.kept, log); err != nil {
		return p.explainFull(ctx, home, err)
	}
	err = p.packer.Run(ctx, func(ctx context.Context) error { return p.run(ctx, url, rules) })
	err = p.explainFull(ctx, home, err)
	if call.ctx.Err() != nil && !errors.As(err, &skippedError{}) {
		return p.interrupted()
	}
	return err
}

// look returns the source as the home is to remember it, if it can be read.
func (c *packCmd) look(call *call) (string, error) {
	if c.Workers < 0 {
		return "", fault.New(fault.Invalid, "--workers is %d; leave it out or give a number above 0", c.Workers)
	}
	spec := src.Spec{URL: c.Source, Options: c.Option}
	if path, ok := spec.Local(); ok {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", pathFault(path, err)
		}
		spec.URL = abs
	}
	hasty := spec
	hasty.Options = maps.Clone(c.Option)
	if _, ok := spec.Local(); !ok && c.Option["retries"] == "" {
		// A mistyped host is to be told at once; the run itself is patient.
		hasty.Options = map[string]string{"retries": "2"}
		maps.Copy(hasty.Options, c.Option)
	}
	s, err := src.Open(src.OnWait(call.ctx, func(w src.Wait) {
		if w.Reason != nil {
			call.tellWait(w.String(), w.Next)
		}
	}), hasty)
	if err != nil {
		return "", err
	}
	return spec.URL, s.Close()
}

func (c *packCmd) rules() (dataset.Rules, error) {
	if c.PieceSize == 0 {
		return dataset.Rules{}, fault.New(fault.Invalid, "piece size 0: must be a power of two from 4 MiB to 64 GiB; the nearest is 4 MiB")
	}
	r := dataset.Rules{
		PieceSize: int64(c.PieceSize), ChunkMin: int64(c.MinSize), ChunkMax: int64(c.MaxSize), Include: c.Include, Exclude: c.Exclude,
		NoHidden: c.NoHidden, NoDedup: c.NoDedup,
	}
	if piece.InBucket(c.Out) {
		r.Export = c.Out
	} else if c.Out != "" {
		abs, err := filepath.Abs(c.Out)
		if err != nil {
			return r, pathFault(c.Out, err)
		}
		r.Export = abs
	}
	return r, nil
}

func (p *packing) interrupted() error {
	if p.kept {
		return fault.New(fault.Unavailable, "interrupted; the same command goes on from here")
	}
	return fault.New(fault.Unavailable, "interrupted; with --home DIR the next run would go on from here")
}

func (p *packing) run(ctx context.Context, url string, rules dataset.Rules) error {
	prep, err := p.begin(ctx, url, rules)
	if err != nil {
		return err
	}
	p.line = p.waiting("looking")
	err = p.follow(ctx, prep.ID)
	p.line.done()
	if err != nil {
		return err
	}
	return p.conclude(ctx, prep.ID)
}

// begin starts a preparation, or has the one that was interrupted go on.
func (p *packing) begin(ctx context.Context, url string, rules dataset.Rules) (prep dataset.Preparation, err error) {
	data, project := p.packer.Datasets, account.DefaultProject
	name := p.cmd.Name
	if name == "" {
		name = nameOf(url)
	}
	source := dataset.NewSource{URL: url, Options: p.cmd.Option}
	d, err := data.Get(ctx, project, name)
	if fault.Is(err, fault.NotFound) {
		if d, err = data.Create(ctx, project, name, rules, source); err != nil {
			return prep, err
		}
		return data.Start(ctx, project, d.ID)
	}
	if err != nil {
		return prep, err
	}
	if err := p.sameSource(ctx, d, url); err != nil {
		return prep, err
	}
	if _, err := data.AddSource(ctx, project, d.ID, source); err != nil { // the options may be new
		return prep, err
	}
	last, err := data.Preparations(ctx, project, dataset.Filter{Dataset: d.ID, Limit: 1})
	if err != nil {
		return prep, err
	}
	if len(last) > 0 && last[0].State != dataset.Complete {
		if !sameRules(d.Rules, rules) {
			return prep, fault.New(fault.Conflict, "dataset %q was interrupted while it was packed with other settings; give those again, or another --name", name)
		}
		return data.Resume(ctx, project, last[0].ID)
	}
	if _, err := data.SetRules(ctx, project, d.ID, rules); err != nil {
		return prep, err
	}
	return data.Start(ctx, project, d.ID)
}

// sameSource refuses to mix two sources under one name.
func (p *packing) sameSource(ctx context.Context, d dataset.Dataset, url string) error {
	sources, err := p.packer.Datasets.Sources(ctx, d.Project, d.ID)
	if err != nil {
		return err
	}
	if len(sources) != 1 || sources[0].URL != url {
		return fault.New(fault.Conflict, "dataset %q of this home has another source; give this one another --name", d.Name)
	}
	return nil
}

func sameRules(a, b dataset.Rules) bool {
	return slices.Equal(a.Include, b.Include) && slices.Equal(a.Exclude, b.Exclude) && a.PieceSize == b.PieceSize &&
		a.ChunkMin == b.ChunkMin && a.ChunkMax == b.ChunkMax && a.NoHidden == b.NoHidden && a.NoDedup == b.NoDedup && a.Export == b.Export
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
