package main

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strings"

	"github.com/firth-project/firth/base/fault"
	src "github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/piece"
)

type datasetCmd struct {
	Create    datasetCreateCmd    `cmd:"" help:"Name sources to onboard in place."`
	Start     datasetStartCmd     `cmd:"" help:"Prepare a dataset; one that is not there is made of --source."`
	Set       datasetSetCmd       `cmd:"" help:"Change the rules of a dataset for its next preparation."`
	Pause     datasetPauseCmd     `cmd:"" help:"Have a preparation, or one chunk, rest."`
	Resume    datasetResumeCmd    `cmd:"" help:"Have a preparation, or one chunk, go on where it was."`
	Retry     datasetRetryCmd     `cmd:"" help:"Try again now what failed, of a preparation or of one chunk."`
	Remove    datasetRemoveCmd    `cmd:"" help:"Give a dataset up, or leave out one chunk. Pieces stay."`
	List      datasetListCmd      `cmd:"" aliases:"ls" help:"List datasets."`
	Status    datasetStatusCmd    `cmd:"" aliases:"show" help:"Show how far a preparation is, what was skipped, and the index."`
	Files     datasetFilesCmd     `cmd:"" help:"Search the files of a dataset by path and name."`
	Chunks    datasetChunksCmd    `cmd:"" help:"List the chunks of a preparation with their pieces."`
	Publish   datasetPublishCmd   `cmd:"" help:"Give a dataset an IPNS name that leads to its latest index."`
	Unpublish datasetUnpublishCmd `cmd:"" help:"Withdraw the IPNS name of a dataset."`
}

// sourceFlags say what a dataset is made of.
type sourceFlags struct {
	Source []string `name:"source" aliases:"path" sep:"none" help:"Where bytes are: a directory of the node, s3:bucket/prefix, https://…, …; DIR=SOURCE fills a directory of the dataset. May be repeated." placeholder:"SOURCE"`
	Option pairs    `help:"Option of the sources, such as access_key_id=…; kept encrypted. K=@FILE reads the value from a file. May be repeated." placeholder:"K=V"`
	cutFlags
	DealSize client.Size `help:"The same as --piece-size." hidden:""`
	Out      string      `help:"Have the node write <piece cid>.car files into this directory of its own, or to s3:bucket/prefix." placeholder:"DIR|BUCKET"`
}

// dataset is what the flags make of a name.
func (f sourceFlags) dataset(name string, start bool) (client.NewDataset, error) {
	hidden, dedup := !f.NoHidden, !f.NoDedup
	d := client.NewDataset{
		Name: name, PieceSize: f.PieceSize, MinSize: f.MinSize, MaxSize: f.MaxSize, Include: f.Include, Exclude: f.Exclude,
		Hidden: &hidden, Dedup: &dedup, Start: start,
	}
	if f.DealSize != 0 {
		d.PieceSize = f.DealSize
	}
	if piece.InBucket(f.Out) {
		d.Out = f.Out
	} else if f.Out != "" {
		abs, err := filepath.Abs(f.Out)
		if err != nil {
			return d, pathFault(f.Out, err)
		}
		d.Out = abs
	}
	for _, text := range f.Source {
		s, err := f.source(text)
		if err != nil {
			return d, err
		}
		d.Sources = append(d.Sources, s)
	}
	return d, nil
}

// source reads SOURCE or DIR=SOURCE. A path becomes absolute: the node may
// work elsewhere.
func (f sourceFlags) source(text string) (client.NewSource, error) {
	s := client.NewSource{URL: text, Options: f.Option}
	if at, url, found := strings.Cut(text, "="); found && !strings.ContainsAny(at, ":?") && !strings.HasPrefix(at, "/") {
		s.At, s.URL = at, url
	}
	if path, ok := (src.Spec{URL: s.URL}).Local(); ok {
		abs, err := filepath.Abs(path)
		if err != nil {
			return s, pathFault(path, err)
		}
		s.URL = abs
	}
	return s, nil
}

type datasetCreateCmd struct {
	Name string `arg:"" help:"Name of the dataset."`
	sourceFlags
	Start bool `help:"Prepare it at once."`
}

func (c *datasetCreateCmd) Run(call *call) error {
	d, err := c.dataset(c.Name, c.Start)
	if err != nil {
		return err
	}
	if len(d.Sources) == 0 {
		return fault.New(fault.Invalid, "a dataset needs a --source")
	}
	return show(call, func(ctx context.Context, cl *client.Client) (client.Dataset, error) { return cl.CreateDataset(ctx, d) }, call.dataset)
}

type datasetStartCmd struct {
	Ref  string `arg:"" optional:"" name:"name" help:"Name or id of the dataset."`
	Name string `help:"The same." hidden:""`
	sourceFlags
}

func (c *datasetStartCmd) Run(call *call) error {
	name := c.Ref
	if name == "" {
		name = c.Name
	}
	if name == "" {
		return fault.New(fault.Invalid, "give the name of a dataset")
	}
	d, err := c.dataset(name, true)
	if err != nil {
		return err
	}
	return show(call, func(ctx context.Context, cl *client.Client) (client.Dataset, error) {
		if len(d.Sources) == 0 {
			return cl.StartDataset(ctx, name)
		}
		made, err := cl.CreateDataset(ctx, d)
		if client.KindOf(err) != client.KindConflict {
			return made, err
		}
		for _, s := range d.Sources { // new options hold, and another source is a conflict
			if _, err := cl.AddSource(ctx, name, s); err != nil {
				return made, err
			}
		}
		return cl.StartDataset(ctx, name)
	}, call.dataset)
}

// onePart are the arguments of verbs that a preparation or one chunk takes.
type onePart struct {
	Ref   string `arg:"" name:"name" help:"Name or id of the dataset."`
	Chunk int64  `help:"Only this chunk, by its number." placeholder:"N"`
}

// do performs a verb on the whole or on the chunk.
func (o onePart) do(call *call, whole func(context.Context, *client.Client) (client.Dataset, error),
	chunk func(context.Context, *client.Client) (client.Chunk, error)) error {
	if o.Chunk < 0 {
		return fault.New(fault.Invalid, "--chunk is %d; chunks count from 1", o.Chunk)
	}
	if o.Chunk > 0 {
		return show(call, chunk, call.chunk)
	}
	return show(call, whole, call.dataset)
}

type datasetPauseCmd struct{ onePart }

func (c *datasetPauseCmd) Run(call *call) error {
	return c.do(call, func(ctx context.Context, cl *client.Client) (client.Dataset, error) {
		return cl.PauseDataset(ctx, c.Ref)
	},
		func(ctx context.Context, cl *client.Client) (client.Chunk, error) {
			return cl.PauseChunk(ctx, c.Ref, c.Chunk)
		})
}

type datasetResumeCmd struct{ onePart }

func (c *datasetResumeCmd) Run(call *call) error {
	return c.do(call, func(ctx context.Context, cl *client.Client) (client.Dataset, error) {
		return cl.ResumeDataset(ctx, c.Ref)
	},
		func(ctx context.Context, cl *client.Client) (client.Chunk, error) {
			return cl.ResumeChunk(ctx, c.Ref, c.Chunk)
		})
}

type datasetRetryCmd struct{ onePart }

func (c *datasetRetryCmd) Run(call *call) error {
	return c.do(call, func(ctx context.Context, cl *client.Client) (client.Dataset, error) {
		return cl.RetryDataset(ctx, c.Ref)
	},
		func(ctx context.Context, cl *client.Client) (client.Chunk, error) {
			return cl.RetryChunk(ctx, c.Ref, c.Chunk)
		})
}

type datasetRemoveCmd struct {
	onePart
	CARs bool `help:"Also delete the CARs that were written." name:"cars"`
}

func (c *datasetRemoveCmd) Run(call *call) error {
	if c.Chunk != 0 {
		return c.do(call, nil, func(ctx context.Context, cl *client.Client) (client.Chunk, error) {
			return cl.RemoveChunk(ctx, c.Ref, c.Chunk)
		})
	}
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		if err := cl.RemoveDataset(ctx, c.Ref, c.CARs); err != nil {
			return err
		}
		return call.removed("dataset " + c.Ref)
	})
}

type datasetListCmd struct{ newest }

func (l *datasetListCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tNAME\tSTATE\tFILES\tSIZE\tDONE\tSKIPPED\tSOURCE",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Dataset, error] { return cl.Datasets(ctx) },
		func(d client.Dataset) []any {
			p := d.Preparation
			if p == nil {
				return []any{d.ID, d.Name, "new", "-", "-", "-", "-", sourcesOf(d)}
			}
			return []any{d.ID, d.Name, p.State, p.Files, size(p.Bytes), share(p.Done.Bytes, p.Total.Bytes), p.Skipped, sourcesOf(d)}
		})
}

func sourcesOf(d client.Dataset) string {
	all := make([]string, len(d.Sources))
	for i, s := range d.Sources {
		if all[i] = s.URL; s.At != "" {
			all[i] = s.At + "=" + s.URL
		}
	}
	return strings.Join(all, ", ")
}

// share is a part of a whole in percent; of nothing it is unknown.
func share(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", int64(float64(part)/float64(whole)*100))
}

type datasetStatusCmd struct {
	Ref    string `arg:"" name:"name" help:"Name or id of the dataset."`
	Follow bool   `short:"f" help:"Wait until the preparation is over, and show how it goes."`
}

// statusSkipped is how many skipped files a person is shown.
const statusSkipped = 20

func (s *datasetStatusCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		look := cl.Dataset
		if s.Follow {
			look = func(ctx context.Context, ref string) (client.Dataset, error) { return call.follow(ctx, cl, ref) }
		}
		d, err := look(ctx, s.Ref)
		if err != nil {
			return err
		}
		if err := s.tell(ctx, call, cl, d); err != nil || !s.Follow {
			return err
		}
		return over(d)
	})
}

// tell prints a dataset, and the first of the files that were skipped.
func (s *datasetStatusCmd) tell(ctx context.Context, call *call, cl *client.Client, d client.Dataset) error {
	if call.global.JSON {
		return call.printJSON(d)
	}
	call.dataset(d)
	if d.Preparation == nil || d.Preparation.Skipped == 0 {
		return nil
	}
	return upTo(statusSkipped, cl.DatasetFiles(ctx, s.Ref, client.FileQuery{State: "skipped"}), func(f client.DatasetFile) error {
		_, err := fmt.Fprintf(call.out, "skipped %s: %s\n", plain(f.Path), plain(f.Reason))
		return err
	}, func() {
		fmt.Fprintf(call.err, "(and more; `firth dataset files %s --state skipped` lists all)\n", s.Ref)
	})
}

// rules prints what a dataset is and how it will be prepared.
func (c *call) rules(d client.Dataset) {
	limit := func(n client.Size) string {
		if n == 0 {
			return ""
		}
		return size(int64(n))
	}
	unless := func(yes bool, say string) string {
		if yes {
			return ""
		}
		return say
	}
	c.facts(fact{"dataset", d.ID}, fact{"name", d.Name}, fact{"source", sourcesOf(d)}, fact{"piece size", size(int64(d.PieceSize))},
		fact{"least data", limit(d.MinSize)}, fact{"most data", limit(d.MaxSize)}, fact{"include", d.Include}, fact{"exclude", d.Exclude},
		fact{"hidden", unless(d.Hidden, "left out")}, fact{"equal blocks", unless(d.Dedup, "kept each")}, fact{"CARs", d.Out},
		fact{"revision", d.Revision}, fact{"made", d.CreatedAt})
}

// dataset prints one dataset with the status of its preparation.
func (c *call) dataset(d client.Dataset) {
	c.rules(d)
	p := d.Preparation
	if d.Published != nil {
		fmt.Fprintln(c.out)
		c.published(*d.Published)
	}
	if p == nil {
		fmt.Fprintf(c.out, "Not prepared yet; `firth dataset start %s` does.\n", plain(d.Name))
		return
	}
	at := p.State
	if p.State == "complete" && p.Skipped > 0 {
		at = fmt.Sprintf("complete with %d skipped", p.Skipped)
	}
	if p.State == "active" {
		at += ", " + map[string]string{"scan": "scanning", "pack": "packing", "index": "indexing"}[p.Stage]
	}
	var chunks []string
	for _, name := range []string{"waiting", "packing", "paused", "failed", "packed", "removed"} {
		if n := p.Chunks[name]; n.Chunks > 0 {
			chunks = append(chunks, fmt.Sprintf("%d %s", n.Chunks, name))
		}
	}
	done := ""
	if p.Total.Bytes > 0 {
		done = fmt.Sprintf("%s of %s (%s)", size(p.Done.Bytes), size(p.Total.Bytes), share(p.Done.Bytes, p.Total.Bytes))
	}
	link := p.DNSLink
	if d.Published != nil && d.Published.State == "published" { // which leads to every index to come
		link = ""
	}
	fmt.Fprintln(c.out)
	c.facts(fact{"preparation", p.Ordinal}, fact{"state", state(at, p.Reason)}, fact{"next attempt", p.NextAttempt},
		fact{"found", fmt.Sprintf("%s, %s", plural(int(p.Files), "file"), exactSize(p.Bytes))}, fact{"unchanged", p.Carried}, fact{"skipped", p.Skipped},
		fact{"done", done}, fact{"rate", paceOf(*p)}, fact{"chunks", chunks}, fact{"started", p.StartedAt}, fact{"finished", p.FinishedAt},
		fact{"root", p.Root}, fact{"index", p.IPFS}, fact{"DNSLink", link})
}

type datasetFilesCmd struct {
	Ref      string `arg:"" name:"name" help:"Name or id of the dataset."`
	Path     string `help:"Whose path begins with this; DIR/ is all below it." placeholder:"PREFIX"`
	Name     string `help:"Whose last name begins with this, upper and lower case alike." placeholder:"PREFIX"`
	Contains string `help:"With this somewhere in the path, upper and lower case alike." placeholder:"TEXT"`
	Glob     string `help:"That match this, by the last name, or by the whole path when it has a slash." placeholder:"GLOB"`
	State    string `help:"pending, packed, skipped or carried." placeholder:"STATE"`
	Chunk    int64  `help:"That this chunk holds." placeholder:"N"`
	newest
}

func (f *datasetFilesCmd) Run(call *call) error {
	q := client.FileQuery{Path: f.Path, Name: f.Name, Contains: f.Contains, Glob: f.Glob, State: f.State, Chunk: f.Chunk}
	return list(call, f.newest, "STATE\tSIZE\tPIECE\tCID\tPATH",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.DatasetFile, error] {
			return cl.DatasetFiles(ctx, f.Ref, q)
		},
		func(r client.DatasetFile) []any {
			path := r.Path
			if r.Kind == "directory" {
				path += "/"
			}
			if r.Reason != "" {
				path += ": " + r.Reason
			}
			return []any{r.State, size(r.Size), piecesOf(r), or(r.CID), path}
		})
}

// piecesOf lists where a file is.
func piecesOf(f client.DatasetFile) string {
	var all []string
	for _, p := range f.Parts {
		switch {
		case p.Piece != 0:
			all = append(all, fmt.Sprint(p.Piece))
		case p.Chunk != 0:
			all = append(all, fmt.Sprintf("chunk %d", p.Chunk))
		}
	}
	return or(strings.Join(all, ","))
}

type datasetChunksCmd struct {
	Ref string `arg:"" name:"name" help:"Name or id of the dataset."`
	newest
}

func (l *datasetChunksCmd) Run(call *call) error {
	return list(call, l.newest, "CHUNK\tSTATE\tFILES\tSIZE\tDONE\tSKIPPED\tWORKER\tPIECES",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Chunk, error] {
			return cl.Chunks(ctx, l.Ref)
		},
		func(c client.Chunk) []any {
			var pieces []string
			for _, p := range c.Pieces {
				pieces = append(pieces, p.PieceCID)
			}
			return []any{c.Ordinal, state(c.State, c.Reason), c.Files, size(c.Bytes), share(c.DoneBytes, c.Bytes), c.Skipped, or(c.Worker), or(strings.Join(pieces, ","))}
		})
}

// chunk prints one chunk.
func (c *call) chunk(k client.Chunk) {
	c.facts(fact{"chunk", k.Ordinal}, fact{"state", state(k.State, k.Reason)}, fact{"next attempt", k.NextAttempt}, fact{"files", k.Files},
		fact{"bytes", k.Bytes}, fact{"done", k.DoneBytes}, fact{"skipped", k.Skipped}, fact{"worker", k.Worker})
}
