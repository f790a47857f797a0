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
	Out     string `help:"Write <piece cid>.car files into this directory, or s3:bucket/prefix; without it nothing is written but what --home keeps." placeholder:"DIR|BUCKET"`
	Workers int    `help:"Threads to pack with; default is one more than processors. However many, 128 MiB of memory hold them." placeholder:"N"`
	Name    string `help:"Name of the dataset in --home; default is the last element of the path." placeholder:"NAME"`
	Option  pairs  `help:"Option of a source, such as endpoint=URL or env_auth=true; K=@FILE reads the value from a file. May be repeated." placeholder:"K=V"`
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
